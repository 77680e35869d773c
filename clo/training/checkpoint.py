"""What a stage leaves on disk: checkpoints to go on from, and the weights that it trained; safetensors, no pickles."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import CheckpointIO
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from clo.errors import UserError
from clo.square.reference import snapshot
from clo.storage.files import obey_umask

SUFFIX = ".safetensors"


class SafetensorsIO(CheckpointIO):
    """Lightning's checkpoints as safetensors: the tensors by number, everything else as JSON in the header.

    They are copied at once and written while the training goes on; the one before is awaited first.

    Args:
        beside: false writes them before the training goes on, without a copy: on a CPU that would be a second one of
            the weights and their moments in the memory that the training has.
    """

    def __init__(self, beside: bool = True) -> None:
        self._beside = beside
        self._worker = ThreadPoolExecutor(1, "checkpoint")
        self._written: Future[None] | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write whole or not at all.

        Raises:
            UserError: the one before could not be written.
        """
        self.wait()
        tensors: dict[str, Tensor] = {}
        header = {"checkpoint": json.dumps(_plain(checkpoint, tensors, copy=self._beside))}
        if not self._beside:
            write_tensors(Path(path), tensors, header)
            return
        self._written = self._worker.submit(write_tensors, Path(path), tensors, header)

    def wait(self) -> None:
        """Until everything lies on disk.

        Raises:
            UserError: it could not be written.
        """
        written, self._written = self._written, None
        if written is not None:
            written.result()

    def teardown(self) -> None:
        """Lightning's end."""
        self.wait()

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """The checkpoint, its tensors on the CPU."""
        self.wait()
        tensors, header = read_tensors(Path(path))
        found: dict[str, Any] = _restored(json.loads(header["checkpoint"]), tensors)
        return found

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete the file, once what takes its place is written."""
        before = self._written

        def delete() -> None:
            if before is not None:
                before.result()  # done by now; the only copy stays where this raises
            Path(path).unlink(missing_ok=True)

        self._written = self._worker.submit(delete)


class StageCheckpoint(ModelCheckpoint):
    """Keeps the latest checkpoint of a stage, ``step<n>.safetensors``."""

    FILE_EXTENSION = SUFFIX

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__(
            dirpath=folder,
            filename="step{step}",
            auto_insert_metric_name=False,
            every_n_train_steps=every,
            save_top_k=1,
        )


def _plain(value: Any, tensors: dict[str, Tensor], copy: bool) -> Any:
    """JSON for ``value``; its tensors move to ``tensors`` and leave their names."""
    if isinstance(value, Tensor):
        name = f"t{len(tensors)}"
        tensors[name] = value.detach().to("cpu", copy=copy).contiguous()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"items": [[_plain(k, tensors, copy), _plain(v, tensors, copy)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        return [_plain(v, tensors, copy) for v in value]
    return value


def _restored(value: Any, tensors: Mapping[str, Tensor | None]) -> Any:
    """What ``_plain`` was given, tuples as lists."""
    if isinstance(value, list):
        return [_restored(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    return {_restored(k, tensors): _restored(v, tensors) for k, v in value["items"]}


def write_tensors(path: Path, tensors: dict[str, Tensor], header: dict[str, str]) -> None:
    """Write a safetensors file whole or not at all."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    try:
        save_file(tensors, temporary, metadata=header)
        obey_umask(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"cannot write {path} ({error}); make room, the run goes on from its last checkpoint"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors on the CPU, and the header.

    Raises:
        UserError: the file is broken.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118  # not a dict
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}); delete the run folder to start anew") from error


def read_header(path: Path) -> dict[str, Any]:
    """A checkpoint without its tensors, each of which is none; of a file of many GB only the header is read.

    Raises:
        UserError: the file is broken.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            header = json.loads(file.metadata()["checkpoint"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); delete the run folder to start anew") from error
    found: dict[str, Any] = _restored(header, defaultdict(lambda: None))
    return found


def newest_checkpoint(folder: Path, base: str) -> Path | None:
    """The latest whole checkpoint of a stage, or none.

    Raises:
        UserError: it was written from another base.
    """
    found = sorted(folder.glob(f"step*{SUFFIX}"), key=step_of)
    if not found:
        return None
    if read_header(found[-1]).get("clo_base") != base:
        raise UserError(f"{found[-1]} was trained from another base model; delete the run folder to start anew")
    return found[-1]


def drop_older(folder: Path) -> None:
    """Delete all but the latest checkpoint of a stage that has ended: Lightning leaves the one that it went on from."""
    for checkpoint in sorted(folder.glob(f"step*{SUFFIX}"), key=step_of)[:-1]:
        checkpoint.unlink()


def step_of(checkpoint: Path) -> int:
    """Optimizer steps done when it was written."""
    return int(checkpoint.stem.removeprefix("step"))


@dataclass(frozen=True)
class Trained:
    """The file of a stage's weights, and what it says of them."""

    path: Path
    base: str
    """Key of the weights they started from."""
    stage: str = ""
    """What they were trained by, for other runs."""


def save_trained(model: Any, file: Trained, path: Path | None = None) -> None:
    """Write the trained tensors, to another place where ``path`` is given."""
    header = {"base": file.base} | ({"stage": file.stage} if file.stage else {})
    write_tensors(path or file.path, {name: t.contiguous() for name, t in snapshot(model).items()}, header)


def stage_of(path: Path) -> str | None:
    """What the tensors of a file were trained by, see :class:`Trained`; None: it is not there, or does not say."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("stage")
    except (SafetensorError, OSError):
        return None


def load_trained(model: Any, path: Path, base: str | None = None) -> None:
    """Put trained tensors into a tuned model, which is what they started from (``base`` is its key; null: unchecked).

    Raises:
        UserError: they belong to another model or tuning.
    """
    tensors, header = read_tensors(path)
    wanted = {name: p for name, p in model.named_parameters() if p.requires_grad}
    other = base is not None and header["base"] != base
    if other or {n: t.shape for n, t in tensors.items()} != {n: p.shape for n, p in wanted.items()}:
        raise UserError(f"{path} was trained from another base or tuning; delete the run folder to start anew")
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(tensors[name])
