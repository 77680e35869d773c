"""What every cell of a grid imports, imported once: cells are forks of the process that has it (`clo.study.cell`).

Nothing is computed here, so that torch starts no thread and touches no GPU: each cell does that for itself.
"""

from __future__ import annotations

import contextlib
import importlib
import signal
import warnings

MODULES = (
    *("pytorch_lightning", "transformers", "peft", "clo.study.run", "clo.study.kept", "clo.study.rivals"),
    *("clo.study.own_answers", "clo.study.layer_choice", "clo.study.data_card", "clo.study.plan_choice"),
    *("clo.training.stages", "clo.training.throughput", "clo.training.layer_shares", "clo.evaluation.watch"),
    *("clo.evaluation.decode", "clo.data.cldr", "clo.model.load", "clo.model.tuning", "clo.model.window"),
    *("clo.study.mixture", "clo.study.task_results", "clo.training.join", "sacrebleu", "py3langid"),
)
NAMES = ("AutoModelForCausalLM", "AutoTokenizer", "LlamaForCausalLM", "PreTrainedTokenizerFast")
"""Of transformers, which imports what it is asked for."""

signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which stops its cells
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for _module in MODULES:
        with contextlib.suppress(Exception):  # a cell that needs it says so
            importlib.import_module(_module)
    for _name in NAMES:
        with contextlib.suppress(Exception):
            getattr(importlib.import_module("transformers"), _name)
