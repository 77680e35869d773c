"""Which of two runs answers the same test prompts better, pair by pair."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from clo.errors import UserError
from clo.evaluation import statistics
from clo.evaluation.exact import Sample, Side

Key = Literal["chrf", "exact", "content"]
"""The score that decides between two answers of equal language; larger is better."""

TIE = 1e-9
"""Scores closer than this are equal."""

SAMPLES = "samples.jsonl"


def compare(samples_a: Sequence[Sample], samples_b: Sequence[Sample], side: Side, key: Key = "chrf") -> dict[str, Any]:
    """How often A's answer beats B's on the prompts of one side that both runs have.

    The rule for a pair: where the language of both answers is decided and only one is in the language of the
    prompt, that one wins. Otherwise the larger ``key`` wins, and scores within 1e-9 tie. A pair without the
    score (no gold content) is left out.

    Returns:
        ``n``, ``wins``, ``ties``, ``losses`` (of A), ``win_rate`` (a tie counts one half), its 95% bootstrap
        ``interval`` [low, high], ``decided_win_rate`` (without the ties, None if all tie), and ``unpaired``:
        prompts of this side that only one of the two has.

    Raises:
        UserError: the two share no prompt of that side.
    """
    if key not in get_args(Key):
        raise UserError(f"a win rate is decided by one of {', '.join(get_args(Key))}, got '{key}'")
    a, b = _by_id(samples_a, side), _by_id(samples_b, side)
    shared = [id_ for id_ in a if id_ in b]
    scored = [id_ for id_ in shared if None not in (getattr(a[id_], key), getattr(b[id_], key))]
    outcomes = [_outcome(a[id_], b[id_], key) for id_ in scored]
    if not outcomes:
        raise UserError(
            f"the two runs share no test prompt with a '{key}' score on side '{side}': compare runs of one "
            "language and data set"
        )
    wins, ties, losses = (outcomes.count(value) for value in (1, 0, -1))
    rate = statistics.win_rate(wins, ties, losses)
    return {
        "n": len(outcomes),
        "wins": wins,
        "ties": ties,
        "losses": losses,
        "win_rate": rate.value,
        "interval": [rate.low, rate.high],
        "decided_win_rate": wins / (wins + losses) if wins + losses else None,
        "unpaired": len(a) + len(b) - 2 * len(shared),
    }


def _by_id(samples: Sequence[Sample], side: Side) -> dict[str, Sample]:
    return {sample.id: sample for sample in samples if sample.side == side}


def _outcome(a: Sample, b: Sample, key: Key) -> int:
    """1 if A wins, 0 for a tie, -1 if B wins."""
    if "undecided" not in (a.verdict, b.verdict):
        right_a, right_b = a.verdict == a.side, b.verdict == b.side
        if right_a != right_b:
            return 1 if right_a else -1
    difference = float(getattr(a, key)) - float(getattr(b, key))
    return 0 if abs(difference) <= TIE else 1 if difference > 0 else -1


def compare_runs(folder_a: str | Path, folder_b: str | Path, key: Key = "chrf") -> dict[str, dict[str, Any]]:
    """`compare` for each side that both run folders have samples of: ``{"target": …, "en": …}``.

    Raises:
        UserError: a folder has no readable ``samples.jsonl``, the two share no prompt, or a prompt has
            another reference in the other run.
    """
    a, b = read_samples(folder_a), read_samples(folder_b)
    references = {(sample.id, sample.side): sample.reference for sample in a}
    shared = [sample for sample in b if (sample.id, sample.side) in references]
    if not shared:
        raise UserError(
            f"'{folder_a}' and '{folder_b}' share no test prompt: compare runs of one language and data set"
        )
    for sample in shared:
        if references[sample.id, sample.side] != sample.reference:
            raise UserError(
                f"row '{sample.id}' has another reference in '{folder_a}' than in '{folder_b}': compare runs "
                "that were tested on the same data"
            )
    sides = {sample.side for sample in shared}
    return {side: compare(a, b, side, key) for side in get_args(Side) if side in sides}


def read_samples(folder: str | Path) -> list[Sample]:
    """The samples of a run folder.

    Raises:
        UserError: the file is missing, empty, or a line is broken or a repetition.
    """
    path = Path(folder) / SAMPLES
    if own := sorted(one.parent.name for one in Path(folder).glob(f"*/{SAMPLES}")):
        raise UserError(f"'{folder}' has several targets: name the folder of one of them in it, such as {own[0]}")
    if not path.is_file():
        raise UserError(f"'{path}' does not exist: name the folder of a finished run")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"'{path}' is not UTF-8 text ({error}): evaluate that run again") from error
    samples = list(_parse(path, text))
    if not samples:
        raise UserError(f"'{path}' has no samples: the run was evaluated on no test rows, or did not finish")
    return samples


def _parse(path: Path, text: str) -> Iterator[Sample]:
    seen: set[tuple[str, str]] = set()
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            sample = Sample.from_dict(json.loads(line))
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(f"'{path}' line {number} is no sample ({error}): evaluate that run again") from error
        except UserError as error:
            raise UserError(f"'{path}' line {number}: {error}; evaluate that run again") from error
        if (sample.id, sample.side) in seen:
            raise UserError(
                f"'{path}' line {number} repeats row '{sample.id}' on side '{sample.side}': make ids unique"
            )
        seen.add((sample.id, sample.side))
        yield sample
