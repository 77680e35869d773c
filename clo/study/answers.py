"""Open prompts answered by a finished run, for a judge to compare; some at a time, so that a stopped one goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clo.config.parse import RunConfig, plain
from clo.data.tables import id_of, records
from clo.data.texts import visible
from clo.errors import UserError, plain_name
from clo.model.folder import local_folder
from clo.server.reply import Reply
from clo.storage.digest import digest_of, files_digest, model_files
from clo.storage.files import write_json
from clo.storage.jsonl import append_lines, read_lines, write_lines
from clo.storage.run_folder import RunFolder
from clo.study.finished import finished_run, load_start, load_trained, trained_config
from clo.study.versions import versions

CHUNK = 32
"""Prompts answered and written together."""
Answer = Callable[[Sequence[str]], list[Reply]]


@dataclass(frozen=True)
class Prompt:
    """One open prompt."""

    id: str
    group: str
    side: str
    """``target`` or ``en``."""
    text: str
    lang: str
    """Code of its language."""


@dataclass(frozen=True)
class Asked:
    """What is asked for."""

    prompts: Path
    lang: str | None = None
    """Code of prompts that name none."""
    name: str | None = None
    """Of the answers; none is the file's."""
    start: bool = False
    """The start model answers."""
    limit: int | None = None
    """The first prompts only."""
    max_new_tokens: int = 512
    """Longest answer, tokens."""
    max_tokens: int | None = None
    """Tokens of a generation batch; none is the run's own."""
    server: tuple[str, str] | None = None
    """(address, model) of a server that generates instead."""


def answer(place: Path, asked: Asked) -> Path:
    """Answer the prompts, going on where an earlier call stopped; returns the file of the answers.

    Args:
        place: a finished run's folder.
        asked: the prompts and how they are answered.

    Raises:
        UserError: no finished run, prompts that cannot be read, or answers of other prompts under this name.
    """
    from clo.evaluation.fidelity import LanguageIdentifier, intrusion
    from clo.storage.progress import stage

    _, run = finished_run(place)
    languages = {**dict.fromkeys(run.lang.codes()[1:], "target"), run.lang.source: "en"}
    prompts = read_prompts(asked.prompts, languages, asked.lang)[: asked.limit]
    plain_name("name=", asked.name or asked.prompts.stem)
    name = (asked.name or asked.prompts.stem) + ("-start" if asked.start else "")
    path = place / f"answers-{name}.jsonl"
    settings = {"max_new_tokens": asked.max_new_tokens, "start": asked.start, "by": _made_by(run, place, asked)}
    done = _go_on(path, prompts, settings)
    targets = run.lang.targets()
    identifiers = {run.lang.source: LanguageIdentifier.of(targets[0])}
    identifiers |= {one.code: LanguageIdentifier.of(one) for one in targets}
    make: Answer | None = None
    with stage(RunFolder(place, main=False), f"answer {name}") as tick:
        for first in range(done, len(prompts), CHUNK):
            tick(first, len(prompts))
            make = make or (_server(asked) if asked.server else _model(run, place, asked))
            chunk = prompts[first : first + CHUNK]
            lines = []
            for prompt, reply in zip(chunk, make([p.text for p in chunk]), strict=True):
                text, identifier = reply.text, identifiers[prompt.lang]
                (verdict,) = identifier.verdicts([text])
                lines.append({
                    "id": prompt.id, "group": prompt.group, "side": prompt.side, "prompt": prompt.text, "answer": text,
                    "verdict": verdict, "right_lines": identifier.right_lines(text, prompt.side),  # type: ignore[arg-type]
                    "intrusion": intrusion(text, prompt.text, prompt.lang),
                    **({"lang": prompt.lang} if len(targets) > 1 else {}),
                    **({"cut": True} if reply.cut else {}),
                })  # fmt: skip
            append_lines(path, lines)
    return path


