"""What the start model answers to the training and held-out prompts, as responses to be rejected.

Made once, before anything trains, and kept in ``cache_dir/own`` by blocks of prompts: by the model with all that its
answers depend on (`Subject.key`), how they are drawn, and the prompts themselves. A kill costs what was answered
together last; the same command goes on to the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clo.config.parse import RunConfig
from clo.config.rejected import kinds_of
from clo.data.candidates import own_prompts, prompts_of, with_further
from clo.data.items import Ids, Item
from clo.data.rows import Row
from clo.data.splits import Splits
from clo.data.texts import key, visible
from clo.errors import UserError
from clo.evaluation.answer_log import Answer, AnswerLog
from clo.evaluation.fidelity import LanguageIdentifier
from clo.evaluation.generate import generate
from clo.evaluation.sampling import Sampling
from clo.evaluation.subject import Subject
from clo.storage.claim import alone
from clo.storage.digest import digest_of
from clo.storage.jsonl import write_lines
from clo.storage.progress import stage
from clo.storage.ranks import Ranks
from clo.study.rows import Items
from clo.study.session import Session

NAME = "own_answers.jsonl"
"""Its name in the run's folder: every answer with its verdict, and why it was left out where it was."""
BLOCK = 256
"""Prompts of a file of the cache: sizes are nested, so they share all but their last one."""
EMPTY, EQUAL, RIGHT, LONG = "empty", "equal to the chosen one", "in the prompt's language", "longer than the window"


@dataclass(frozen=True)
class _Asked:
    """One prompt that is answered."""

    item: Item
    row: Row
    language: int
    """Place of the prompt's language."""


def asked_prompts(run: RunConfig, items: Sequence[Item]) -> int:
    """How many prompts of these items the start model is to answer."""
    languages = prompts_of(own_prompts(run.method), len(items[0].prompts))
    return sum(item.prompts[i] is not None for item in items for i in languages)


def planned_own(run: RunConfig, items: Items) -> Items:
    """The items of a plan: an own answer counts as the source's response, in which it most likely is (assumed)."""
    languages = prompts_of(own_prompts(run.method), len(items.train[0].prompts))

    def planned(some: Sequence[Item]) -> list[Item]:
        return [with_further(item, [item.response(0) if item.prompts[i] else None for i in languages]) for item in some]

    return replace(items, train=planned(items.train), val=planned(items.val)) if languages else items


def with_own_answers(session: Session, model: Any, rows: Splits, items: Items) -> Items:
    """The items with the start model's answers as further candidates, where the method rejects them.

    Answers that are empty or the chosen one are left out, and by ``method.own_in_language`` those in the language of
    their prompt; one that was as long as may be stands without an end.

    Args:
        session: the run.
        model: the start model, on its device.
        rows: those that the items were made from.
        items: with all other candidates.

    Raises:
        UserError: they are all there is to reject under the target's prompts, and none can be used.
    """
    run = session.run
    languages = prompts_of(own_prompts(run.method), len(items.train[0].prompts))
    if not languages:
        return items
    parts = {"train": (items.train, rows.train), "held_out": (items.val, rows.dev)}
    asked = {name: list(_asked(some, found, languages)) for name, (some, found) in parts.items()}
    with stage(session.folder, "own answers") as tick:
        made = _answers(session, model, [one for some in asked.values() for one in some], tick)
    lines: list[dict[str, Any]] = []
    facts: dict[str, Any] = {}
    grown: dict[str, list[Item]] = {}
    for name, (some, _) in parts.items():
        told = [_judged(session, name, one, next(made)) for one in asked[name]]
        used = iter([ids for _, ids in told])
        own = [[next(used) if item.prompts[i] else None for i in languages] for item in some]
        grown[name] = [with_further(item, found) for item, found in zip(some, own, strict=True)]
        lines += [line for line, _ in told]
        facts[name] = _facts([line for line, _ in told])
    if session.folder.main:
        write_lines(session.folder.path / NAME, lines)
        print(*_told(facts["train"]), sep="\n", flush=True)
    if not facts["train"]["used"] and kinds_of(run.method) == ("own",):
        raise UserError(
            f"method.rejected=own: none of the start model's {facts['train']['asked']} answers can be rejected "
            f"({'; '.join(f'{n} {why}' for why, n in facts['train']['left_out'].items())}); take "
            "method.rejected=[translation,own], or method.own_in_language=use"
        )
    replayed = [with_further(item, [None] * len(languages)) for item in items.replayed]
    return replace(items, train=grown["train"], val=grown["held_out"], replayed=replayed, own=facts)


