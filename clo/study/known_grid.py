"""A finished grid is known again by its command, without composing its cells: that takes Hydra a second each.

Kept in ``cache_dir/grids`` once every cell is done, by the content of all that decides which cells a command means: its
words, the files of the configuration, this program, the machine (which may decide a precision).
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from clo.config.parse import conf_dir
from clo.errors import UserError
from clo.storage.digest import digest_of
from clo.storage.files import write_json
from clo.storage.run_folder import RunFolder

FLAGS = ("-m", "--multirun", "--config-dir", "-cd")
"""Flags of Hydra with which a grid is known again; with another one its cells are composed."""
ELSEWHERE = ("oc.env", "hydra.searchpath", "hydra/", "hydra.")
"""What may bring in values that no file of the configuration holds."""


@dataclass(frozen=True)
class KnownGrid:
    """Every cell of a command, all of them done."""

    paths: list[str]
    """Folders of the runs, in the order of the grid."""
    study: str
    output_dir: str
    files: dict[str, list[int]]
    """Local files that the runs were made from, with size and time of the last change: other ones are to be told of."""

    def stands(self) -> bool:
        """Whether the files are as they were."""
        return all(seen(Path(file)) == then for file, then in self.files.items())


def recall(place: Path | None) -> KnownGrid | None:
    """The finished grid that a command means, by its `place_of`; None where none is known, or finished any longer."""
    if place is None:
        return None
    try:
        known = KnownGrid(**json.loads(place.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    if not known.stands():
        return None
    done = known.paths and all(RunFolder(Path(path)).state() == "done" for path in known.paths)
    return known if done else None


def seen(file: Path) -> list[int]:
    """Size and time of the last change, ns; empty where there is no such file."""
    try:
        stat = file.stat()
    except OSError:
        return []
    return [stat.st_size, stat.st_mtime_ns]


def remember(place: Path | None, words: Sequence[str], known: KnownGrid) -> None:
    """Keep what a command means, now that it is finished; a place that cannot be written is let be.

    Nothing is kept where the configuration, this program or the files of the runs have changed since the command began.

    Args:
        place: `place_of` the command, taken before its cells were composed.
        words: the command.
        known: with the files as they were then.
    """
    if place is not None and place_of(words) == place and known.stands():
        try:
            write_json(place, asdict(known))
        except UserError:
            return


def place_of(words: Sequence[str]) -> Path | None:
    """Where what a command means is kept; None for a command that may mean something else next time."""
    flags = [word.partition("=")[0] for word in words if word.startswith("-")]
    if not set(flags) <= set(FLAGS) or any(sign in word for word in words for sign in ELSEWHERE):
        return None
    content = []
    for file in _files(words):
        try:
            content.append((str(file), text := file.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return None
        if "oc.env" in text:
            return None
    program = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in _own()]
    machine = [platform.node(), os.environ.get("CUDA_VISIBLE_DEVICES"), os.getcwd()]
    digest = digest_of([list(words), content, program, machine, version("hydra-core"), version("omegaconf")])
    named = [word.partition("=")[2] for word in words if word.startswith("cache_dir=")]
    return Path(named[-1] if named else ".cache") / "grids" / f"{digest}.json"


def _files(words: Sequence[str]) -> Iterable[Path]:
    """The configuration: this program's, and the folders that the words add."""
    folders = [conf_dir()]
    for word, after in zip(words, [*words[1:], ""], strict=True):
        name, joined, value = word.partition("=")
        if name in ("--config-dir", "-cd"):
            folders.append(value if joined else after)
    return [file for folder in folders for file in sorted(Path(folder).rglob("*.yaml"))]


def _own() -> Iterable[Path]:
    return sorted(Path(__file__).resolve().parents[1].rglob("*.py"))
