"""The method: what is weighed on the square, by which losses, and for how long.

"assumed" marks a value that the CLO paper does not give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from clo.config.choices import Anchor, Cells, Loss, NllReduction, PairReduction, Prompts
from clo.config.losses import settle_loss
from clo.config.rejected import KINDS
from clo.errors import UserError, check, plain_name, positive


@dataclass
class SftStage:
    """A first stage of plain NLL on the diagonal; its end is the reference of the stage after it."""

    lr: float = 1e-3
    """Peak learning rate."""
    epochs: float = 2.0
    """Passes over the training items, where ``method.steps`` is null."""
    share: float = 0.67
    """Share of ``method.steps`` that this stage takes; assumed."""

    def __post_init__(self) -> None:
        check(0 < self.share < 1, "method.sft_first.share", "a share in (0, 1)", self.share)
        positive("method.sft_first.lr", "the learning rate of the first stage", self.lr)
        positive("method.sft_first.epochs", "the length of the first stage", self.epochs)


@dataclass
class MethodConfig:
    """A method is a weighting of the cross-lingual square."""

    name: str = "clo"
    """Name in folders and reports."""
    nll: Cells = Cells.target
    """Cells with an NLL term."""
    preference: Prompts = Prompts.both
    """Prompts with a comparison: the response in the prompt's language over the response in another."""
    against: Any = "all"
    """Responses that comparisons reject: those in ``all`` other languages, in the ``source``, or in a list of codes; a
    prompt in the only one of these is compared with all others. Between two languages they are the same."""
    rejected: Any = field(default="translation", metadata={"values": KINDS})
    """What comparisons reject (docs/pairs.md): ``translation``, the response in another language; ``own``, what the
    start model answers; ``quality``, the worse response of a quality pair; or a list of these."""
    own_prompts: Prompts = Prompts.target
    """own: ``target``, its prompts alone, while the source's go on rejecting the translation, or ``both``."""
    own_in_language: str = field(default="leave_out", metadata={"values": ("leave_out", "use")})
    """own: what becomes of an answer that is in its prompt's language already."""
    own_temperature: float = 0.0
    """own: of sampling; 0 takes the likeliest token."""
    own_seed: int = 0
    """own: what a temperature above 0 draws by."""
    own_tokens: int | None = None
    """own: longest answer, tokens; null is ``evaluation.max_new_tokens``."""
    ranking: list[float] | None = None
    """Gains of four responses to each prompt, which are ranked (LambdaLoss, docs/pairs.md) in place of comparisons by
    ``loss``: better in the prompt's language, better in the other, worse in the prompt's, worse in the other."""
    lam: float = 0.5
    """Weight of the NLL term, 0 to 1; the comparisons weigh 1 - lam."""
    beta: float = 0.1
    """Strength of the comparisons (DPO's beta; in ORPO the loss's weight), above 0; assumed."""
    loss: Loss = Loss.sigmoid
    """What a comparison costs: DPO's sigmoid, or another (docs/losses.md)."""
    margin: float | None = None
    """simpo: target margin (its gamma), at least 0; null is 1.0. Assumed, as the two below."""
    penalty: float | None = None
    """dpop: weight of the probability that a chosen answer lost (its lambda), above 0; null is 50."""
    label_smoothing: float | None = None
    """sigmoid, robust: share of comparisons taken to be flipped, in [0, 0.5); null is 0, for robust 0.1."""
    anchor: Anchor = Anchor.none
    """What holds the source language beside the NLL: ``kl``, the divergence from the stage's start, or ``replay``, the
    NLL of source rows of their own (docs/losses.md)."""
    anchor_weight: float = 1.0
    """kl, replay: its weight beside the whole loss, above 0; assumed."""
    anchor_share: float = 0.25
    """replay: rows that come into every step beside its items, as a share of ``batch_size``; assumed."""
    anchor_top: int = 32
    """kl: the start's most likely tokens that are kept per position, the others counting as one; assumed."""
    nll_reduction: NllReduction = NllReduction.token_mean
    """Unit of the NLL term; assumed."""
    pair_reduction: PairReduction = PairReduction.mean
    """Unit of the preference term; assumed."""
    lr: float = 1e-3
    """Peak learning rate."""
    epochs: float = 2.0
    """Passes over the training items, where ``steps`` is null."""
    steps: int | None = None
    """Optimizer steps of the whole run, both stages together, at any size of the data; null goes by the epochs."""
    own_tuning: str = "attention"
    """The tuning that this method is used with unless told otherwise; a run's name leaves it out."""
    sft_first: SftStage | None = None
    """Plain SFT before this stage, in the same run."""

    def __post_init__(self) -> None:
        plain_name("method.name", self.name)
        check(0 <= self.lam <= 1, "method.lam", "the weight of the NLL term and must be in [0, 1]", self.lam)
        positive("method.beta", "the strength of the comparisons", self.beta)
        settle_loss(self)
        positive("method.anchor_weight", "the weight of what holds the source language", self.anchor_weight)
        positive("method.anchor_share", "replayed rows per item of a step", self.anchor_share)
        check(self.anchor_top >= 1, "method.anchor_top", "a number of tokens, at least 1", self.anchor_top)
        positive("method.lr", "the learning rate", self.lr)
        positive("method.epochs", "the number of passes over the data", self.epochs)
        least = 1 if self.sft_first is None else 2
        asked = f"a count of at least {least}, or null for epochs"
        check(self.steps is None or self.steps >= least, "method.steps", asked, self.steps)
        if self.nll is Cells.none and self.preference is Prompts.none:
            raise UserError("method has neither an NLL term nor a comparison; set method.nll or method.preference")


def places_against(against: Any, codes: Sequence[str]) -> tuple[int, ...] | None:
    """Places of the languages that ``method.against`` names; none where it is all of them.

    Args:
        against: ``all``, ``source`` or a list of codes.
        codes: of the run's languages, source first.

    Raises:
        UserError: it is something else, names a language twice, or one that the run does not have.
    """
    if against in ("all", "source"):
        return None if against == "all" else (0,)
    named = against if isinstance(against, list) else []
    if not named or len({*named}) < len(named) or not {*named} <= {*codes}:
        known = ", ".join(codes)
        raise UserError(
            f"method.against is all, source, or a list of some of the run's languages ({known}), got {against}"
        )
    return tuple(codes.index(code) for code in named)
