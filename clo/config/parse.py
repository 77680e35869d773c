"""The configuration of a run, checked in one place.

Hydra composes ``conf/*.yaml`` onto :class:`RunConfig` (types, choices and unknown keys are refused at compose);
:func:`parse` checks bounds and combinations before anything heavy is imported.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from clo.config import (
    DataConfig,
    EvaluationConfig,
    LangConfig,
    LoggerConfig,
    MethodConfig,
    ModelConfig,
    OptimizerConfig,
    TrainerConfig,
    TuningConfig,
)
from clo.config.choices import AUTO, Anchor, ReferenceMode, Targets
from clo.config.identity import first_name_of, name_of, science_of
from clo.config.lang import settled_size
from clo.config.losses import register_losses
from clo.config.method import places_against
from clo.config.mixture import MixtureConfig, Table, check_mixed
from clo.config.precision import decide
from clo.config.rates import register_rates
from clo.config.reads import at_rest, inner, is_mapping
from clo.config.rejected import check_pairs, settle_rejected
from clo.config.science import PLACE
from clo.config.tasks import TaskConfig, check_tasks, with_testers
from clo.errors import UserError, check, plain_name


@dataclass
class RunConfig:
    """One run: a cell of the grid. What its choices do not read rests at its default (:mod:`clo.config.reads`)."""

    model: ModelConfig = field(default_factory=ModelConfig)
    lang: LangConfig = field(default_factory=LangConfig)
    method: MethodConfig = field(default_factory=MethodConfig)
    tuning: TuningConfig = field(default_factory=TuningConfig)
    data: DataConfig = field(default_factory=DataConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    mixture: MixtureConfig = field(default_factory=MixtureConfig)
    tasks: dict[str, TaskConfig] = field(default_factory=dict)
    """Tasks of a mixture by name; ``task=[maths,summaries]`` fills it from the files of conf/task."""
    data_size: Any = 400
    """Training items, a prefix of the data: sizes are nested. Of several targets each has as many, or its own number,
    as in ``{ko: 1600, sw: 400}``. A mixture says it itself: then these are its rows by language."""
    batch_size: int = 64
    """Items per optimizer step, over all devices."""
    seed: int = 0
    """Seed of the order of items (and of adapters' first values)."""
    scale: str | None = None
    """Size at which a study of the paper is run (nano, real, paper): names its folder, and nothing else reads it."""
    study_name: str = "runs"
    """Folder of the run under output_dir; reports read one study."""
    output_dir: str = "outputs"
    """Where run folders go."""
    cache_dir: str = ".cache"
    """Where reference log-probs and start-model answers are kept."""
    jobs: int | None = None
    """Cells of a grid that run at a time; null: as many as the cores carry (1 on a GPU)."""
    retries: int = 1
    """Times that a failed cell of a grid is tried again."""
    plan: bool = False
    """Print what the run would need, and train nothing."""

    def __post_init__(self) -> None:
        if self.mixture.name:
            check_mixed(self)
            self.tasks = with_testers(self.tasks, self.mixture.tasks)
            self.lang = self.mixture.asked_in(self.lang, self.tasks)
            lengths = [task.max_new_tokens or 0 for task in self.tasks.values()]
            most = max([self.evaluation.max_new_tokens, *lengths])
            self.evaluation = replace(self.evaluation, max_new_tokens=most)
            table = self.table().values()
            self.data_size = {code: sum(own[code] for own in table) for code in self.lang.codes()}
        else:
            self.data_size = settled_size(self.data_size, self.lang.codes()[1:])
        check(self.batch_size >= 1, "batch_size", "a number of items, at least 1", self.batch_size)
        check(0 <= self.seed < 2**32, "seed", "a whole number of at least 0 and below 2**32", self.seed)
        check(self.jobs is None or self.jobs >= 1, "jobs", "a count of at least 1, or null", self.jobs)
        check(self.retries >= 0, "retries", "a count of at least 0", self.retries)
        plain_name("study_name", self.study_name)
        check_tasks(self.tasks)
        for name in ("output_dir", "cache_dir"):
            check(bool(getattr(self, name).strip()), name, "a folder; . is this one", repr(getattr(self, name)))
        if self.model.quantize is not None and self.tuning.lora is None:
            raise UserError(f"model.quantize={self.model.quantize} needs adapters: set tuning=attention_lora")
        if self.model.quantize is not None and self.tuning.layers == AUTO:
            raise UserError(
                "tuning.layers=auto goes by gradients of the weights, and quantized ones have none; name the layers, "
                "or set model.quantize=null"
            )
        if self.model.quantize is not None and "chat_vector" in self.evaluation.rivals.names:
            raise UserError(
                "evaluation.rivals.names=[chat_vector] adds weights, and quantized ones cannot be added; leave it out, "
                "or set model.quantize=null"
            )
        if self.method.anchor is Anchor.replay and not self.data.replay.is_given() and self.data.kind != "cldr":
            raise UserError(
                "method.anchor=replay needs rows in the source language beside the run's own: set "
                "data.replay.path=<file> or data.replay.dataset=<hub name>"
            )
        for group, rested in at_rest(self).items():
            setattr(self, group, rested)
        places_against(self.method.against, self.lang.codes())
        if self.data.targets is Targets.apart and self.method.against not in ("all", "source"):
            raise UserError(
                f"method.against={self.method.against} compares targets with each other, and data.targets=apart has "
                "one in an item; set data.targets=together or method.against=source"
            )
        if self.lang.further:
            self._check_several()
        settle_rejected(self.method)
        check_pairs(self.method, self.data)
        if self.trainer.reference is ReferenceMode.adapters_off and self.tuning.lora is None:
            raise UserError(
                "trainer.reference=adapters_off needs adapters; set tuning=attention_lora or reference=cached"
            )
        if self.trainer.reference is ReferenceMode.adapters_off and self.method.sft_first:
            raise UserError(
                f"trainer.reference=adapters_off would compare method.name={self.method.name} with the base model, "
                "but its reference is the first stage's end; set trainer.reference=cached or swapped"
            )

    def _check_several(self) -> None:
        """Refuse what knows of one target alone."""
        if self.evaluation.benchmarks.harness:
            raise UserError(
                "evaluation.benchmarks.harness asks in one target, and this run has several; name "
                "evaluation.benchmarks.names instead, or give one lang="
            )

    def table(self) -> Table:
        """Rows of a mixture by task and language."""
        return self.mixture.table(self.lang.codes())

    def sizes(self) -> dict[str, int]:
        """Training items by the code of a target."""
        size = self.data_size
        return {code: size[code] if isinstance(size, dict) else size for code in self.lang.codes()[1:]}

    def alone(self) -> list[RunConfig]:
        """The runs of one target each that have this run's rows and settings, in the order of the targets."""
        if not self.lang.further or self.mixture.name:  # nothing of a mixture is still to be translated
            return [self]
        method = replace(self.method, against="all")  # between two languages it is the same
        return [
            replace(self, lang=one, method=method, data_size=self.sizes()[one.code], data=self._data_of(one.code))
            for one in self.lang.targets()
        ]

    def _data_of(self, code: str) -> DataConfig:
        train, dev, test = (self.data.file(name, code) for name in ("train", "dev", "test"))
        return replace(self.data, train=train, dev=dev, test=test)

    def science(self) -> dict[str, Any]:
        """The part that decides the result, see :mod:`clo.config.identity`."""
        return science_of(plain(self))

    def slug(self) -> str:
        """The run's name, see :func:`clo.config.identity.name_of`."""
        return name_of(plain(self))

    def first_slug(self) -> str:
        """The name under which version 0.1 kept this run."""
        return first_name_of(plain(self))


def plain(node: Any) -> Any:
    """Dataclasses and enums as dicts, lists and strings."""
    if dataclasses.is_dataclass(node) and not isinstance(node, type):
        return {f.name: plain(getattr(node, f.name)) for f in dataclasses.fields(node)}
    if isinstance(node, Enum):
        return node.name
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [plain(value) for value in node]
    return node


def conf_dir() -> str:
    """``conf/`` of the checkout, or the copy inside the installed wheel."""
    packaged = Path(__file__).parents[1] / "conf"
    return str(packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / "conf")


@functools.cache
def register_schema() -> None:
    """Make the dataclass tree the first entry of the defaults list, and computed defaults known to the files; once."""
    register_rates()
    register_losses()
    ConfigStore.instance().store(name="schema", node=RunConfig, provider="clo")


@functools.cache
def tree() -> Any:
    """The dataclass tree with nothing set; for copies only."""
    return OmegaConf.structured(RunConfig)


def _unknown_keys(node: Any, cls: type, path: str = "") -> Iterator[str]:
    """Keys that Hydra's ``+key=value`` let in and ``to_object`` would drop without a word."""
    types = get_type_hints(cls)
    for key in node:
        if key not in types:
            yield f"{path}{key}"
            continue
        group = inner(types[key])
        if group is None or not OmegaConf.is_dict(node._get_node(key)) or node[key] is None:
            continue
        if is_mapping(types[key]):
            for name in node[key]:
                yield from _unknown_keys(node[key][name], group, f"{path}{key}.{name}.")
        else:
            yield from _unknown_keys(node[key], group, f"{path}{key}.")


def _keep_places(cfg: Any) -> None:
    """Leave ``${lang.code}`` in paths for every target, where it would be read as the first one's."""
    for name in ("train", "dev", "test"):
        written = cfg.data._get_node(name)._value()
        if isinstance(written, str):
            cfg.data[name] = written.replace("${lang.code}", PLACE)


def parse(cfg: DictConfig) -> RunConfig:
    """Check a composed configuration and return it as plain dataclasses, with the precision that `auto` means.

    Raises:
        UserError: an unknown key, a wrong type, or a value out of bounds.
    """
    unknown = list(_unknown_keys(cfg, RunConfig))
    if unknown:
        raise UserError(f"unknown key {', '.join(unknown)}; `python train.py --cfg job` lists the keys there are")
    try:
        whole = OmegaConf.merge(tree(), cfg)  # it merges into a copy of the first
        if whole.lang.further:
            _keep_places(whole)
        run = OmegaConf.to_object(whole)
    except OmegaConfBaseException as error:
        where = f"{error.full_key}: " if error.full_key else ""
        raise UserError(where + str(error).splitlines()[0]) from error
    assert isinstance(run, RunConfig)
    if run.trainer.precision == "auto":
        run.trainer.precision, run.model.dtype = decide(run.trainer, run.model)
    return run