def read_prompts(path: Path, languages: dict[str, str], lang: str | None) -> list[Prompt]:
    """The prompts of a file.

    Args:
        path: the file.
        languages: code -> side, of the run.
        lang: code of prompts that name none.

    Raises:
        UserError: a prompt is missing or empty, an id comes twice, or a language is none of the run's.
    """
    if lang is not None and lang not in languages:
        raise UserError(f"lang={lang} is no language of the run; it knows {' or '.join(languages)}")
    prompts: dict[str, Prompt] = {}
    for number, (where, record) in enumerate(records(path, "prompts"), 1):
        text = record.get("prompt") or record.get("instruction")
        if not isinstance(text, str) or not visible(text):
            raise UserError(f"{where}: the field 'prompt' (or 'instruction') is missing or empty")
        code = record.get("lang") or lang
        if code not in languages:
            has = " or ".join(languages)
            raise UserError(f"{where}: its language is {code!r}, the run knows {has}; set lang= or the field 'lang'")
        key = id_of(record, where) or str(number)
        if key in prompts:
            raise UserError(f"{where}: id {key!r} comes twice; give every prompt an id of its own")
        prompts[key] = Prompt(key, str(record.get("dataset") or ""), languages[code], text, code)
    if not prompts:
        raise UserError(f"{path} holds no prompts")
    return list(prompts.values())


def _go_on(path: Path, prompts: Sequence[Prompt], settings: dict[str, Any]) -> int:
    """Number of prompts answered already; the file is cut back to whole chunks of these very prompts.

    Raises:
        UserError: answers of this name were made from other prompts or settings.
    """
    facts = path.with_suffix(".json")
    if facts.is_file() and json.loads(facts.read_text(encoding="utf-8"))["settings"] != settings:
        raise UserError(f"{path} was made with other settings; give name= another name, or delete it")
    lines = read_lines(path)
    whole = len(lines) if len(lines) == len(prompts) else len(lines) // CHUNK * CHUNK
    same = [(line["id"], line["prompt"]) for line in lines[:whole]] == [(p.id, p.text) for p in prompts[:whole]]
    if not same or whole > len(prompts):
        raise UserError(f"{path} answers other prompts; give name= another name, or delete it")
    digest = hashlib.sha256(json.dumps([(p.id, p.side, p.text) for p in prompts]).encode()).hexdigest()[:16]
    write_json(facts, {"settings": settings, "prompts": digest, "n": len(prompts)})
    write_lines(path, lines[:whole])
    return whole


def _model(run: RunConfig, place: Path, asked: Asked) -> Answer:
    """The run's model, or its start model, in this process."""
    from clo.evaluation.generate import generate
    from clo.study.session import open_session

    config = run.model if asked.start else trained_config(run.model, place)
    session = open_session(replace(run, model=config), RunFolder(place, main=False))
    model = (load_start(run, place) if asked.start else load_trained(run, place)).to(session.device)
    budget = asked.max_tokens or run.evaluation.max_tokens

    def make(texts: Sequence[str]) -> list[Reply]:
        with session.precision():
            ids = [session.renderer.prompt_ids(text) for text in texts]
            said = generate(session.subject(model), ids, asked.max_new_tokens, budget)
            return [Reply(answer.text) for answer in said]

    return make


def _made_by(run: RunConfig, place: Path, asked: Asked) -> str:
    """Content hash of what answers: a server by its address and name, else the model's files and what reads them."""
    if asked.server is not None:
        return digest_of(asked.server)
    folder = local_folder(run.model.path, run.model.revision) if asked.start else place / "model"
    files = files_digest(model_files(folder)) if folder is not None else [run.model.path, run.model.revision]
    model = {key: value for key, value in plain(run.model).items() if key not in ("name", "path", "recipe")}
    libraries = {name: versions().get(name) for name in ("torch", "transformers", "peft")}
    return digest_of([files, model, run.trainer.precision, libraries])


def _server(asked: Asked) -> Answer:
    """A server that renders and generates by itself; one request per prompt, several at a time."""
    from clo.server.answers import answering

    assert asked.server is not None
    return answering(*asked.server, asked.max_new_tokens)


def show(path: Path) -> None:
    """Print how many answers there are, and in which language."""
    lines = read_lines(path)
    for side, words in (("target", "target language"), ("en", "English")):
        mine = [line for line in lines if line["side"] == side]
        if mine:
            decided = [line for line in mine if line["verdict"] != "undecided"]
            right = sum(line["verdict"] == side for line in decided)
            empty = sum(not visible(line["answer"]) for line in mine)
            cut = sum(line.get("cut") is True for line in mine)
            tail = f", {cut} cut by the server (raise max_new_tokens=)" if cut else ""
            mean = sum(len(line["answer"]) for line in mine) / len(mine)
            print(
                f"{words}: {len(mine)} answers, {right} of {len(decided)} decided ones in the language asked, "
                f"{empty} empty, {mean:.0f} characters on average{tail}"
            )
    print(f"written to {path}")
