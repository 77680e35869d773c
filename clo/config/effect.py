"""Settings that only some choices read: typed without such a choice they would change nothing, and are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from clo.config.choices import Cells, Prompts
from clo.errors import UserError

if TYPE_CHECKING:
    from clo.config import ModelConfig
    from clo.config.parse import RunConfig

Reads = Callable[["RunConfig"], bool]


def _compares(run: RunConfig) -> bool:
    return run.method.preference is not Prompts.none


def _both_terms(run: RunConfig) -> bool:
    return _compares(run) and run.method.nll is not Cells.none


def _has_nll(run: RunConfig) -> bool:
    return run.method.nll is not Cells.none or run.method.sft_first is not None


def _holds_out(run: RunConfig) -> bool:
    return run.data.kind == "translated" or (run.data.kind == "files" and None in (run.data.dev, run.data.test))


def _reads_rows(run: RunConfig) -> bool:
    return run.data.kind != "cldr"


def _translates(run: RunConfig) -> bool:
    return run.data.kind == "translated"


def _asks_a_server(run: RunConfig) -> bool:
    return run.data.translation is not None and run.data.translation.engine == "chat"


def _translates_here(run: RunConfig) -> bool:
    return run.data.translation is not None and run.data.translation.engine != "chat"


def _source(kind: str) -> Reads:
    return lambda run: run.data.source is not None and run.data.source.kind == kind


def _reads_the_hub(run: RunConfig) -> bool:
    return run.data.source is not None and run.data.source.path is None


def _benchmarks(run: RunConfig) -> bool:
    return bool(run.evaluation.benchmarks.names or run.evaluation.benchmarks.harness)


def _files(run: RunConfig) -> bool:
    return run.data.kind == "files"


def _wandb(run: RunConfig) -> bool:
    return run.logger.name == "wandb"


_BENCHMARKS = (_benchmarks, "evaluation=paper or evaluation.benchmarks.names=[…]")
_HUB = (_reads_the_hub, "data.source.path=null")
_OASST = (_source("oasst"), "data=oasst")
_PLAN = (lambda run: run.plan, "clo plan")
_SERVER = (_asks_a_server, "data.translation.engine=chat")
_HERE = (_translates_here, "data.translation.engine=m2m100 or nllb")
_BY_EPOCHS: tuple[Reads, str] = (lambda run: run.method.steps is None, "method.steps=null, which goes by epochs")
_COMPARES = (_compares, "a method with comparisons (clo, clo_en_nll, sft_dpo)")

READ_BY: dict[str, tuple[Reads, str]] = {
    "method.lam": (_both_terms, "a method with an NLL term and comparisons (clo, clo_en_nll)"),
    "method.beta": _COMPARES,
    "method.epochs": _BY_EPOCHS,
    "method.sft_first.epochs": _BY_EPOCHS,
    "method.sft_first.share": (lambda run: run.method.steps is not None, "method.steps=<a count>"),
    "method.pair_reduction": _COMPARES,
    "method.nll_reduction": (_has_nll, "a method with an NLL term"),
    "data.train": (_files, "data=files"),
    "data.dev": (_files, "data=files"),
    "data.test": (_files, "data=files"),
    "data.fold": (lambda run: run.data.kind == "cldr", "data=cldr"),
    "data.held_out": (_holds_out, "data=files without data.dev or data.test, or translated data"),
    "data.poor_rows": (_reads_rows, "data=files, oasst or table"),
    "data.source": (_translates, "data=oasst or data=table"),
    "data.source.dataset": _HUB,
    "data.source.config": _HUB,
    "data.source.split": _HUB,
    "data.source.revision": _HUB,
    "data.source.prompt": (_source("table"), "data=table"),
    "data.source.response": (_source("table"), "data=table"),
    "data.source.deeper_turns": _OASST,
    "data.source.unranked_only_child": _OASST,
    "data.translation": (_translates, "data=oasst or data=table"),
    "data.translation.base_url": _SERVER,
    "data.translation.parallel": _SERVER,
    "data.translation.timeout": _SERVER,
    "data.translation.backend": _HERE,
    "data.translation.beams": _HERE,
    "data.translation.max_tokens": _HERE,
    "evaluation.benchmarks.data": _BENCHMARKS,
    "evaluation.benchmarks.revision": _BENCHMARKS,
    "evaluation.benchmarks.shots": _BENCHMARKS,
    "evaluation.benchmarks.scoring": _BENCHMARKS,
    "evaluation.benchmarks.limit": _BENCHMARKS,
    "evaluation.benchmarks.template": _BENCHMARKS,
    "evaluation.benchmarks.harness_folder": (
        lambda run: bool(run.evaluation.benchmarks.harness),
        "evaluation.benchmarks.harness=[…]",
    ),
    "trainer.reference": _COMPARES,
    "trainer.memory_gb": _PLAN,
    "trainer.tflops": _PLAN,
    "logger.project": (_wandb, "logger=wandb"),
    "logger.entity": (_wandb, "logger=wandb"),
}
"""Setting -> (whether a run reads it, the choice that would). What does not stand here is always read."""


def check_recipe(choice: str, model: ModelConfig) -> None:
    """Refuse the embedded model's recipe for another model: its rates suit a million parameters.

    Args:
        choice: the file of ``conf/model`` that was chosen.
        model: what came of it.

    Raises:
        UserError: names the choice that suits any model.
    """
    if choice == "nano" and model.path.partition("-")[0] != "nano":
        raise UserError(
            f"model.path={model.path} would be trained with the recipe of nano, a model of a million parameters; set "
            f"model=any model.path={model.path}, or choose a file of conf/model"
        )


def check_effect(typed: Iterable[str], runs: Sequence[RunConfig]) -> None:
    """Refuse a typed setting that no run of the command reads.

    Args:
        typed: overrides of the command line, ``key=value`` with Hydra's prefixes.
        runs: all runs of the command.

    Raises:
        UserError: names the setting, and the choice that reads it.
    """
    for word in typed:
        key = word.partition("=")[0].lstrip("+~")
        for setting, (reads, choice) in READ_BY.items():
            inside = key == setting or key.startswith(f"{setting}.")
            if inside and not any(reads(run) for run in runs):
                raise UserError(f"{key} has no effect here: {choice} reads it; choose that, or leave {key} out")
