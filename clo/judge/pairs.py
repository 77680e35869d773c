"""The answers to compare: of two run folders, or of one and a file in AlpacaEval's shape."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from clo.errors import UserError
from clo.evaluation.exact import Sample, Side
from clo.evaluation.win_rate import read_samples
from clo.storage.files import write_json
from clo.storage.jsonl import lines_of

SIDES: tuple[Side, ...] = get_args(Side)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is compared with what."""

    run: Path
    """Folder of a finished run."""
    against: Path
    """Folder of another run, or a JSON file ``[{instruction, output, generator, dataset}]`` (AlpacaEval's shape)."""
    sides: Sequence[Side] | None = None
    """Those to compare; each must have a pair. None takes every side there is."""
    answers: str | None = None
    """Name of answers to open prompts; None takes the test answers."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one instruction."""

    id: str
    side: Side
    instruction: str
    run: str
    """The answer of the run that is judged."""
    against: str
    """The answer of what it is judged against."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer to an open prompt, as far as a judge needs it."""

    id: str
    side: Side
    prompt: str
    answer: str
    group: str = ""


def read_answers(folder: Path, name: str | None) -> Sequence[Sample | Answered]:
    """A run's test answers, or those that ``clo answer`` wrote under a name.

    Raises:
        UserError: they are not there, or broken.
    """
    if name is None:
        return read_samples(folder)
    path = folder / f"answers-{name}.jsonl"
    if not path.is_file():
        raise UserError(f"'{path}' does not exist; make it with `clo answer run={folder} prompts=… name={name}`")
    answers = []
    for number, record in enumerate(lines_of(path), start=1):
        try:
            if record is None:
                raise ValueError("no JSON object")
            answers.append(Answered(**{key: record[key] for key in ("id", "side", "prompt", "answer", "group")}))
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"'{path}' line {number} is no answer ({error!r}); run `clo answer` again") from error
    return answers


def read_pairs(comparison: Comparison) -> list[Pair]:
    """The pairs of answers that both have, in the order of the run's samples.

    Raises:
        UserError: one of the two cannot be read, they share nothing, or one row has two prompts.
    """
    run, against, sides = comparison.run, comparison.against, comparison.sides
    if run.resolve() == against.resolve():
        raise UserError(f"run= and against= are the same folder '{run}'; give another run to judge against")
    samples = read_answers(run, comparison.answers)
    if against.is_file():
        pairs = _with_file(samples, against)
    else:
        pairs = _with_run(samples, run, against, read_answers(against, comparison.answers))
    for side in sides or ():
        if not any(pair.side == side for pair in pairs):
            raise UserError(f"'{run}' and '{against}' share no prompt on side '{side}'; leave it out of sides=")
    pairs = [pair for pair in pairs if sides is None or pair.side in sides]
    if not pairs:
        raise UserError(f"'{run}' and '{against}' share no prompt: judge answers to the same instructions")
    return pairs


def digest_of(pairs: Sequence[Pair]) -> str:
    """Content hash of what is compared, in its order."""
    texts = [[pair.id, pair.side, pair.instruction, pair.run, pair.against] for pair in pairs]
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]


def _with_run(
    samples: Sequence[Sample | Answered], run: Path, against: Path, theirs: Sequence[Sample | Answered]
) -> list[Pair]:
    others = {(sample.id, sample.side): sample for sample in theirs}
    pairs = []
    for sample in samples:
        other = others.get((sample.id, sample.side))
        if other is None:
            continue
        if other.prompt != sample.prompt:
            raise UserError(
                f"row '{sample.id}' has another prompt in '{against}' than in '{run}': judge runs that were tested on "
                "the same data"
            )
        pairs.append(Pair(sample.id, sample.side, sample.prompt, sample.answer, other.answer))
    return pairs


def _with_file(samples: Sequence[Sample | Answered], path: Path) -> list[Pair]:
    outputs = read_outputs(path)
    return [
        Pair(sample.id, sample.side, sample.prompt, sample.answer, outputs[sample.prompt.strip()])
        for sample in samples
        if sample.prompt.strip() in outputs
    ]


def read_outputs(path: Path) -> dict[str, str]:
    """Instruction -> output of a file in AlpacaEval's shape; white space around an instruction does not count.

    Raises:
        UserError: it is not JSON of that shape, or has two outputs for one instruction.
    """
    try:
        items = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"'{path}' is not readable as JSON ({error}); against= takes a run folder or a JSON list"
        ) from error
    outputs: dict[str, str] = {}
    for number, item in enumerate(items if isinstance(items, list) else [items], start=1):
        values = [item.get(key) for key in ("instruction", "output")] if isinstance(item, dict) else []
        if not values or not all(isinstance(value, str) for value in values):
            raise UserError(
                f"'{path}' item {number} lacks an instruction or output; AlpacaEval's shape is "
                "[{instruction, output, generator, dataset}]"
            )
        instruction, output = str(values[0]).strip(), str(values[1])
        if outputs.setdefault(instruction, output) != output:
            raise UserError(f"'{path}' item {number} has a second output for one instruction; keep one model's outputs")
    return outputs


def export(run: Path, path: Path, side: Side = "target", name: str | None = None) -> int:
    """Write a run's answers in AlpacaEval's shape; returns how many.

    Raises:
        UserError: the run has no samples of that side, or the file cannot be written.
    """
    samples = [sample for sample in read_answers(run, name) if sample.side == side]
    if not samples:
        raise UserError(f"'{run}' has no answers on side '{side}'; choose another with side=")
    generator = run.resolve().name
    items = [
        {"instruction": s.prompt, "output": s.answer, "generator": generator, "dataset": s.group or "clo"}
        for s in samples
    ]
    write_json(path, items)
    return len(items)
