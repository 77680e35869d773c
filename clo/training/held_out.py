"""The held-out square: NLL and log-probs of every cell, margins of every direction."""

from __future__ import annotations

from collections.abc import Sequence, Set

from clo.data.batch import every_cell
from clo.data.items import Item
from clo.square.objective import Objective, objective_terms, square_metrics
from clo.square.scores import Scores
from clo.training.step_zero import check_step_zero, rounding
from clo.training.terms import Scorer

Column = tuple[str, int]
"""Task, and place of a language."""


def held_out_metrics(
    scorer: Scorer, objective: Objective, items: Sequence[Item], max_tokens: int, trained: Set[Column] = frozenset()
) -> dict[str, float]:
    """The metrics of a validation, without their ``val/``.

    Of a mixture also ``nll_maths_ko`` and so on, and ``nll_mixture``, that of all tasks and languages that are trained.

    Args:
        scorer: of the stage.
        objective: what is trained.
        items: held out.
        max_tokens: tokens of a forward pass.
        trained: tasks and places of languages that a mixture has rows of.
    """
    cells = every_cell(items)
    scores = scorer.scores(items, cells, max_tokens)
    R_BLK = scorer.reference(items, cells, max_tokens) if objective.needs_reference() else None
    terms = objective_terms(objective, scores.S_BLK, R_BLK, scores.count_BLK, None, items)
    own = {name: float(total / count) for name, (total, count) in terms.metrics.items() if count}
    return (
        square_metrics(scores.S_BLK, scores.count_BLK, objective.codes)
        | _by_task(scores, objective, items, trained)
        | own
    )


def _by_task(scores: Scores, objective: Objective, items: Sequence[Item], trained: Set[Column]) -> dict[str, float]:
    """NLL per token of each task in each language, and of all that is trained."""
    found, logp, tokens = dict[str, float](), 0.0, 0.0
    for task in sorted({item.task for item in items} - {""}):
        own = [b for b, item in enumerate(items) if item.task == task]
        S_LK, count_LK = scores.S_BLK[own].double().sum(0), scores.count_BLK[own].double().sum(0)
        for place, code in enumerate(objective.codes):
            total, count = float(S_LK[place, place]), float(count_LK[place, place])
            if count:
                found[f"nll_{task}_{code}"] = -total / count
            if (task, place) in trained:
                logp, tokens = logp + total, tokens + count
    return found | ({"nll_mixture": -logp / tokens} if tokens else {})


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
