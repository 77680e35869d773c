"""The wheel holds everything: installed elsewhere, the user's command works from any folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT
from warm_runs import cold


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that the checkout stays clean."""
    pytest.importorskip("setuptools", minversion="77", reason="builds the wheel")
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, source)
    for name in ("clo", "conf"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", "out", "."]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (path,) = (source / "out").glob("clo-*.whl")
    return path


def test_the_wheel_holds_every_file(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"clo/conf/{path.relative_to(ROOT / 'conf')}" for path in (ROOT / "conf").rglob("*.yaml")}
    for pattern in ("*.py", "py.typed", "wording/*.yaml", "prompts.yaml", "paper.yaml", "weights*/*", "templates/*"):
        wanted |= {str(p.relative_to(ROOT)) for p in (ROOT / "clo").rglob(pattern) if p.is_file()}
    assert len(wanted) > 100
    assert wanted <= names, sorted(wanted - names)
    extra = {name for name in names - wanted if ".dist-info/" not in name}
    assert not extra
    assert wheel.stat().st_size < 20 * 2**20


def test_the_users_command_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    site, place = tmp_path / "site", tmp_path / "elsewhere"
    place.mkdir()
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    where = cold(["-c", "import clo; print(clo.__file__)"], place, PYTHONPATH=str(site))
    assert Path(where.out.strip()) == site / "clo" / "__init__.py"
    tiny = ["evaluation.rows=4", "evaluation.val_items=4", "evaluation.max_new_tokens=4", "jobs=2"]
    command = ["-m", "clo", "train", "-m", "lang=ko,sw", "data_size=8", *tiny]
    ended = cold(command, place, PYTHONPATH=str(site))
    assert ended.code == 0, ended.out + ended.err
    runs = sorted(place.glob("outputs/runs/*"))
    assert [run.name.rpartition("-")[0] for run in runs] == ["nano-clo-ko-8-s0", "nano-clo-sw-8-s0"]
    for run in runs:
        assert json.loads((run / "results.json").read_text())["model"] == "nano"
        assert (run / "model" / "model.safetensors").is_file()
    assert {path.name for path in place.iterdir()} == {"outputs", ".cache"}
    entry = next(site.glob("clo-*.dist-info/entry_points.txt")).read_text()
    assert "clo = clo.commands.cli:main" in entry
