"""The model folder of a finished run, made again from what its stages left."""

from __future__ import annotations

from pathlib import Path

from clo.config.parse import RunConfig
from clo.errors import UserError
from clo.storage.run_folder import AGAIN, RunFolder


def has_model(path: Path) -> bool:
    """Whether the run's folder holds weights."""
    return any((path / "model").glob("*.safetensors"))


def stage_weights(path: Path) -> list[Path]:
    """What each finished stage left, in order."""
    return sorted((path / "checkpoint").glob("[0-9]-*.safetensors"))


def rebuild_model(run: RunConfig, path: Path) -> None:
    """Write ``model/`` from the weights that the stages trained; scores and everything else stay as they are.

    Args:
        run: the finished run.
        path: its folder.

    Raises:
        UserError: the stages' weights are gone too, or belong to another start model.
    """
    from clo.model.load import load_model
    from clo.model.tuning import apply_tuning
    from clo.square.reference import weights_key
    from clo.study.layer_choice import recorded_tuning
    from clo.study.outcome import save_model
    from clo.study.session import open_session
    from clo.training.checkpoint import load_trained

    stages, needed = stage_weights(path), 1 if run.method.sft_first is None else 2
    if len(stages) != needed:
        raise UserError(f"{path / 'model'} is missing, and so are the weights in {path / 'checkpoint'}; {AGAIN}")
    folder = RunFolder(path, finished=True)
    folder.lock()
    try:
        session = open_session(run, folder)
        model = apply_tuning(load_model(run.model).to(session.device), recorded_tuning(run, path), run.seed)
        for weights in stages:
            load_trained(model, weights, weights_key(model, run.trainer.precision))
        save_model(session, model, folder.results())
    finally:
        folder.release()
