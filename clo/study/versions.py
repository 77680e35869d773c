"""Versions of what a result depends on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version


def versions() -> dict[str, str]:
    """Name -> version, of what is installed."""
    found = {"python": platform.python_version()}
    for package in ("clo", "torch", "transformers", "pytorch-lightning", "peft", "babel", "py3langid"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
