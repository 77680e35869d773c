"""``clo export``: a finished run's model as a folder that any server loads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clo.commands.command import Command
from clo.commands.options import option
from clo.errors import UserError

Dtype = Literal["bfloat16", "float16", "float32"]


@dataclass(frozen=True)
class Options:
    """Keys."""

    run: Path = option("a finished run's folder", shape="<folder>")
    to: Path = option("a new folder for the model", shape="<folder>")
    merge: bool = option("fold adapters into the weights; false keeps them as an adapter for PEFT", True)
    dtype: Dtype | None = option(
        "bfloat16, float16 or float32 (default: as the start model is stored)", None, "<dtype>"
    )
    push: str | None = option(
        "upload the folder to the Hugging Face hub under this name, after asking; needs `hf auth login`", None, "<name>"
    )
    yes: bool = option("upload without asking", False)


def export(asked: Options) -> None:
    """Write the folder, and upload it where asked to.

    Raises:
        UserError: not a finished run, the folder is taken, a key has no effect, or the upload failed.
    """
    from clo.study.export import export as export_model
    from clo.study.export import push

    if asked.yes and asked.push is None:
        raise UserError("yes=true has no effect here: push=<name> reads it; give that, or leave yes out")
    export_model(asked.run, asked.to, asked.merge, asked.dtype)
    if asked.push is not None:
        push(asked.to, asked.push, asked.yes)


COMMAND = Command(
    name="export",
    summary="a finished run's model as a folder that transformers, vLLM and other servers load",
    reads="<run>/model and config.yaml",
    writes="<to>/: weights, tokenizer, chat template, generation settings, card; whole or not at all",
    example="export run=outputs/runs/<run> to=my_model",
    run=export,
    options=Options,
)
