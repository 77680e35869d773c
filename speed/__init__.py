"""Speed and memory of one CLO step against TRL's DPOTrainer, at equal loss and equal gradients."""

import os

# Before transformers or trl are imported: no telemetry, no progress bars, no look-ups on the hub.
for _name, _value in {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRL_EXPERIMENTAL_SILENCE": "1",
}.items():
    os.environ.setdefault(_name, _value)
