"""A model folder as other people made it: where it is, what is wrong with a spoilt one, whether it can be used."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clo.config.reads import shipped
from clo.errors import UserError, cause, was_stopped


def check_place(shown: str, path: str) -> None:
    """Refuse a path that is no folder before transformers takes it for a hub id.

    Args:
        shown: what the user called the model.
        path: the folder that this stands for, or a hub id.

    Raises:
        UserError: it is a file, or the path of a folder that is not there.
    """
    if Path(path).is_dir():
        return
    if shipped(path):
        name, _, seed = path.partition("-")
        build = f"python -m clo.nano.build {name}" + (f" --seed {seed}" if seed else "")
        raise UserError(f"cannot load model.path={shown}: its weights are not in the package; build them: {build}")
    if Path(path).exists():
        raise UserError(f"cannot load model.path={shown}: it is a file; set model.path to the folder around it")
    if path.startswith(("/", "./", "../", "~")) or path.count("/") > 1 or path in (".", ".."):
        raise UserError(f"cannot load model.path={shown}: no such folder; set model.path to a local folder or a hub id")


def resolve_path(path: str) -> str:
    """The folder of an embedded model's weights where they are built, else the path itself (a folder or a hub id)."""
    if not shipped(path):
        return path
    folder = Path(__file__).parent.parent / "nano" / f"weights-{path}".replace("-nano", "")
    return str(folder) if folder.is_dir() else path


def local_folder(path: str, revision: str | None) -> Path | None:
    """Where a model's files lie on this machine: its folder, or the hub's cache of its revision; None if nowhere."""
    folder = Path(resolve_path(path))
    if folder.is_dir():
        return folder
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(path, "config.json", revision=revision)
    except HFValidationError:  # not the form of a hub id
        return None
    return Path(found).parent if isinstance(found, str) else None


def adapter_base(folder: Path) -> str | None:
    """The path or hub id of the model that an adapter folder names as its base; None where it is no adapter."""
    try:
        base = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError):
        return None
    return base if isinstance(base, str) and base else None


@contextmanager
def told(shown: str, path: str) -> Iterator[None]:
    """Tell whatever the libraries raise for a folder or a hub id in one sentence, without their reports before it.

    A folder is other people's files: transformers, tokenizers, safetensors, peft and pickle each fail in ways of their
    own. Pickled weights are read by torch's reader of tensors alone, which runs nothing. Arguments as of `check_place`.

    Raises:
        UserError: what failed, and how to mend it.
    """
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    except BaseException as error:
        # A panic of the tokenizers library is no Exception.
        panic = type(error).__name__ == "PanicException"
        if isinstance(error, UserError) or was_stopped(error) or not (isinstance(error, Exception) or panic):
            raise
        raise UserError(f"cannot load model.path={shown}: {cause(error)}; {_advice(error, path)}") from error
    finally:
        transformers_logging.set_verbosity(level)


def check_finite(shown: str, weights: Iterable[tuple[str, Any]]) -> None:
    """Refuse weights with NaN or infinity, of which nothing but NaN comes. One sum per tensor; no copy is made.

    Args:
        shown: what the user called the model.
        weights: (name, tensor) pairs; those that are not float (quantized ones) are passed over.

    Raises:
        UserError: names the first such tensor.
    """
    import torch

    for name, weight in weights:
        if weight.dtype in (torch.float16, torch.bfloat16, torch.float32) and not weight.is_meta:
            finite = bool(weight.detach().sum(dtype=torch.float32).isfinite()) or bool(weight.isfinite().all())
            if not finite:
                raise UserError(
                    f"model.path={shown}: the weights hold NaN or infinity, first in {name}; download or make the "
                    "model again"
                )


def _advice(error: BaseException, path: str) -> str:
    """How to mend a failure to load."""
    import pickle

    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return "it needs more memory than there is; choose a smaller model"
    if isinstance(error, pickle.UnpicklingError) or "weights_only" in str(error):
        return "its pickled weights hold more than tensors, and nothing of them was run; save them as safetensors"
    if "gated" in str(error).lower():
        return "accept its licence on its hub page, then run `hf auth login`"
    if Path(path).exists():
        return "the folder must hold a Hugging Face causal language model with its tokenizer"
    return "set model.path to a local folder or a hub id, and check the network"
