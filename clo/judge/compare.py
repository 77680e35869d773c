"""One run judged against another, from the two folders to the files and the table."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clo.errors import UserError, cause
from clo.judge import prompts
from clo.judge.ask import ask
from clo.judge.endpoint import QUALITY
from clo.judge.measure import by_side, judged
from clo.judge.pairs import Comparison, digest_of, read_pairs
from clo.server.cache import ReplyCache
from clo.server.client import Client
from clo.server.endpoint import Endpoint
from clo.storage.files import json_text, read_object, write_together
from clo.storage.jsonl import line_of
from clo.storage.progress import bar
from clo.storage.run_folder import AGAIN

if TYPE_CHECKING:
    from rich.table import Table


def judge_runs(
    comparison: Comparison,
    endpoint: Endpoint,
    *,
    budget: int | None = None,
    parallel: int = 8,
    cache_dir: Path = Path(".cache"),
) -> tuple[Path, dict[str, Any]]:
    """Judge every pair and write ``judge-<against>.json`` and ``.jsonl`` into the run's folder.

    Args:
        comparison: the run, and what it is judged against.
        endpoint: the judge.
        budget: calls allowed; None allows any number.
        parallel: calls at a time.
        cache_dir: replies are kept in its ``judge`` folder.

    Returns:
        The file's path and what it holds.

    Raises:
        UserError: the answers cannot be read, the budget is spent, the judge fails or contradicts its format, or the
            result cannot be written. Whatever was judged is kept.
    """
    pairs = read_pairs(comparison)
    run, against, answers = comparison.run, comparison.against, comparison.answers
    settings = {"model": endpoint.model, "prompts": prompts.version(), **endpoint.settings(QUALITY)}
    # The prompts hold instruction, answers and their order: a comparison the other way round asks nothing again.
    cache = ReplyCache(cache_dir / "judge", settings, endpoint.purpose.what)
    if cache.broken:
        print(f"{cache.broken} broken lines in {cache.path} are left out and asked again", file=sys.stderr)
    judge = Client(endpoint, budget)
    try:
        with bar(f"{run.name} against {against.name}") as tick:
            asked = ask(pairs, judge, cache, parallel, tick)
    finally:
        judge.close()
    found = judged(pairs, cache)
    result: dict[str, Any] = {
        "run": run.resolve().name,
        "against": against.resolve().name,
        "judge": {**settings, "log_probs": any(_soft(one) for one in found), "openai": judge.version},
        "content": {"judge": settings, "prompts": prompts.digest(), "answers": digest_of(pairs)},
        "sides": by_side(found),
        "calls": asked.calls,
        "cached": asked.cached,
        "refused": asked.refused,
        "broken_cache_lines": cache.broken,
    }
    path = run / f"judge-{slug(against)}{f'-{answers}' if answers else ''}.json"
    keep_another(path, result["content"])
    texts = {path.with_suffix(".jsonl"): "".join(line_of(one.to_dict()) for one in found), path: json_text(result)}
    write_together(texts | _into_results(run, path.stem.removeprefix("judge-"), result))
    return path, result


REPLACED = "replaced"
"""Folder in a run's folder of judgments that a later one of other content took the place of."""


def keep_another(path: Path, content: dict[str, Any]) -> None:
    """Keep a judgment of other content aside before it is replaced, and say what has changed.

    Args:
        path: of the judgment.
        content: what the new one was made from: the judge, the prompts' hash, the answers' hash.
    """
    try:
        before = read_object(path).get("content", {})
        changed = [name for name, value in before.items() if content.get(name) != value]
    except (OSError, ValueError, AttributeError):
        return  # none is there, or one that nobody can read
    if not changed:
        return
    digest = hashlib.sha256(json.dumps(before, sort_keys=True).encode()).hexdigest()[:8]
    aside = path.parent / REPLACED / f"{path.stem}-{digest}.json"
    rows = path.with_suffix(".jsonl")
    lines = {aside.with_suffix(".jsonl"): rows.read_text(encoding="utf-8")} if rows.is_file() else {}
    write_together({**lines, aside: path.read_text(encoding="utf-8")})
    print(f"changed since {path} was made: {', '.join(changed)}; that judgment is kept as {aside}", file=sys.stderr)


def _into_results(run: Path, name: str, result: dict[str, Any]) -> dict[Path, str]:
    """results.json with the judgment beside the run's other scores."""
    path = run / "results.json"
    if not path.is_file():
        return {}
    try:
        results = read_object(path)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path} ({cause(error)}); {AGAIN}") from error
    return {path: json_text({**results, "judged": {**results.get("judged", {}), name: result}})}


def _soft(one: Any) -> bool:
    return any(said is not None and said[1] for said in (one.run_first, one.against_first))


def slug(against: Path) -> str:
    """The part of the file's name that says what the run was judged against."""
    path = against.resolve()
    name = path.stem if path.is_file() else path.name
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "other"


def table(result: dict[str, Any]) -> Table:
    """The result for the terminal: a column for each side."""
    from rich.table import Table

    judge = result["judge"]
    title = f"{result['run']} against {result['against']}, judged by {judge['model']} (prompts {judge['prompts']})"
    shown = Table(title=title, title_justify="left")
    shown.add_column("prompts in")
    for side in result["sides"]:
        shown.add_column("English" if side == "en" else "target", justify="right")
    cells = [_cells(values) for values in result["sides"].values()]
    for name in cells[0]:
        shown.add_row(name, *(column[name] for column in cells))
    return shown


def _cells(r: dict[str, Any]) -> dict[str, str]:
    def share(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    return {
        "pairs": str(r["n"]),
        "wins / ties / losses": f"{r['wins']} / {r['ties']} / {r['losses']}",
        "win rate": share(r["win_rate"]),
        "95 % interval": "–" if r["interval"] is None else " to ".join(map(share, r["interval"])),
        "length-controlled win rate": share(r["length_controlled"]),
        "first answer preferred": share(r["position_bias"]),
        "orders disagree": share(r["disagreement"]),
        "same language, run": share(r["same_language"]["run"]),
        "same language, against": share(r["same_language"]["against"]),
        "replies out of format": str(r["unparsed"]),
        "pairs left out": str(r["left_out"]),
        "empty answers, run / against": f"{r['empty']['run']} / {r['empty']['against']}",
    }
