"""``tuning.layers=auto`` of a run: chosen once, before the first step, kept in its folder, and read ever after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clo.config import TuningConfig
from clo.config.choices import AUTO
from clo.config.parse import RunConfig
from clo.data.items import Item
from clo.errors import UserError
from clo.storage.files import read_object, write_json
from clo.storage.run_folder import AGAIN

if TYPE_CHECKING:
    from clo.study.session import Session

NAME = "layers.json"


def settled_tuning(session: Session, model: Any, items: Sequence[Item]) -> TuningConfig:
    """The run's tuning with its layers by number: those that it has chosen before, or chooses now.

    Args:
        session: the run.
        model: the start model, on its device.
        items: training items.

    Raises:
        UserError: the gradient tells nothing, or the record cannot be read.
    """
    from clo.training.layer_shares import choose_layers
    from clo.training.stages import plan_stages

    run, place = session.run, session.folder.path
    if run.tuning.layers != AUTO:
        return run.tuning

    def settled() -> TuningConfig:
        if not (place / NAME).is_file():
            (first, *_) = plan_stages(run.method, run.evaluation, run.batch_size, items, run.lang.codes())
            with session.precision():
                choice = choose_layers(model, run.tuning, first.objective, items, run.trainer)
            write_json(place / NAME, asdict(choice))
            print(told(asdict(choice)), flush=True)
        return recorded_tuning(run, place)

    return session.ranks.mains(settled)  # rounding must not choose other layers on another rank


def recorded_tuning(run: RunConfig, place: Path) -> TuningConfig:
    """A run's tuning with its layers by number, as its folder records them.

    Raises:
        UserError: it does not.
    """
    found = layer_record(run, place)
    return replace(run.tuning, layers=list(found["layers"])) if found else run.tuning


def layer_record(run: RunConfig, place: Path) -> dict[str, Any]:
    """What a run with ``tuning.layers=auto`` has chosen, and from what; empty for others.

    Raises:
        UserError: the record is not there or damaged.
    """
    if run.tuning.layers != AUTO:
        return {}
    try:
        found = read_object(place / NAME)
        first, last = found["layers"]
        if not (isinstance(first, int) and isinstance(last, int)):
            raise ValueError("its layers are no numbers")
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"cannot read which layers train from {place / NAME}; {AGAIN}") from error
    return found


def told(choice: dict[str, Any]) -> str:
    """The choice for a person."""
    (first, last), shares = choice["layers"], ", ".join(f"{100 * share:.0f}" for share in choice["shares"])
    return (
        f"tuning.layers=auto: layers {first} to {last} train, which hold {100 * choice['held']:.0f} % of the squared "
        f"gradient norm of the first {choice['items']} items (by layer, %: {shares})"
    )