def _asked(items: Sequence[Item], rows: Sequence[Row], languages: range) -> Iterator[_Asked]:
    """Item by item, then prompt by prompt."""
    by_id = {row.id: row for row in rows}
    for item in items:
        yield from (_Asked(item, by_id[item.id], i) for i in languages if item.prompts[i] is not None)


def _answers(session: Session, model: Any, asked: Sequence[_Asked], tick: Callable[..., None]) -> Iterator[Answer]:
    run, method = session.run, session.run.method
    how = None if method.own_temperature == 0 else Sampling(method.own_temperature, method.own_seed)
    longest = method.own_tokens or run.evaluation.max_new_tokens
    said: dict[int, list[Answer]] = {}
    with session.precision():
        subject = replace(session.subject(model), sampling=how, ranks=Ranks())
        drawn = None if how is None else [how.temperature, how.seed]
        folder = Path(run.cache_dir) / "own" / digest_of([session.key(model), drawn, longest])
        for start in session.ranks.of(range(0, len(asked), BLOCK)):
            prompts = [one.item.prompt(one.language) for one in asked[start : start + BLOCK]]
            tick(start, len(asked))
            said[start] = _block(subject, prompts, longest, run.evaluation.max_tokens, folder)
    said = session.ranks.together(said)
    return (answer for start in sorted(said) for answer in said[start])


def _block(subject: Subject, prompts: Sequence[Ids], longest: int, max_tokens: int, folder: Path) -> list[Answer]:
    """One block's answers; another run's process that comes second reads what the first has made."""
    digest = digest_of(prompts)
    with alone(folder / f"{digest}.lock"):
        return generate(subject, prompts, longest, max_tokens, log=AnswerLog(folder / f"{digest}.jsonl", digest))


def _judged(session: Session, part: str, one: _Asked, answer: Answer) -> tuple[dict[str, Any], Ids | None]:
    """What is written of an answer, and its token ids where it is used."""
    run, renderer = session.run, session.renderer
    code = run.lang.codes()[one.language]
    target = run.lang.targets()[max(0, one.language - 1)]
    (verdict,) = LanguageIdentifier.of(target).verdicts([answer.text])
    ids = tuple(renderer.response_ids(answer.text))
    ids = ids[:-1] if answer.cut else ids
    why = None
    if not visible(answer.text) or not ids:
        why = EMPTY
    elif key(answer.text) == key(one.row.responses[code]):
        why = EQUAL
    elif len(one.item.prompt(one.language)) + len(ids) > run.model.max_length:
        why = LONG
    elif verdict == ("target" if one.language else "en") and run.method.own_in_language == "leave_out":
        why = RIGHT
    line = {"id": one.item.id, "part": part, "lang": code, "answer": answer.text, "verdict": verdict}
    return {**line, "left_out": why, "cut": answer.cut}, None if why else ids


def _facts(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """For results.json and the data card."""
    return {
        "asked": len(lines),
        "used": sum(line["left_out"] is None for line in lines),
        "left_out": dict(Counter(line["left_out"] for line in lines if line["left_out"] is not None)),
        "verdicts": dict(Counter(line["verdict"] for line in lines)),
        "without_end": sum(line["cut"] for line in lines),
    }


def _told(facts: dict[str, Any]) -> Iterator[str]:
    """For the terminal."""
    verdicts = ", ".join(f"{n:,} {verdict}" for verdict, n in facts["verdicts"].items())
    yield f"own answers: {facts['used']:,} of {facts['asked']:,} are rejected (languages: {verdicts})"
    yield from (f"  {n:,} left out: {why}" for why, n in facts["left_out"].items())
    if facts["without_end"]:
        yield f"  {facts['without_end']:,} as long as method.own_tokens allows, without an end"
