"""What a finished run leaves: results.json, samples, and the model as a folder with its card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clo.config.choices import Anchor
from clo.config.parse import RunConfig, plain
from clo.storage.files import json_text, whole_folder, write_together
from clo.storage.jsonl import line_of, read_lines, write_lines
from clo.study.content import recorded_content
from clo.study.run_benchmarks import with_start
from clo.study.scores import Rival, Scores
from clo.study.session import Session
from clo.study.targets import by_target, sample_files
from clo.study.task_results import TASKS, TaskResults
from clo.study.versions import versions

ASSUMED = (
    *("beta", "margin", "penalty", "label_smoothing", "nll_reduction", "pair_reduction"),
    *("lr", "epochs", "batch_size", "template"),
)
"""Values that the CLO paper does not give; every result names them."""
ANCHORED = {
    Anchor.none: (),
    Anchor.kl: ("anchor_weight", "anchor_top"),
    Anchor.replay: ("anchor_weight", "anchor_share"),
}
"""Those of what holds the source language."""


@dataclass(frozen=True)
class Ends:
    """Scores before and after training."""

    start: Scores
    end: Scores
    """Of the model that is kept."""
    last: Scores | None = None
    """Of the last weights, where another rule decides what is kept."""
    rivals: Sequence[Rival] = ()
    """Those that are asked for."""
    tasks: TaskResults | None = None
    """Of a mixture."""


def write_outcome(session: Session, model: Any, ends: Ends, trained: dict[str, Any]) -> None:
    """Everything that makes the run finished; results.json comes last.

    Args:
        session: the run.
        model: the model that is kept.
        ends: scores before and after.
        trained: facts about the training, the part ``train`` of results.json.
    """
    from clo.training.loggers import write_csv

    start, end, last = ends.start, ends.end, ends.last
    square = {"languages": list(session.languages), "before": start.square, "after": end.square}
    content = recorded_content(session.folder.path)
    results = {"scores": end.answers, "start": start.answers, "square": square, "train": trained, "content": content}
    if start.oracle:
        results["oracle"] = start.oracle
    if end.benchmarks:
        results["benchmarks"] = with_start(end.benchmarks, start.benchmarks)
    if last is not None:
        results["last"] = {"step": trained["kept"]["of"], "scores": last.answers, "square": last.square}
        _write_samples(session, "last_samples.jsonl", last.samples)
    save_model(session, model, results)
    write_csv(session.folder)
    _write_samples(session, "start_samples.jsonl", start.samples)
    write_results(session, results, end.samples, ends.rivals, ends.tasks)
    shutil.rmtree(place_of_last(session.folder.path), ignore_errors=True)


def _write_samples(session: Session, name: str, samples: Sequence[dict[str, Any]]) -> None:
    for path, own in sample_files(session.run, session.folder.path, name, samples).items():
        path.parent.mkdir(exist_ok=True)
        write_lines(path, own)


def place_of_last(folder: Path) -> Path:
    """Where answers of the last weights lie while they are made, where other weights are kept."""
    return folder / "last"


def place_of_rivals(folder: Path) -> Path:
    """Where answers of rivals lie while they are made."""
    return folder / "rivals"


def assumed_values(run: RunConfig) -> dict[str, Any]:
    """The values of this run that the paper does not give."""
    method = plain(run.method)
    values = {key: method[key] for key in (*ASSUMED, *ANCHORED[run.method.anchor]) if method.get(key) is not None}
    return values | {"batch_size": run.batch_size, "template": run.model.template}


def write_results(
    session: Session,
    results: dict[str, Any],
    samples: Iterable[dict[str, Any]],
    rivals: Sequence[Rival] = (),
    tasks: TaskResults | None = None,
    start_samples: Sequence[dict[str, Any]] = (),
) -> None:
    """results.json, the files of answers and tasks.csv; results come last: with them the run is whole.

    Args:
        session: the run.
        results: the parts of results.json; of rivals those that stay as they were. What names the run is made anew.
        samples: the lines of samples.jsonl.
        rivals: those that were asked now.
        tasks: of a mixture.
        start_samples: the lines of start_samples.jsonl, where they are new.
    """
    run, folder = session.run, session.folder
    identity = {
        "run": folder.path.name,
        "study": run.study_name,
        "model": run.model.name,
        "lang": "+".join(run.lang.codes()[1:]),
        "lang_name": ", ".join(one.name for one in run.lang.targets()),
        "method": run.method.name,
        "tuning": run.tuning.name,
        "data": run.data.name,
        "data_size": run.data_size if isinstance(run.data_size, int) else sum(run.data_size.values()),
        "seed": run.seed,
        "split": run.evaluation.split.name,
        "precision": run.trainer.precision,
        "assumed": assumed_values(run),
    }
    if run.lang.further:
        identity["targets"] = {
            one.code: {"lang_name": one.name, "data_size": run.sizes()[one.code]} for one in run.lang.targets()
        }
    answered = {"samples.jsonl": list(samples), **({"start_samples.jsonl": start_samples} if start_samples else {})}
    texts = {
        path: "".join(map(line_of, own))
        for name, lines in answered.items()
        for path, own in sample_files(run, folder.path, name, lines).items()
    }
    if told := results.get("rivals", {}) | {rival.name: {"asked": rival.asked, **rival.answers} for rival in rivals}:
        results = {**results, "rivals": told}
        texts[folder.path / "rival_samples.jsonl"] = "".join(map(line_of, _rival_lines(folder.path, told, rivals)))
    if tasks is not None:
        results = {**results, **tasks.parts}
        texts[folder.path / TASKS] = tasks.text
    told_of = {**identity, **results, **identity, "versions": versions()}
    write_together({**texts, folder.path / "results.json": json_text(told_of)})
    if not told:
        (folder.path / "rival_samples.jsonl").unlink(missing_ok=True)
    shutil.rmtree(place_of_rivals(folder.path), ignore_errors=True)
    for partial in folder.path.glob("answers-*.partial.jsonl"):
        partial.unlink()


def _rival_lines(folder: Path, told: Iterable[str], now: Sequence[Rival]) -> list[dict[str, Any]]:
    """Every rival's answers, those that were asked before and stay included."""
    stay = {*told} - {rival.name for rival in now}
    kept = [line for line in read_lines(folder / "rival_samples.jsonl") if line.get("rival") in stay]
    return kept + [{"rival": rival.name, **sample} for rival in now for sample in rival.samples]


