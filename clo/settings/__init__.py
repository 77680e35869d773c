"""The groups of the configuration: what decides a result (``science``, ``sources``), and what runs it (``machine``)."""

from clo.settings.machine import LoggerConfig, OptimizerConfig, TrainerConfig
from clo.settings.science import (
    DataConfig,
    EvaluationConfig,
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
