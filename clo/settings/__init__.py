"""The groups of the configuration: what decides a result, what is measured, and what runs it (``machine``)."""

from clo.settings.evaluation import BenchmarksConfig, EvaluationConfig
from clo.settings.machine import LoggerConfig, OptimizerConfig, TrainerConfig
from clo.settings.science import (
    DataConfig,
    LangConfig,
    LoraConfig,
    MethodConfig,
    ModelConfig,
    Recipe,
    SftStage,
    TuningConfig,
)
from clo.settings.sources import SourceConfig, TranslationConfig

__all__ = [
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
    "SftStage",
    "SourceConfig",
    "TrainerConfig",
    "TranslationConfig",
    "TuningConfig",
]
