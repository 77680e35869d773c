"""Which of the processes of a run this one is, whoever started it, and what they tell each other.

Lightning, torchrun, srun or submitit start them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from clo.errors import UserError

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


def is_main() -> bool:
    """Whether this is the first process of all nodes, the one that writes."""
    if "RANK" in os.environ:  # torchrun, and what a submitit job sets
        return os.environ["RANK"] == "0"
    if _slurm():
        return os.environ["SLURM_PROCID"] == "0"
    return os.environ.get("NODE_RANK", "0") == "0" and local_rank() == 0


def local_rank() -> int:
    """The process's number on its node, which is the number of its GPU."""
    if "LOCAL_RANK" in os.environ:  # torchrun, submitit, and Lightning's own processes
        return int(os.environ["LOCAL_RANK"])
    return int(os.environ.get("SLURM_LOCALID", "0")) if _slurm() else 0


def _slurm() -> bool:
    """Whether srun started several processes; a shell within an allocation is one, whatever the job's size."""
    shell = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return "SLURM_PROCID" in os.environ and int(os.environ.get("SLURM_NTASKS", "1")) > 1 and not shell


@dataclass(frozen=True)
class Ranks:
    """This process among those that share work by position: of every ``ranks`` parts each makes the one at its rank.

    All of them call `together` and `mains`, in the same order.
    """

    rank: int = 0
    ranks: int = 1
    group: Any = None
    """A gloo group of torch.distributed, over which they tell each other what they found."""

    def of(self, parts: Sequence[T]) -> Sequence[T]:
        """The parts that are made here."""
        return parts[self.rank :: self.ranks]

    def together(self, found: Mapping[K, V]) -> dict[K, V]:
        """What all of them found.

        Raises:
            UserError: another one has ended.
        """
        if self.ranks == 1:
            return dict(found)
        parts: list[Any] = [None] * self.ranks
        self._tell("all_gather_object", parts, dict(found))
        return {key: value for part in parts for key, value in part.items()}

    def mains(self, make: Callable[[], T]) -> T:
        """What the main process makes, for all of them; the others make nothing.

        Raises:
            UserError: another one has ended.
        """
        if self.ranks == 1:
            return make()
        said = [make() if self.rank == 0 else None]
        self._tell("broadcast_object_list", said, 0)
        return said[0]  # type: ignore[return-value]

    def _tell(self, how: str, *arguments: Any) -> None:
        import torch

        try:
            getattr(torch.distributed, how)(*arguments, group=self.group)
        except RuntimeError as error:  # the connection is closed
            raise UserError("another process of this run has ended; its own message says why") from error


ALONE = Ranks()
"""One process."""
