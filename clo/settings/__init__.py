"""The groups of the configuration: what decides a result (:mod:`science`), and what runs it (:mod:`machine`)."""

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
    "TrainerConfig",
    "TuningConfig",
]
