"""The configuration of a run: groups of settings with types, units and bounds, checked before anything heavy starts.

Enters: what Hydra composed from ``conf/`` and the command line. Leaves: plain dataclasses, one group per user. Never
here: torch, transformers, any room but ``errors``.
"""

from clo.config.evaluation import ROWS, BenchmarksConfig, EvaluationConfig, RivalsConfig
from clo.config.lang import LangConfig
from clo.config.machine import LoggerConfig, OptimizerConfig, TrainerConfig
from clo.config.method import MethodConfig, SftStage
from clo.config.science import DataConfig, LoraConfig, ModelConfig, Recipe, TuningConfig
from clo.config.sources import SourceConfig, TranslationConfig
from clo.config.tasks import TaskConfig

__all__ = [
    "ROWS",
    "BenchmarksConfig",
    "DataConfig",
    "EvaluationConfig",
    "LangConfig",
    "LoggerConfig",
    "LoraConfig",
    "MethodConfig",
    "ModelConfig",
    "OptimizerConfig",
    "Recipe",
    "RivalsConfig",
    "SftStage",
    "SourceConfig",
    "TaskConfig",
    "TrainerConfig",
    "TranslationConfig",
    "TuningConfig",
]
