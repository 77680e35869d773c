"""Finished runs: found again by their folder, and loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from clo.config import ModelConfig
from clo.config.parse import RunConfig, parse
from clo.errors import UserError, cause
from clo.storage.run_folder import AGAIN, RunFolder
from clo.study.rebuild import has_model, stage_weights


def recorded(path: Path, changes: Sequence[str] = ()) -> RunConfig:
    """The configuration that a run's folder records, with ``changes`` (``key=value``) laid over it.

    Raises:
        UserError: it cannot be read, or a key does not exist.
    """
    config = _read(path / "config.yaml")
    if not changes:
        return parse(config)
    try:
        laid = OmegaConf.merge(config, OmegaConf.from_dotlist(list(changes)))
    except Exception as error:  # a key below one that is no group, a value that is no YAML
        raise UserError(f"{' '.join(changes)}: {cause(error)}; give key=value as of the run's configuration") from error
    return parse(laid)  # type: ignore[arg-type]


def _read(file: Path) -> DictConfig:
    """A run's config.yaml, checked; its YAML makes plain values alone, whatever tags it holds."""
    try:
        config = OmegaConf.create(file.read_text(encoding="utf-8"))
        if not isinstance(config, DictConfig):
            raise ValueError("it holds no keys")
        parse(config)
    except Exception as error:  # YAML, its types, interpolations and bounds fail in many ways
        raise UserError(f"cannot read {file} ({cause(error)}); {AGAIN}") from error
    return config


def finished_run(path: Path, changes: Sequence[str] = ()) -> tuple[RunFolder, RunConfig]:
    """The folder and the configuration of a finished run; arguments as of `recorded`.

    Raises:
        UserError: it is not one, or a key does not exist.
    """
    folder = RunFolder(path, finished=True)
    if not path.is_dir():
        raise UserError(
            f"run={path} {'is no folder' if path.exists() else 'does not exist'}; give a finished run's folder"
        )
    if folder.state() != "done" or not (path / "config.yaml").is_file():
        raise UserError(f"{path} is not the folder of a finished run; its command finishes it")
    return folder, recorded(path, changes)


def trained_config(start: ModelConfig, path: Path) -> ModelConfig:
    """The model that a run from ``start`` left in its folder at ``path``."""
    return replace(start, path=str(path / "model"), revision=None)


def check_unchanged(run: RunConfig, path: Path, *groups: str) -> None:
    """Refuse to go on with a finished run on other rows, or on another start model, than it was made from.

    Args:
        run: as recorded.
        path: its folder.
        groups: of the settings that matter, ``data`` and ``model``.

    Raises:
        UserError: what has changed.
    """
    from clo.study.content import changed_since

    changed = [key for key in changed_since(run, path) if key.partition(".")[0] in groups]
    if changed:
        raise UserError(
            f"{' and '.join(changed)} changed after {path} was made; what is asked now would mix both: bring the old "
            "content back, or train again under another study_name="
        )


def load_start(run: RunConfig, path: Path) -> Any:
    """The start model of the run whose folder is at ``path``.

    Raises:
        UserError: it cannot be loaded, or is another one by now.
    """
    from clo.model.load import load_model

    check_unchanged(run, path, "model")
    return load_model(run.model)


def load_trained(run: RunConfig, path: Path) -> Any:
    """The trained model of the folder at ``path``: merged weights, or the adapter on its base.

    Raises:
        UserError: the model is not there.
    """
    from clo.model.load import adapted, load_model

    model = path / "model"
    if not has_model(path):
        mend = "the run's command makes it again from its checkpoint" if stage_weights(path) else AGAIN
        raise UserError(f"{model} is missing; {mend}")
    if (model / "adapter_config.json").is_file():
        return adapted(load_start(run, path), trained_config(run.model, path))
    return load_model(trained_config(run.model, path))
