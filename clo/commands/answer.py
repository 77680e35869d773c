"""``python -m clo.commands.answer run=<folder> prompts=<file>``: a run answers open prompts, for a judge to compare."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clo.errors import UserError
from clo.server.reply import Reply

USAGE = """usage: python -m clo.commands.answer run=<folder> prompts=<file> [key=value ...]

  run=<folder>         a finished run; its model answers
  prompts=<file>       JSONL, JSON, CSV or Parquet with prompt (or instruction), and where they exist id, lang, dataset
  lang=<code>          language of prompts that name none: the run's target or source language
  name=<name>          of the answers (default: the file's name); python -m clo.judge answers=<name> compares them
  start=true           the run's start model answers instead
  limit=<n>            the first prompts only
  max_new_tokens=512   longest answer, tokens
  max_tokens=<n>       tokens of a generation batch (default: the run's own)
  base_url=<url> model=<name>  a server that speaks OpenAI's protocol and serves the run's model generates instead

  Written as <folder>/answers-<name>.jsonl, some prompts at a time; stopped, the same command goes on."""

KEYS = ("run", "prompts", "lang", "name", "start", "limit", "max_new_tokens", "max_tokens", "base_url", "model")
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


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or {"-h", "--help"} & set(arguments):
        print(USAGE)
        sys.exit(0 if arguments else 1)
    try:
        options = _options(arguments)
        path = answer(options)
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the answers so far are kept, the same command goes on")
    show(path)


def _options(arguments: Sequence[str]) -> dict[str, str]:
    options = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or key not in KEYS:
            raise UserError(f"unknown argument {key!r}; known are {', '.join(f'{known}=' for known in KEYS)}")
        options[key] = value
    for key in ("run", "prompts"):
        if not options.get(key):
            raise UserError(f"{key}= is missing; `python -m clo.commands.answer --help` tells more")
    for key in ("limit", "max_new_tokens", "max_tokens"):
        if key in options and not (options[key].isdigit() and int(options[key])):
            raise UserError(f"{key}={options[key]} is not a whole number above 0")
    if ("base_url" in options) != ("model" in options):
        raise UserError("a server needs both: base_url= and model=, the name it serves the run's model under")
    return options


def answer(options: dict[str, str]) -> Path:
    """Answer what is not answered yet; returns the file.

    Raises:
        UserError: the run, the prompts or the server cannot be used, or other answers have this name.
    """
    from clo.commands.evaluate import finished_run
    from clo.evaluation.fidelity import LanguageIdentifier, intrusion
    from clo.storage.progress import stage
    from clo.storage.run_folder import RunFolder

    place = Path(options["run"])
    _, run = finished_run(place)
    languages = {run.lang.code: "target", run.lang.source: "en"}
    limit = int(options["limit"]) if "limit" in options else None
    prompts = read_prompts(Path(options["prompts"]), languages, options.get("lang"))[:limit]
    start = options.get("start") == "true"
    name = (options.get("name") or Path(options["prompts"]).stem) + ("-start" if start else "")
    path = place / f"answers-{name}.jsonl"
    longest = int(options.get("max_new_tokens", 512))
    done = _go_on(path, prompts, {"max_new_tokens": longest, "template": run.model.template, "start": start})
    identifier, codes = LanguageIdentifier(run.lang.code, run.lang.source), {v: k for k, v in languages.items()}
    make: Answer | None = None
    with stage(RunFolder(place, main=False), f"answer {name}") as tick:
        for first in range(done, len(prompts), CHUNK):
            tick(first, len(prompts))
            make = make or (
                _server(options, longest) if "base_url" in options else _model(run, place, options, longest)
            )
            chunk = prompts[first : first + CHUNK]
            lines = []
            for prompt, reply in zip(chunk, make([p.text for p in chunk]), strict=True):
                text = reply.text
                (verdict,) = identifier.verdicts([text])
                lines.append({
                    "id": prompt.id, "group": prompt.group, "side": prompt.side, "prompt": prompt.text, "answer": text,
                    "verdict": verdict, "right_lines": identifier.right_lines(text, prompt.side),  # type: ignore[arg-type]
                    "intrusion": intrusion(text, prompt.text, codes[prompt.side]),
                    **({"cut": True} if reply.cut else {}),
                })  # fmt: skip
            _append(path, lines)
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
    from clo.data.tables import records

    prompts: dict[str, Prompt] = {}
    for number, (where, record) in enumerate(records(path, "prompts"), 1):
        text = record.get("prompt") or record.get("instruction")
        if not isinstance(text, str) or not text.strip():
            raise UserError(f"{where}: the field 'prompt' (or 'instruction') is missing or empty")
        code = record.get("lang") or lang
        if code not in languages:
            has = " or ".join(languages)
            raise UserError(f"{where}: its language is {code!r}, the run knows {has}; set lang= or the field 'lang'")
        key = str(record.get("id") or number)
        if key in prompts:
            raise UserError(f"{where}: id {key!r} comes twice; give every prompt an id of its own")
        prompts[key] = Prompt(key, str(record.get("dataset") or ""), languages[code], text)
    if not prompts:
        raise UserError(f"{path} holds no prompts")
    return list(prompts.values())


def _go_on(path: Path, prompts: Sequence[Prompt], settings: dict[str, Any]) -> int:
    """Number of prompts answered already; the file is cut back to whole chunks of these very prompts.

    Raises:
        UserError: answers of this name were made from other prompts or settings.
    """
    from clo.report.collect import read_lines
    from clo.storage.run_folder import write_json, write_jsonl

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
    write_jsonl(path, lines[:whole])
    return whole


def _append(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    import os

    with path.open("ab") as file:
        file.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode())
        file.flush()
        os.fsync(file.fileno())


def _model(run: Any, place: Path, options: dict[str, str], longest: int) -> Answer:
    """The run's model, or its start model, in this process."""
    from dataclasses import replace

    from clo.commands.evaluate import load_trained
    from clo.data.prompt import Renderer
    from clo.evaluation.generate import generate
    from clo.model.load import load_model, load_tokenizer, mixed, prepare_processor, run_device
    from clo.training.loggers import quiet_libraries

    quiet_libraries()
    device = run_device(run.trainer.accelerator)
    prepare_processor(run.trainer.threads, run.trainer.precision, device)
    start = options.get("start") == "true"
    model = (load_model(run.model) if start else load_trained(run, place / "model")).to(device)
    tokenizer = load_tokenizer(run.model if start else replace(run.model, path=str(place / "model"), revision=None))
    renderer = Renderer(tokenizer, run.model.template, run.model.end_of_turn)
    budget = int(options.get("max_tokens", run.evaluation.max_tokens))

    def make(texts: Sequence[str]) -> list[Reply]:
        with mixed(run.trainer.precision, device):
            ids = [renderer.prompt_ids(text) for text in texts]
            return [Reply(text) for text in generate(model, tokenizer, ids, renderer.end_id, longest, budget)]

    return make


def _server(options: dict[str, str], longest: int) -> Answer:
    """A server that renders and generates by itself; one request per prompt, several at a time."""
    from clo.server.answers import answering

    return answering(options["base_url"], options["model"], longest)


def show(path: Path) -> None:
    """Print how many answers there are, and in which language."""
    from clo.report.collect import read_lines

    lines = read_lines(path)
    for side, words in (("target", "target language"), ("en", "English")):
        mine = [line for line in lines if line["side"] == side]
        if mine:
            decided = [line for line in mine if line["verdict"] != "undecided"]
            right = sum(line["verdict"] == side for line in decided)
            empty = sum(not line["answer"] for line in mine)
            mean = sum(len(line["answer"]) for line in mine) / len(mine)
            print(
                f"{words}: {len(mine)} answers, {right} of {len(decided)} decided ones in the language asked, "
                f"{empty} empty, {mean:.0f} characters on average"
            )
    print(f"written to {path}")


if __name__ == "__main__":
    main()