def save_model(session: Session, model: Any, results: dict[str, Any]) -> None:
    """model/: weights or adapter, tokenizer and a card, in Hugging Face format."""
    with whole_folder(session.folder.path / "model") as path:
        model.save_pretrained(path)
        session.renderer.tokenizer.save_pretrained(path)
        (path / "README.md").write_text(model_card(session.run, results), encoding="utf-8")


def model_card(run: RunConfig, results: dict[str, Any]) -> str:
    """What the model is, how it was made and what was measured."""
    codes = run.lang.codes()[1:]
    names = {one.code: one.name for one in run.lang.targets()}
    before, after = by_target(results["start"], codes), by_target(results["scores"], codes)
    lines = []
    for code, name in names.items():
        then, now = before[code]["target"]["all"], after[code]["target"]["all"]
        lines.append(f"| {name}: chrF | {then['chrf']:.1f} | {now['chrf']:.1f} |")
        shares = f"{_share(then)} | {_share(now)}"
        lines.append(f"| {name}: answers in the language asked, of those decided | {shares} |")
    then, now = (scores[codes[0]]["en"]["all"]["chrf"] for scores in (before, after))
    table = "\n".join([*lines, f"| {run.lang.source}: chrF | {then:.1f} | {now:.1f} |"])
    assumed = "\n".join(f"- {key}: {json.dumps(value)}" for key, value in assumed_values(run).items())
    languages = ", ".join([run.lang.source, *(f'"{code}"' for code in codes)])
    sizes = (
        run.data_size if isinstance(run.data_size, int) else " and ".join(f"{n} ({c})" for c, n in run.sizes().items())
    )
    return f"""---
base_model: {run.model.path}
language: [{languages}]
library_name: {"peft" if run.tuning.lora else "transformers"}
tags: [cross-lingual-optimization, {run.method.name}]
---

# {run.model.name}, {run.method.name}, {", ".join(names.values())}

Trained with `{run.method.name}` on {sizes} items of `{run.data.name}` ({run.tuning.name}, seed {run.seed}),
method after Cross-Lingual Optimization (Lee et al., ACL 2025, arXiv 2505.14297).

| | start model | this model |
|---|---|---|
{table}

Prompt template: `{run.model.template!r}`. Values the paper does not give (assumed):
{assumed}
"""


def _share(scores: dict[str, Any]) -> str:
    value = scores["language_ok"]
    return "none decided" if value is None else f"{100 * value:.0f} %"
