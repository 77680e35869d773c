"""What the runs of `report_fixture` may have besides: benchmarks, verdicts of a judge, watched answers."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from report_fixture import METHODS, write_lines

ASKED = {
    "belebele": {
        "letters": "P: {context}\nQ: {question}\n{{letter}: {choice}}\nAnswer:",
        "answers": "P: {context}\nQ: {question}\nAnswer:",
    },
    "mgsm": {"number": "Q: {question}\nAnswer:"},
    "xquad": {"span": "P: {context}\nQ: {question}\nAnswer:"},
}


def add_benchmarks(path: Path, rows: int = 60, skill: float | None = None) -> None:
    """Benchmarks of a run: summaries in results.json, rows beside it, the start model's, and what was left out."""
    results = json.loads((path / "results.json").read_text(encoding="utf-8"))
    chance = random.Random(path.name)
    skill = METHODS[results["method"]]["gain"] - 0.3 if skill is None else skill
    scores: dict[str, Any] = {}
    start: dict[str, Any] = {}
    for name, scorings in ASKED.items():
        for side in ("target", "en") if name != "mgsm" else ("target",):
            kept = {}
            for scoring, prompt in scorings.items():
                for found, level in ((scores, skill if side == "target" else 0.6), (start, 0.3)):
                    right = [random.Random(k).random() + chance.gauss(0, 0.1) < level for k in range(rows)]
                    one = summary_of(scoring, prompt, right)
                    found.setdefault(name, {}).setdefault(side, {})[scoring] = one
                    if found is scores:
                        kept[scoring] = [{"id": f"r{k}", "right": one} for k, one in enumerate(right)]
            (path / "benchmarks").mkdir(exist_ok=True)
            content = {"key": "0", "results": scores[name][side], "rows": kept}
            (path / "benchmarks" / f"{name}-{side}.json").write_text(json.dumps(content), encoding="utf-8")
    results["benchmarks"] = {
        "scores": scores, "start": start, "left_out": {"mgsm": {"en": "its rows are not at hand"}},
        "lm_eval": {
            "harness": "lm-eval 0.4.13", "shots": {"arc_sw": 0}, "shots_from": {}, "caveats": [],
            "results": {"arc_sw": {"acc,none": 0.25 + results["seed"] / 10, "acc_stderr,none": 0.02}},
        },
    }  # fmt: skip
    (path / "results.json").write_text(json.dumps(results), encoding="utf-8")


def summary_of(scoring: str, prompt: str, right: Sequence[bool]) -> dict[str, Any]:
    """A summary as a benchmark writes it; the interval is of the normal kind, which is near enough."""
    share = sum(right) / len(right)
    half = 1.96 * math.sqrt(share * (1 - share) / len(right))
    summary: dict[str, Any] = {"exact" if scoring == "span" else "accuracy": share}
    summary["interval"] = [max(0.0, share - half), min(1.0, share + half)]
    if scoring == "span":
        summary |= {"f1": min(1.0, share + 0.1), "f1_interval": [share, 1.0]}
    if scoring in ("letters", "answers"):
        summary["chance"] = 0.25
    if scoring == "answers":
        summary |= {"accuracy_norm": share, "accuracy_bytes": share}
    shots_from = "the first rows of the test split itself"
    asked = {"scoring": scoring, "shots": 3 if scoring == "number" else 0, "prompt": prompt, "template": None}
    return summary | {"n": len(right), "shots_from": shots_from if asked["shots"] else None, **asked}


def add_verdicts(path: Path, against: Path, **changes: Any) -> Path:
    """A judge's file of a run against another; ``changes`` are keys of the target's side."""
    side = {
        "n": 150, "left_out": 2, "wins": 80, "ties": 20, "losses": 50, "win_rate": 0.6, "interval": [0.52, 0.68],
        "length_controlled": 0.574, "position_bias": 0.531, "disagreement": 0.218, "log_probs": 0.0, "unparsed": 3,
        "empty": {"run": 0, "against": 1}, "equal": 4, "same_language": {"run": 0.97, "against": 0.81},
    }  # fmt: skip
    judge = {"model": "some-judge-70b", "prompts": "3f2a9c1b", "temperature": 0.0, "max_tokens": 512, "openai": "2.0"}
    content = {
        "run": path.name, "against": against.name, "judge": judge,
        "sides": {"target": side | changes, "en": side | {"win_rate": None, "interval": None, "n": 0}},
        "calls": 600, "cached": 0, "refused": 0, "broken_cache_lines": 0,
    }  # fmt: skip
    file = path / f"judge-{against.name}.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def add_watched(path: Path, lang: str) -> None:
    """Two prompts at three validations, one side each; the target's answer slips into English at the second."""
    lines = []
    for step, verdict in ((0, "en"), (25, "en"), (50, "target")):
        own = "Mji mkuu wa Kenya ni Nairobi." if lang == "sw" else "케냐의 수도는 나이로비입니다."
        answer = own if verdict == "target" else "The capital of Kenya is Nairobi."
        lines.append({"stage": "clo", "step": step, "id": "w0", "side": "target", "prompt": own, "answer": answer,
                      "verdict": verdict})  # fmt: skip
        lines.append({"stage": "clo", "step": step, "id": "w0", "side": "en", "prompt": "Which city?",
                      "answer": "Nairobi, of course.", "verdict": "en"})  # fmt: skip
    write_lines(path / "watched.jsonl", lines)


def add_everything(folder: Path) -> Path:
    """Benchmarks, judges, watched answers and right lines for every finished run of a study."""
    done = [path for path in sorted(folder.iterdir()) if (path / "results.json").is_file()]
    for path in done:
        add_benchmarks(path)
        lang, size, seed = path.name.split("-")[1:4]
        add_watched(path, lang)
        if path.name.startswith("clo"):
            for rival in done:
                if rival.name.startswith(f"sft-{lang}-{size}-{seed}-"):
                    add_verdicts(path, rival)
        samples = [json.loads(line) for line in (path / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
        for sample in samples:
            sample["right_lines"] = 1.0 if sample["verdict"] == sample["side"] else 0.5
            sample["intrusion"] = None if lang == "sw" else sample["side"] == "target" and sample["verdict"] == "en"
        write_lines(path / "samples.jsonl", samples)
        results = json.loads((path / "results.json").read_text(encoding="utf-8"))
        for when in ("scores", "start"):
            results[when]["target"]["all"] |= {"lines_ok": 0.75, "intrusion": None if lang == "sw" else 0.125}
        (path / "results.json").write_text(json.dumps(results), encoding="utf-8")
    return folder
