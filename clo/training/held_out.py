"""The held-out square: NLL and log-probs of every cell, margins of every direction."""

from __future__ import annotations

from collections.abc import Sequence

from clo.data.batch import Cell
from clo.data.items import Item
from clo.square.objective import Objective, objective_terms, square_metrics
from clo.training.step_zero import check_step_zero, rounding
from clo.training.terms import Scorer


def whole_square(items: Sequence[Item]) -> list[Cell]:
    """All cells."""
    languages = range(len(items[0].prompts))
    return [(i, j) for i in languages for j in languages]


def held_out_metrics(scorer: Scorer, objective: Objective, items: Sequence[Item], max_tokens: int) -> dict[str, float]:
    """The metrics of a validation, without their ``val/``.

    Args:
        scorer: of the stage.
        objective: what is trained.
        items: held out.
        max_tokens: tokens of a forward pass.
    """
    cells = whole_square(items)
    scores = scorer.scores(items, cells, max_tokens)
    R_BLL = scorer.reference(items, cells, max_tokens) if objective.needs_reference() else None
    terms = objective_terms(objective, scores.S_BLL, R_BLL, scores.count_BLL)
    own = {name: float(total / count) for name, (total, count) in terms.metrics.items()}
    return square_metrics(scores.S_BLL, scores.count_BLL) | own


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
    rounded = rounding(scorer.model, items, whole_square(items))
    check_step_zero(metrics, rounded, items, objective.beta)
    return rounded
