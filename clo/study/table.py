"""Finished runs in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clo.errors import UserError, cause
from clo.storage.run_folder import AGAIN, RunFolder
from clo.storage.several import own_parts
from clo.study.task_table import HEADS, NOTE, task_rows


def print_table(paths: Sequence[Path]) -> None:
    """One row per finished run: target gain and English side by side; of mixtures one for each task."""
    from rich.console import Console
    from rich.table import Table

    mixed = [path for path in paths if "tasks" in RunFolder(path).results()]
    if mixed:
        _print_tasks(mixed)
    paths = [path for path in paths if path not in mixed]
    if not paths:
        return
    table = Table(title="Target language and English, before → after", title_justify="left")
    for name in ("lang", "method", "size", "seed"):
        table.add_column(name)
    for name in ("target chrF", "target exact", "target language", "English content", "English exact"):
        table.add_column(name, justify="right")
    for path in paths:
        for row in _rows(path):
            table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    print("chrF 0-100, the others in %; target language: answers in the language asked, of those decided")
    if len(paths) == 1:
        print("".join(f"{line}\n" for line in _rival_lines(paths[0])), end="")
    benchmarks = [_benchmark_lines(path) for path in paths]
    if len(paths) == 1:
        print("".join(f"{line}\n" for line in benchmarks[0]), end="")
    elif any(benchmarks):
        print("benchmarks: see the report")
    print("".join(f"{line}\n" for line in dict.fromkeys(line for path in paths for line in _lacking(path))), end="")


def _print_tasks(paths: Sequence[Path]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Tasks of mixtures, before → after", title_justify="left")
    for name in HEADS:
        table.add_column(name, justify="left" if name in HEADS[:5] else "right")
    for path in paths:
        with _whole(path) as results:
            rows = task_rows(results)
        for row in rows:
            table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    print(NOTE)


@contextmanager
def _whole(path: Path) -> Iterator[dict[str, Any]]:
    """A run's results; what they lack is told as what is wrong with their file."""
    results = RunFolder(path).results()
    try:
        yield results
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        kind = "it lacks" if isinstance(error, KeyError) else "it is damaged:"
        raise UserError(f"cannot read {path / 'results.json'} ({kind} {cause(error)}); {AGAIN}") from error


def _each(path: Path) -> list[dict[str, Any]]:
    """A run's results, or those of each of several targets, which say with how many others it was trained."""
    with _whole(path) as r:
        if "targets" not in r:
            return [r]
        return [
            {**r, **own, "lang": f"{code} of {r['lang']}", **own_parts(r, code)} for code, own in r["targets"].items()
        ]


def _rows(path: Path) -> list[list[str]]:
    with _whole(path):
        return [_row(r) for r in _each(path)]


def _row(r: dict[str, Any]) -> list[str]:
    before, after = r["start"], r["scores"]
    return [
        r["lang"],
        r["method"],
        str(r["data_size"]),
        str(r["seed"]),
        _change(before, after, "target", "chrf", 1),
        _change(before, after, "target", "exact", 100),
        _change(before, after, "target", "language_ok", 100),
        _change(before, after, "en", "content", 100),
        _change(before, after, "en", "exact", 100),
    ]


def _rival_lines(path: Path) -> list[str]:
    """A run's cheap rivals for a person."""
    with _whole(path):
        each = _each(path)
        told = [
            (f"{name}, {results['lang']}" if len(each) > 1 else name, r["target"]["all"], r["en"]["all"])
            for results in each
            for name, r in results.get("rivals", {}).items()
        ]
        return [
            f"{name}: target chrF {target['chrf']:.0f}, target language {_percent(target['language_ok'])}; English "
            f"chrF {english['chrf']:.0f}, English content {_percent(english['content'])}"
            for name, target, english in told
        ]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def _benchmark_lines(path: Path) -> list[str]:
    with _whole(path):
        return list(dict.fromkeys(line for results in _each(path) for line in benchmark_lines(results)))


def _lacking(path: Path) -> list[str]:
    """Benchmarks that could not be asked in a language."""
    with _whole(path):
        return [
            f"{name} was not asked in {'English' if side == 'en' else results['lang_name']}: {why}"
            for results in _each(path)
            for name, sides in results.get("benchmarks", {}).get("left_out", {}).items()
            for side, why in sides.items()
        ]


def benchmark_lines(results: dict[str, Any]) -> list[str]:
    """Benchmarks of a run for a person: accuracy before and after, in %."""
    found = results.get("benchmarks", {})
    lines = []
    for name, sides in found.get("scores", {}).items():
        for side, scorings in sides.items():
            for scoring, now in scorings.items():
                then = found["start"][name][side][scoring]
                key = "accuracy" if "accuracy" in now else "exact"
                chance = f", chance {100 * now['chance']:.0f}" if "chance" in now else ""
                words = "English" if side == "en" else results["lang_name"]
                lines.append(
                    f"{results['method']} {results['lang']} {results['data_size']} s{results['seed']}, {name} "
                    f"({scoring}), {words}: {100 * then[key]:.1f} → {100 * now[key]:.1f} % "
                    f"(n = {now['n']}{chance})"
                )
    return lines


def _change(before: dict[str, Any], after: dict[str, Any], side: str, name: str, scale: float) -> str:
    texts = ["–" if s[side]["all"][name] is None else f"{scale * s[side]['all'][name]:.0f}" for s in (before, after)]
    return " → ".join(texts)


def print_win_rates(run: Path, against: Path) -> None:
    """Print the win rate of one run over another, in the target language and in English.

    Raises:
        UserError: a run without samples, or two runs without a common prompt.
    """
    from rich.console import Console
    from rich.table import Table

    from clo.evaluation.win_rate import compare_runs
    from clo.study.targets import paired_folders

    for ours, theirs in paired_folders(run, against):
        table = Table(title=f"{ours.name} against {theirs.name}", title_justify="left")
        for name in ("prompts in", "wins", "ties", "losses", "win rate", "95 % interval", "of the decided"):
            table.add_column(name, justify="right")
        for side, r in compare_runs(ours, theirs).items():
            decided = "–" if r["decided_win_rate"] is None else f"{r['decided_win_rate']:.3f}"
            low, high = r["interval"]
            counts = [str(r[name]) for name in ("wins", "ties", "losses")]
            words = "English" if side == "en" else "target"
            table.add_row(words, *counts, f"{r['win_rate']:.3f}", f"{low:.3f} to {high:.3f}", decided)
        Console().print(table)
