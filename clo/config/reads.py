"""Which settings a run reads, group by group: one function per group, and nowhere else.

What a function yields is read; every other setting of its group rests at its default before a run sees it
(:func:`at_rest`), so it cannot have an effect, and runs that differ in nothing else are one run. Typed, it is refused
(``effect.py``). A new setting is read once its group's function yields it.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import MISSING
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from clo.config.choices import AUTO, Anchor, Cells, Keep, Prompts, Targets
from clo.config.evaluation import CHOICES
from clo.config.losses import FACTS, needs_reference
from clo.config.rejected import kinds_of
from clo.config.sources import ReplayConfig

if TYPE_CHECKING:
    from clo.config import SourceConfig, TranslationConfig
    from clo.config.parse import RunConfig

Names = Iterator[str]
Group = TypeVar("Group")


def shipped(path: str) -> bool:
    """Whether a model is built here: nano, tasks_s, tasks_m, tasks_l, or a sister from another seed, nano-1."""
    return re.fullmatch(r"(nano|tasks_[sml])(-\d)?", path) is not None


def _top(run: RunConfig) -> Names:
    yield from ("batch_size", "seed", "scale", "study_name", "output_dir", "cache_dir", "jobs", "retries", "plan")
    yield "tasks" if run.mixture.name else "data_size"


def _mixture(run: RunConfig) -> Names:
    yield "name"
    if run.mixture.name:
        yield from ("tasks", "rows", "total", "shares")
        yield from ("source", "others", "seen") if run.mixture.total is None else ()


def _model(run: RunConfig) -> Names:
    yield from ("name", "path", "dtype", "template", "end_of_turn", "oracle", "max_length", "quantize")
    if not shipped(run.model.path):
        yield from ("revision", "trust_remote_code")
    if run.model.template == "chat":
        yield from ("template_kwargs", "date")


def _lang(run: RunConfig) -> Names:
    yield from ("code", "name", "tier", "source", "identify", "further")


def _method(run: RunConfig) -> Names:
    method, first = run.method, run.method.sft_first
    compares, has_nll = method.preference is not Prompts.none, method.nll is not Cells.none
    yield from ("name", "nll", "preference", "lr", "steps", "own_tuning", "sft_first", "anchor")
    if method.anchor is not Anchor.none:
        yield from ("anchor_weight", "anchor_top" if method.anchor is Anchor.kl else "anchor_share")
    if compares:
        yield from ("beta", "pair_reduction", "ranking")
        yield from () if method.ranking is not None else ("loss", *FACTS[method.loss].own, "against", "rejected")
    if "own" in kinds_of(method):
        yield from ("own_prompts", "own_in_language", "own_temperature", "own_seed", "own_tokens")
    if compares and has_nll:
        yield "lam"
    if has_nll or first is not None:
        yield "nll_reduction"
    if method.steps is None:
        yield "epochs"
    if first is not None:
        yield "sft_first.lr"
        yield "sft_first.epochs" if method.steps is None else "sft_first.share"


def _tuning(run: RunConfig) -> Names:
    yield from ("name", "trains", "lora", "layers")
    if run.tuning.layers == AUTO:
        yield from ("auto_items", "auto_share")
    if run.tuning.lora is not None:
        yield from ("lora.r", "lora.alpha", "lora.dropout", "lora.dora")


def _data(run: RunConfig) -> Names:
    data, translated = run.data, run.data.kind == "translated"
    yield from ("name", "kind", "length_policy", "resample")
    if run.lang.further:
        yield "targets"
        if (data.targets is Targets.apart or run.mixture.name) and run.method.steps is not None:
            yield "temperature"
    if data.kind == "cldr":
        yield "fold"
    elif data.kind != "tasks" or any(task.kind == "table" for task in run.tasks.values()):
        yield from ("bad_rows", "poor_rows")
    if data.kind == "files":
        yield from ("train", "dev", "test")
    if translated or (data.kind == "files" and None in (data.dev, data.test)):
        yield "held_out"
    if translated and data.source is not None and data.translation is not None:
        yield "source"
        yield from (f"source.{name}" for name in _source(data.source))
        yield "translation"
        yield from (f"translation.{name}" for name in _translation(data.translation))
    if run.method.anchor is Anchor.replay:
        yield "replay"
        yield from (f"replay.{field.name}" for field in dataclasses.fields(ReplayConfig))


def _source(source: SourceConfig) -> Names:
    yield from ("kind", "path", "min_characters", "max_characters", "pairs")
    if source.path is None:
        yield from ("dataset", "config", "split", "revision")
    yield from ("prompt", "response") if source.kind == "table" else ("deeper_turns", "unranked_only_child")
    if source.kind == "table" and source.pairs:
        yield "rejected"


def _translation(translation: TranslationConfig) -> Names:
    yield from ("engine", "model")
    if translation.engine == "chat":
        yield from ("base_url", "parallel", "timeout")
    else:
        yield from ("revision", "backend", "beams", "max_tokens")


def measured(run: RunConfig) -> Names:
    """What the group ``evaluation`` says for the end of a run, and for an evaluation of a finished one."""
    yield from ("max_new_tokens", "max_tokens", "rows", "split", "benchmarks.names", "benchmarks.harness")
    asked = run.evaluation.benchmarks
    if asked.names or asked.harness:
        yield from (f"benchmarks.{name}" for name in ("data", "shots", "limit"))
    if asked.names:
        yield "benchmarks.template"
    if asked.names and asked.data is None:
        yield "benchmarks.revision"
    if asked.harness:
        yield "benchmarks.harness_folder"
    own_tasks = bool(asked.harness) and asked.data is not None and asked.harness_folder is None
    if own_tasks or set(asked.names) & set(CHOICES):
        yield "benchmarks.scoring"
    rivals = run.evaluation.rivals.names
    yield "rivals.names"
    if "prompted" in rivals:
        yield from ("rivals.instruction", "rivals.translated")
    if "averaged" in rivals:
        yield "rivals.shares"
    if "chat_vector" in rivals:
        yield from ("rivals.base", "rivals.adapted")


def _evaluation(run: RunConfig) -> Names:
    yield from ("name", "val_items", "validations", "watch", "benchmarks", "rivals")
    yield from measured(run)


def _optimizer(run: RunConfig) -> Names:
    yield from ("warmup", "schedule", "weight_decay", "betas", "eps", "clip")


def _trainer(run: RunConfig) -> Names:
    yield from ("accelerator", "devices", "nodes", "strategy", "precision", "max_tokens", "threads")
    yield from ("gradient_checkpointing", "compile", "checkpoints", "keep", "log_every", "grad_norms_every")
    if run.trainer.keep is Keep.best:
        yield "keep_tolerance"
    if needs_reference(run.method):
        yield "reference"
    if run.plan:
        yield from ("memory_gb", "tflops")


def _logger(run: RunConfig) -> Names:
    yield "name"
    if run.logger.name == "wandb":
        yield from ("project", "entity")


GROUPS: dict[str, Callable[[RunConfig], Names]] = {
    "": _top,
    "model": _model,
    "lang": _lang,
    "method": _method,
    "tuning": _tuning,
    "data": _data,
    "evaluation": _evaluation,
    "optimizer": _optimizer,
    "trainer": _trainer,
    "logger": _logger,
    "mixture": _mixture,
}
COMPOSED = ("model.size", "model.recipe")
"""Read by the files of ``conf/`` alone, while a run is composed: ``effect.py`` follows what they refer to."""


def reads(run: RunConfig) -> set[str]:
    """Dotted names of the settings that a run reads."""
    return {f"{group}.{name}" if group else name for group, names in GROUPS.items() for name in names(run)}


def at_rest(run: RunConfig) -> dict[str, Any]:
    """The groups of a run with what is not read at its default."""
    read, rests = reads(run) | set(COMPOSED), _resting(run)
    return {group: _rested(getattr(run, group), f"{group}.", read, rests) for group in GROUPS if group}


def _resting(run: RunConfig) -> dict[str, Any]:
    """Where a setting rests elsewhere than at its default: where the names of run folders have it."""
    method = run.method
    rests: dict[str, Any] = {"method.lam": 0.0 if method.nll is Cells.none else 1.0}
    return rests | ({} if method.sft_first is None else {"method.epochs": 1.0})


def _rested(group: Group, path: str, read: set[str], rests: dict[str, Any]) -> Group:
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(group):  # type: ignore[arg-type]
        name, now = f"{path}{field.name}", getattr(group, field.name)
        if name not in read:
            new = rests.get(name, default_of(field))
        elif dataclasses.is_dataclass(now) and name not in COMPOSED:
            new = _rested(now, f"{name}.", read, rests)
        else:
            continue
        if new != now:
            changes[field.name] = new
    return dataclasses.replace(group, **changes) if changes else group  # type: ignore[type-var]


def default_of(field: dataclasses.Field[Any]) -> Any:
    """A field's default."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def inner(hint: Any) -> type | None:
    """The dataclass that a field's type is or may be, or none."""
    return next((kind for kind in (hint, *get_args(hint)) if dataclasses.is_dataclass(kind)), None)  # type: ignore[return-value]


def is_whole(hint: Any) -> bool:
    """Whether a setting is a list, or a mapping of groups: it is read as a whole."""
    return get_origin(hint) is list or is_mapping(hint)


def is_mapping(hint: Any) -> bool:
    """Whether a setting holds groups by names of their own."""
    return get_origin(hint) is dict and inner(hint) is not None


@functools.cache
def settings(cls: type, path: str = "") -> tuple[tuple[str, Any, dataclasses.Field[Any]], ...]:
    """Dotted name, type and field of every setting; a group comes before what it holds."""
    hints, found = get_type_hints(cls), []
    for field in dataclasses.fields(cls):
        found.append((f"{path}{field.name}", hints[field.name], field))
        if (group := inner(hints[field.name])) is not None and not is_whole(hints[field.name]):
            found += settings(group, f"{path}{field.name}.")
    return tuple(found)
