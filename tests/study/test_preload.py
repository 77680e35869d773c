"""What cells are forked from: everything imported, nothing begun."""

from __future__ import annotations

from pathlib import Path

from warm_runs import cold

LOOKS = ("is_available", "device_count", "init", "_lazy_init", "get_device_capability", "current_device")


def test_imports_touch_no_gpu_and_start_no_thread_of_torch(tmp_path: Path) -> None:
    """A process that has looked for GPUs hands none on to its forks."""
    code = f"""
import os, sys, torch
looked = []
def watched(name, look):
    return lambda *given: looked.append(name) or look(*given)
for name in {LOOKS}:
    setattr(torch.cuda, name, watched(name, getattr(torch.cuda, name)))
import clo.study.preload
modules = [*clo.study.preload.MODULES, "torch"]
print([name for name in modules if name not in sys.modules], looked, len(os.listdir("/proc/self/task")))
"""
    ended = cold(["-c", code], tmp_path, OPENBLAS_NUM_THREADS="1")
    assert (ended.code, ended.out) == (0, "[] [] 1\n"), ended.err
