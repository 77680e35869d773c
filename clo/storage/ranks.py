"""Which of the processes of a run this one is, whoever started it: Lightning, torchrun, srun or submitit."""

from __future__ import annotations

import os


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
