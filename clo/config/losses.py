"""What each loss of the comparisons reads: a reference or none, and its parameters with the values of its paper."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from omegaconf import OmegaConf

from clo.config.choices import Loss, Prompts
from clo.errors import UserError, check, positive

if TYPE_CHECKING:
    from clo.config.method import MethodConfig


@dataclass(frozen=True)
class LossFacts:
    """What a loss needs beside the policy's scores."""

    beta: float | None = None
    """Its own default of ``method.beta``; none where it is on DPO's scale, and the model's recipe gives it."""
    reference: bool = True
    """Whether it compares with the start model."""
    own: Mapping[str, float | None] = field(default_factory=dict)
    """Parameter that it reads beside beta -> default."""


FACTS: dict[Loss, LossFacts] = {
    Loss.sigmoid: LossFacts(own={"label_smoothing": None}),
    Loss.sigmoid_norm: LossFacts(beta=5.0),
    Loss.ipo: LossFacts(beta=0.1),
    Loss.hinge: LossFacts(),
    Loss.robust: LossFacts(own={"label_smoothing": 0.1}),
    Loss.dpop: LossFacts(beta=0.3, own={"penalty": 50.0}),
    Loss.apo_zero: LossFacts(),
    Loss.apo_down: LossFacts(),
    Loss.kto_pair: LossFacts(),
    Loss.simpo: LossFacts(beta=2.0, reference=False, own={"margin": 1.0}),
    Loss.orpo: LossFacts(beta=0.1, reference=False),
    Loss.cpo: LossFacts(beta=0.1, reference=False),
}
"""Defaults: sigmoid_norm Tulu 3; ipo, cpo and orpo the least of their papers' tries; robust, dpop and simpo their
papers' main experiments (SimPO's for Llama-3-8B)."""


def needs_reference(method: MethodConfig) -> bool:
    """Whether a method's comparisons refer to the start model."""
    ranks = method.ranking is not None
    return method.preference is not Prompts.none and (ranks or FACTS[method.loss].reference)


def settle_loss(method: MethodConfig) -> None:
    """Give a method's loss the parameters that were left to it, and check them.

    Raises:
        UserError: a value out of bounds, or a loss that is another one at it.
    """
    for name, value in FACTS[method.loss].own.items():
        if getattr(method, name) is None:
            setattr(method, name, value)
    margin, smoothing = method.margin, method.label_smoothing
    ok = margin is None or (math.isfinite(margin) and margin >= 0)
    check(ok, "method.margin", "SimPO's target margin and must be at least 0, or null", margin)
    if method.penalty is not None:
        positive("method.penalty", "DPOP's weight of a chosen answer's lost probability", method.penalty)
    ok = smoothing is None or 0 <= smoothing < 0.5
    check(ok, "method.label_smoothing", "the share of flipped comparisons and must be in [0, 0.5)", smoothing)
    if method.loss is Loss.robust and not smoothing:
        raise UserError("method.loss=robust with method.label_smoothing=0 is method.loss=sigmoid; set that")


def loss_beta(loss: Loss | str, recipe: float) -> float:
    """Default of ``method.beta``: the loss's own, else the recipe's."""
    own = FACTS[loss if isinstance(loss, Loss) else Loss[loss]].beta
    return recipe if own is None else own


def register_losses() -> None:
    """Make the defaults known to the files of ``conf/method``."""
    OmegaConf.register_new_resolver("loss_beta", loss_beta, replace=True)
