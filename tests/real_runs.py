"""Real rows, float64 oracles and watched ten-step runs for the tests of tests/real."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from warm_runs import WarmRuns

from clo.data.items import Item
from clo.data.prompt import Renderer

TEMPLATE = "### Instruction:\n{prompt}\n\n### Response:\n"
"""That of conf/model/any.yaml."""
TEXTS = ("prompt_en", "prompt", "response_en", "response")


def real_rows(data: Path, lang: str, longest: int = 100_000) -> Iterator[dict[str, Any]]:
    """Parallel rows in their order, those with no text over ``longest`` characters and no response under 12."""
    with (data / "parallel" / f"{lang}.jsonl").open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if max(len(row[name]) for name in TEXTS) <= longest and min(len(row[name]) for name in TEXTS[2:]) >= 12:
                yield row


def item_of(renderer: Renderer, rows: list[dict[str, Any]], responses: int | None = None) -> Item:
    """One item of the rows' prompts, and of the responses of the last ``responses`` of them, joined by blank lines."""

    def joined(name: str, some: list[dict[str, Any]]) -> str:
        return "\n\n".join(row[name] for row in some)

    answered = rows if responses is None else rows[-responses:]
    return Item(
        rows[0]["id"],
        tuple(tuple(renderer.prompt_ids(joined(name, rows))) for name in ("prompt_en", "prompt")),
        tuple(tuple(renderer.response_ids(joined(name, answered))) for name in ("response_en", "response")),
    )


def long_item(data: Path, lang: str, renderer: Renderer, window: int) -> Item:
    """Real prompts one after the other until every cell is longer than the window; the response is the last one's."""
    rows: list[dict[str, Any]] = []
    for row in real_rows(data, lang, 200):
        rows.append(row)
        item = item_of(renderer, rows, 1)
        if min(len(prompt) for prompt in item.prompts) > window:
            return item
    raise AssertionError(f"too few rows in {lang}")


def exact_score(model: Any, prompt: tuple[int, ...], response: tuple[int, ...]) -> Tensor:
    """Log-prob of a response by one plain pass of a float64 model; logits of the response alone, for memory."""
    ids = torch.tensor([prompt + response])
    logits = model(input_ids=ids, logits_to_keep=len(response) + 1, use_cache=False).logits[0, :-1]
    assert logits.dtype == torch.float64
    chosen = logits.gather(1, ids[0, -len(response) :, None])[:, 0]
    total: Tensor = (chosen - logits.logsumexp(1)).sum()
    return total


@dataclass
class Watched:
    """A finished run and what it took."""

    path: Path
    peak: int = 0
    """Bytes of memory that the process held at most."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Seconds of the processor by stage: other work on the machine counts little."""

    def results(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.path / "results.json").read_text(encoding="utf-8"))
        return found

    def lines(self, part: str = "train") -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in (self.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        return [line for line in lines if f"{part}/loss" in line or f"{part}/nll_en" in line]

    def losses(self, stage: str) -> list[float]:
        return [line["train/loss"] for line in self.lines() if line["stage"] == stage]

    def samples(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.path / "samples.jsonl").read_text(encoding="utf-8").splitlines()]

    def weights(self) -> dict[str, Tensor]:
        from safetensors.torch import load_file

        return load_file(next((self.path / "model").glob("*.safetensors")))


@dataclass
class RealRuns:
    """Runs ``clo train`` on the real model, each setting once."""

    warm: WarmRuns
    model: Path
    rows: Path
    place: Path
    done: dict[str, Watched] = field(default_factory=dict)

    def settings(self, name: str, *more: str) -> list[str]:
        return [
            *("model=gemma3_270m", f"model.path={self.model}", "model.dtype=float32", "trainer.precision=32-true"),
            *("lang=id", "data=files", f"data.train={self.rows}", "data.held_out=2", "data_size=20", "batch_size=4"),
            *(
                "method.steps=10",
                "trainer.checkpoints=2",
                "trainer.threads=1",
                "evaluation.rows=2",
                "evaluation.watch=0",
            ),
            *("evaluation.val_items=2", "evaluation.validations=1", "evaluation.max_new_tokens=8"),
            *(f"study_name={name}", f"output_dir={self.place}/outputs", f"cache_dir={self.place}/cache", *more),
        ]

    def __call__(self, name: str, *more: str) -> Watched:
        """The run of that name, made with these settings when it is asked for first."""
        if name not in self.done:
            self.done[name] = self._watched(name, self.settings(name, *more))
        return self.done[name]

    def path(self, name: str) -> Path:
        (path,) = (self.place / "outputs" / name).iterdir()
        return path

    def _watched(self, name: str, arguments: list[str]) -> Watched:
        pid, peak, used = self.warm.start(arguments, self.place), 0, dict[str, tuple[float, float]]()
        while (found := _held(pid)) is not None:
            peak, stage = max(peak, found[0]), self._stage(name)
            used[stage] = (used.get(stage, (found[1], 0.0))[0], found[1])
            time.sleep(0.05)
        ended = self.warm.wait(self.place)
        assert ended.code == 0, ended.err
        return Watched(self.path(name), peak, {stage: last - first for stage, (first, last) in used.items()})

    def _stage(self, name: str) -> str:
        for file in (self.place / "outputs" / name).glob("*/status.json"):
            try:
                return str(json.loads(file.read_text(encoding="utf-8"))["stage"])
            except (OSError, ValueError):
                pass
        return "start"


def _held(pid: int) -> tuple[int, float] | None:
    """(most bytes so far, seconds of the processor) of a process; none when it has ended."""
    try:
        status, stat = (Path(f"/proc/{pid}/{name}").read_text() for name in ("status", "stat"))
    except OSError:
        return None
    lines = dict(line.split(":", 1) for line in status.splitlines())
    ticks = stat.rpartition(")")[2].split()[11:13]
    if "VmHWM" not in lines:
        return None
    return int(lines["VmHWM"].split()[0]) * 1024, sum(map(int, ticks)) / 100
