"""Cheap rivals of a run: what its user could try in place of training, or after it, scored on the same test prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from clo.config import TuningConfig
from clo.config.parse import RunConfig
from clo.data.rows import Row
from clo.storage.digest import digest_of
from clo.study.outcome import place_of_rivals
from clo.study.scores import Rival, answer_scores, start_answers, trained_stamp
from clo.study.session import Session

Load = Callable[[], Any]
"""Loads the start model on the CPU."""


def rivals_of(session: Session, model: Any, rows: Sequence[Row], tuning: TuningConfig, start: Load) -> list[Rival]:
    """All rivals that the run asks for.

    Args:
        session: the run; its renderer is the start model's.
        model: the trained model, on its device; it is there and unchanged afterwards.
        rows: test rows.
        tuning: what trained, its layers by number.
        start: the start model.

    Raises:
        UserError: a model cannot be loaded, or the models of a chat vector do not fit each other.
    """
    names = session.run.evaluation.rivals.names
    found: list[Rival] = []
    with session.precision():
        if "averaged" in names:
            found += _averaged(session, model, rows, tuning, start)
        if {"prompted", "chat_vector"} & set(names):
            with _aside(session, model):
                found += _untrained(session, rows, start)
    return found


@contextmanager
def _aside(session: Session, model: Any) -> Iterator[None]:
    """A model on the CPU while others answer; quantized weights stay where they are."""
    moves = session.run.model.quantize is None
    if moves:
        model.to("cpu")
    yield
    if moves:
        model.to(session.device)


def _averaged(session: Session, model: Any, rows: Sequence[Row], tuning: TuningConfig, start: Load) -> Iterator[Rival]:
    from clo.model.mix import averaged, start_weights

    place = session.folder.path
    before = {} if tuning.lora else start_weights(start(), tuning)
    for share in session.run.evaluation.rivals.shares:
        name = f"averaged_{share:g}"
        with averaged(model, before, share):
            stamp = digest_of([trained_stamp(session), name])
            scores, samples = answer_scores(session, model, rows, name, stamp, place_of_rivals(place) / name)
        yield Rival(name, {"share": share}, scores, samples)


def _untrained(session: Session, rows: Sequence[Row], start: Load) -> Iterator[Rival]:
    """Those that no run of the start model changes: kept in the cache for all of them."""
    run, chat = session.run, start()
    asked = run.evaluation.rivals
    if "prompted" in asked.names:
        chat = chat if run.model.quantize else chat.to(session.device)
        key = session.key(chat)
        for name, instructions in instructions_of(run).items():
            scores, samples = start_answers(session, chat, told(rows, instructions), key)
            targets = " / ".join(instructions[one.code] for one in run.lang.targets())
            yield Rival(name, {"instruction": targets}, scores, samples)
    if "chat_vector" in asked.names:
        assert asked.base is not None and asked.adapted is not None
        summed = _chat_vector(run, chat.to("cpu"), asked.base, asked.adapted)
        del chat
        summed.to(session.device)
        key = session.key(summed)
        scores, samples = start_answers(session, summed, rows, key)
        yield Rival("chat_vector", {"base": asked.base, "adapted": asked.adapted, "key": key}, scores, samples)


def instructions_of(run: RunConfig) -> dict[str, dict[str, str]]:
    """Rival -> instruction by language code, for the source and every target."""
    from clo.data.cldr.names import name

    asked, source = run.evaluation.rivals, run.lang.source
    names = {one.code: one.name for one in run.lang.targets()}
    said = {**names, source: name("language", source, "en") or source}
    english = {code: asked.instruction.replace("{language}", words) for code, words in said.items()}
    translated = {code: asked.translated[code] for code in names if code in asked.translated}
    return {"prompted": english} | ({"prompted_translated": english | translated} if translated else {})


def told(rows: Sequence[Row], instructions: dict[str, str]) -> list[Row]:
    """The rows with each language's instruction in a line of its own before the prompt."""
    there = [[lang for lang in instructions if lang in row.prompts] for row in rows]
    return [
        replace(row, prompts={lang: f"{instructions[lang]}\n{row.prompts[lang]}" for lang in langs})
        for row, langs in zip(rows, there, strict=True)
    ]


def _chat_vector(run: RunConfig, chat: Any, base: str, adapted: str) -> Any:
    """The sum on the CPU, with the start model's settings of generation; its tokenizer is the start model's too."""
    from clo.model.load import load_model
    from clo.model.mix import add_difference

    summed, below = (load_model(replace(run.model, path=path, revision=None)) for path in (adapted, base))
    add_difference(summed, chat, below)
    summed.generation_config = chat.generation_config
    return summed
