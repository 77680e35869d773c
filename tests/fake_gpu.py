"""A GPU of shapes alone: ``cuda:0`` on a machine without one, for tensors that have a size and no values.

Under torch's ``FakeTensorMode`` the real code runs there, forward and backward, with autocast's rules for a GPU. What
it launches, what it holds at a time and where it would wait for the device are the real ones; times and values are
not. A process can have one only from its start, so what uses it runs as a script of its own (see `run`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

SOURCE = """
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

using c10::Device;
using c10::DeviceIndex;
using c10::DeviceType;
using c10::Stream;

static Device only() { return Device(DeviceType::CUDA, 0); }
static Stream stream() { return Stream(Stream::DEFAULT, only()); }

// One device, one stream, nothing to wait for.
class ShapesGuard : public c10::impl::DeviceGuardImplInterface {
 public:
  DeviceType type() const override { return DeviceType::CUDA; }
  Device exchangeDevice(Device) const override { return only(); }
  Device getDevice() const override { return only(); }
  void setDevice(Device) const override {}
  void uncheckedSetDevice(Device) const noexcept override {}
  Stream getStream(Device) const override { return stream(); }
  Stream getDefaultStream(Device) const override { return stream(); }
  Stream exchangeStream(Stream) const override { return stream(); }
  DeviceIndex deviceCount() const noexcept override { return 1; }
};
C10_REGISTER_GUARD_IMPL(CUDA, ShapesGuard);

// Torch looks for this name.
class CUDAHooks : public at::CUDAHooksInterface {
 public:
  explicit CUDAHooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex deviceCount() const override { return 1; }
  DeviceIndex getCurrentDevice() const override { return 0; }
};
namespace at {
using ::CUDAHooks;
REGISTER_CUDA_HOOKS(CUDAHooks)
}
"""


def library() -> Path:
    """The compiled device, made once for each torch; skips the test where there is no compiler."""
    import torch

    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler is here to build the device of shapes")
    stamp = hashlib.sha256(f"{torch.__version__}{SOURCE}".encode()).hexdigest()[:16]
    built = Path(tempfile.gettempdir()) / f"clo-shapes-{os.getuid()}" / f"{stamp}.so"
    if not built.is_file():
        built.parent.mkdir(mode=0o700, exist_ok=True)
        root = Path(torch.__file__).parent
        includes = [f"-I{root / 'include'}", f"-I{root / 'include/torch/csrc/api/include'}"]
        code, fresh = built.with_suffix(f".{os.getpid()}.cpp"), built.with_suffix(f".{os.getpid()}.so")
        code.write_text(SOURCE, encoding="utf-8")
        options = ["-std=c++20", "-O1", "-fPIC", "-shared", *includes, f"-L{root / 'lib'}", "-lc10", "-ltorch_cpu"]
        options.append(f"-Wl,-rpath,{root / 'lib'}")
        made = subprocess.run([compiler, str(code), *options, "-o", str(fresh)], capture_output=True, text=True)
        code.unlink()
        if made.returncode:
            pytest.skip(f"the device of shapes cannot be built here: {made.stderr[-500:]}")
        fresh.replace(built)
    return built


@cache
def run(script: Path, **asked: Any) -> dict[str, Any]:
    """What ``script`` prints last, as JSON, given ``asked`` as JSON.

    Raises:
        RuntimeError: it failed; a question to the device is a ``DataDependentOutputException``.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "LD_PRELOAD": str(library())}
    command = [sys.executable, str(script), json.dumps(asked)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(ended.stderr[-3000:])
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def ledger() -> Any:
    """A dispatch mode that counts kernels by name and bytes on the device: ``held`` now, and the most since `reset`."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_iter

    class Ledger(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.held = self.peak = 0
            self.kernels: Counter[str] = Counter()
            self._known: dict[int, Any] = {}

        def reset(self) -> None:
            self.peak = self.held
            self.kernels.clear()

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            there = [t for t in tree_iter(out) if isinstance(t, torch.Tensor) and t.device.type == "cuda"]
            fresh = [t for t in there if self.add(t)]
            if there and (fresh or func._schema.is_mutable):  # a view launches nothing
                self.kernels[func.overloadpacket.__name__] += 1
            return out

        def add(self, tensor: Any) -> bool:
            """Count a tensor's memory, once, until it is freed; whether it is new."""
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key in self._known:
                return False

            def free(_: Any) -> None:
                self.held -= size
                del self._known[key]

            self._known[key] = weakref.ref(storage, free)
            self.held += size
            self.peak = max(self.peak, self.held)
            return True

    return Ledger()
