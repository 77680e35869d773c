"""The end of a run: evaluation of the start model and the trained one, results.json, samples and the model folder."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from clo.config.parse import RunConfig
from clo.data.items import build_items
from clo.data.prompt import Renderer
from clo.data.rows import Row
from clo.evaluation.watch import Look
from clo.storage.progress import stage
from clo.storage.run_folder import RunFolder, whole_folder, write_json, write_jsonl

ASSUMED = ("beta", "nll_reduction", "pair_reduction", "lr", "epochs", "batch_size", "template")
"""Values that the CLO paper does not give; every result names them."""

SCORES = 2
"""Raise it when what is measured changes: kept scores of start models are then made again."""


def evaluate_model(
    run: RunConfig, model: Any, renderer: Renderer, rows: Sequence[Row], folder: RunFolder, name: str
) -> Any:
    """Generate and score answers to the test prompts of both languages: (scores, samples as dicts)."""
    from clo.evaluation.evaluate import evaluate

    with stage(folder, name) as tick:
        scores, samples = evaluate(
            model,
            renderer.tokenizer,
            rows,
            (run.lang.source, run.lang.code),
            renderer.prompt_ids,
            renderer.end_id,
            partial(reference_nll, run, model, renderer),
            run.evaluation.max_new_tokens,
            run.evaluation.max_tokens,
            tick,
        )
    return scores, [asdict(sample) for sample in samples]


def watch_of(run: RunConfig, renderer: Renderer, rows: Sequence[Row]) -> Look | None:
    """What answers the first held-out prompts at every validation, if any are asked for."""
    from clo.evaluation.watch import watch

    if not run.evaluation.watch:
        return None
    return watch(
        renderer.tokenizer,
        rows[: run.evaluation.watch],
        (run.lang.source, run.lang.code),
        renderer.prompt_ids,
        renderer.end_id,
        run.evaluation.max_new_tokens,
        run.evaluation.max_tokens,
    )


def reference_nll(run: RunConfig, model: Any, renderer: Renderer, rows: list[Row], lang: str) -> list[float]:
    """NLL per token of every row's own response in one language, nats."""
    from clo.square.scores import score_items

    items, _ = build_items(rows, [lang], renderer, max_length=1 << 30)
    scores = score_items(model, items, [(0, 0)], run.trainer.max_tokens)
    return [float(nll) for nll in -(scores.S_BLL / scores.count_BLL)[:, 0, 0]]


def evaluate_start(
    run: RunConfig, model: Any, renderer: Renderer, rows: Sequence[Row], folder: RunFolder, key: str
) -> Any:
    """The start model's scores and samples, made once per weights, rows and language."""
    asked = [run.lang.code, run.lang.source, run.evaluation.max_new_tokens, run.model.template]
    content = [SCORES, key, asked, versions(), [(row.id, row.prompts, row.responses) for row in rows]]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
    cache = Path(run.cache_dir) / "start" / f"{digest}.json"
    try:
        found = json.loads(cache.read_text(encoding="utf-8"))
        return found["scores"], found["samples"]
    except (FileNotFoundError, ValueError, KeyError):
        scores, samples = evaluate_model(run, model, renderer, rows, folder, "evaluate start model")
        write_json(cache, {"scores": scores, "samples": samples})
        return scores, samples


def mean_square(run: RunConfig, model: Any, items: Sequence[Any]) -> list[list[float]]:
    """Per-token log-prob of every cell over held-out items, nats, [prompt][response]."""
    from clo.square.scores import score_items

    languages = len(items[0].prompts)
    cells = [(i, j) for i in range(languages) for j in range(languages)]
    scores = score_items(model, items, cells, run.trainer.max_tokens)
    mean = scores.S_BLL.double().sum(0) / scores.count_BLL.double().sum(0)
    return [[float(value) for value in row] for row in mean]


def assumed_values(run: RunConfig) -> dict[str, Any]:
    """The values of this run that the paper does not give."""
    method = run.science()["method"]
    values = {key: method[key] for key in ASSUMED if key in method}
    return values | {"batch_size": run.batch_size, "template": run.model.template}


def write_results(run: RunConfig, folder: RunFolder, results: dict[str, Any], samples: list[dict[str, Any]]) -> None:
    """results.json and samples.jsonl; results come last, so their presence means the run is whole."""
    identity = {
        "run": folder.path.name,
        "study": run.study_name,
        "model": run.model.name,
        "lang": run.lang.code,
        "lang_name": run.lang.name,
        "method": run.method.name,
        "tuning": run.tuning.name,
        "data": run.data.name,
        "data_size": run.data_size,
        "seed": run.seed,
        "split": run.evaluation.split.name,
        "assumed": assumed_values(run),
    }
    write_jsonl(folder.path / "samples.jsonl", samples)
    write_json(folder.path / "results.json", {**identity, **results, "versions": versions()})


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    found = {"python": platform.python_version()}
    for package in ("clo", "torch", "transformers", "pytorch-lightning", "peft", "babel", "py3langid"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def save_model(run: RunConfig, model: Any, renderer: Renderer, folder: RunFolder, results: dict[str, Any]) -> None:
    """model/: weights or adapter, tokenizer and a card, in Hugging Face format."""
    with whole_folder(folder.path / "model") as path:
        model.save_pretrained(path)
        renderer.tokenizer.save_pretrained(path)
        (path / "README.md").write_text(model_card(run, results), encoding="utf-8")


def model_card(run: RunConfig, results: dict[str, Any]) -> str:
    """What the model is, how it was made and what was measured."""
    target, english = results["scores"]["target"]["all"], results["scores"]["en"]["all"]
    before = results["start"]["target"]["all"]
    assumed = "\n".join(f"- {key}: {json.dumps(value)}" for key, value in assumed_values(run).items())
    return f"""---
base_model: {run.model.path}
language: [{run.lang.source}, "{run.lang.code}"]
library_name: {"peft" if run.tuning.lora else "transformers"}
tags: [cross-lingual-optimization, {run.method.name}]
---

# {run.model.name}, {run.method.name}, {run.lang.name}

Trained with `{run.method.name}` on {run.data_size} items of `{run.data.name}` ({run.tuning.name}, seed {run.seed}),
method after Cross-Lingual Optimization (Lee et al., ACL 2025, arXiv 2505.14297).

| | start model | this model |
|---|---|---|
| {run.lang.name}: chrF | {before["chrf"]:.1f} | {target["chrf"]:.1f} |
| {run.lang.name}: answers in the language asked, of those decided | {_share(before)} | {_share(target)} |
| {run.lang.source}: chrF | {results["start"]["en"]["all"]["chrf"]:.1f} | {english["chrf"]:.1f} |

Prompt template: `{run.model.template!r}`. Values the paper does not give (assumed):
{assumed}
"""


def _share(scores: dict[str, Any]) -> str:
    value = scores["language_ok"]
    return "none decided" if value is None else f"{100 * value:.0f} %"
