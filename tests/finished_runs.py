"""A finished run to work on, and all that is in its folder."""

from __future__ import annotations

from pathlib import Path

from warm_runs import WarmRuns, tiny


def finished_run(warm: WarmRuns, model: Path, place: Path) -> Path:
    """The folder of a run that was made below ``place``."""
    ended = warm.run(tiny(model, place), place)
    assert ended.code == 0, ended.err
    (run,) = (place / "outputs" / "runs").iterdir()
    return run


def files(run: Path) -> dict[str, bytes]:
    kept = {path for path in run.rglob("*") if path.is_file() and not path.name.startswith(".lock")}
    return {str(path.relative_to(run)): path.read_bytes() for path in kept}
