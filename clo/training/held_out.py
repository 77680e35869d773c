"""The held-out square: NLL and log-probs of every cell, margins of every direction."""

from __future__ import annotations

from collections.abc import Sequence

from clo.data.batch import every_cell
from clo.data.items import Item
from clo.square.objective import Objective, objective_terms, square_metrics
from clo.training.step_zero import check_step_zero, rounding
from clo.training.terms import Scorer


def held_out_metrics(scorer: Scorer, objective: Objective, items: Sequence[Item], max_tokens: int) -> dict[str, float]:
    """The metrics of a validation, without their ``val/``.

    Args:
        scorer: of the stage.
        objective: what is trained.
        items: held out.
        max_tokens: tokens of a forward pass.
    """
    cells = every_cell(items)
    scores = scorer.scores(items, cells, max_tokens)
    R_BLK = scorer.reference(items, cells, max_tokens) if objective.needs_reference() else None
    terms = objective_terms(objective, scores.S_BLK, R_BLK, scores.count_BLK, None, items)
    own = {name: float(total / count) for name, (total, count) in terms.metrics.items() if count}
    return square_metrics(scores.S_BLK, scores.count_BLK, objective.codes) | own


def rounding_at_start(scorer: Scorer, objective: Objective, items: Sequence[Item], metrics: dict[str, float]) -> float:
    """The rounding of the model's scores, nats per root of a token, before the first step.

    Args:
        scorer: of the stage.
        objective: one whose comparisons have a reference.
        items: held out.
        metrics: theirs.

    Raises:
        UserError: policy and reference are not the same yet.
    """
    rounded = rounding(scorer.model, items, every_cell(items))
    check_step_zero(metrics, rounded, items, objective.beta)
    return rounded
