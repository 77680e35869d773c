"""The objective: every method is a weighting of the cross-lingual square. Pure functions, no model in sight.

    L = lam * L_nll + (1 - lam) * L_pref
    L_pref = mean over comparisons of -log sigmoid(beta * [(S_c - S_r) - (R_c - R_r)]), or of another loss

S[b, i, j] is the policy's summed log-prob of response j under prompt i, R the reference's (CLO, Lee et al., ACL 2025,
section 3; the DPO term is Rafailov et al., 2023, equation 7; the others stand in :mod:`clo.square.losses`). The first L
of the K responses are those in the languages of the L prompts, the others are further candidates.
All functions return sums over the cells that are there; the caller divides by the denominators of the whole optimizer
step, which count the same cells, so no split into micro-batches or ranks changes the loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from clo.config.choices import Cells, Loss, NllReduction, PairReduction, Prompts
from clo.config.losses import FACTS
from clo.data.batch import on_device, response_tokens
from clo.square.comparisons import Comparison, Present
from clo.square.losses import LOSSES, Compared, Pairs, Settings
from clo.square.ranking import exchange_costs, ranked

if TYPE_CHECKING:
    from clo.data.batch import Cell
    from clo.data.items import Item

SATURATED = 0.01
"""A comparison is saturated when it pulls less than this share of its hardest; DPO's pull is sigmoid(-margin)."""


@dataclass(frozen=True)
class Objective:
    """A method over L languages, language 0 being the source.

    ``preference`` compares, for every prompt i it names, the response in language i with the responses in the other
    languages that ``against`` names; where it names none but i itself, with those in all others.
    """

    languages: int
    nll: Cells
    preference: Prompts
    lam: float
    beta: float
    nll_reduction: NllReduction = NllReduction.token_mean
    pair_reduction: PairReduction = PairReduction.mean
    loss_name: Loss = Loss.sigmoid
    margin: float = 0.0
    penalty: float = 0.0
    label_smoothing: float = 0.0
    anchor: float = 0.0
    """Weight of the divergence from the start on the source's answers, nats per token; 0 is none."""
    replay: float = 0.0
    """Weight of the NLL of replayed rows, nats per token; 0 is none, and not both are above it."""
    against: tuple[int, ...] | None = None
    """Languages whose responses are rejected; none is all of them."""
    lone: bool = False
    """Whether a row of a mixture that is in the source language alone counts by its NLL, where others' does not."""
    further: tuple[Comparison, ...] = ()
    """Comparisons with other candidates, beside those between languages."""
    codes: tuple[str, ...] = ()
    """Of the L languages, where the log shows every target by itself too; none of a target is ``en`` or ``target``."""

    def nll_cells(self) -> list[Cell]:
        """Cells (i, i) with an NLL term."""
        chosen = {
            Cells.none: range(0),
            Cells.source: range(1),
            Cells.target: range(1, self.languages),
            Cells.diagonal: range(self.languages),
        }
        return [(i, i) for i in chosen[self.nll]]

    def comparisons(self) -> list[Comparison]:
        """All of them, those between languages first."""
        prompts = {
            Prompts.none: range(0),
            Prompts.source: range(1),
            Prompts.target: range(1, self.languages),
            Prompts.both: range(self.languages),
        }
        return [*(Comparison(i, i, j) for i in prompts[self.preference] for j in self._rejected(i)), *self.further]

    def _rejected(self, i: int) -> list[int]:
        others = [j for j in range(self.languages) if j != i]
        named = others if self.against is None else [j for j in others if j in self.against]
        return named or others

    def ranks(self) -> bool:
        """Whether each prompt's comparisons are one ranking, and count as one."""
        return any(one.gap for one in self.further)

    def needs_reference(self) -> bool:
        """Whether its comparisons refer to the start model."""
        return bool(self.comparisons()) and (self.ranks() or FACTS[self.loss_name].reference)

    def settings(self) -> Settings:
        """The numbers of its loss."""
        return Settings(self.beta, self.margin, self.penalty, self.label_smoothing)

    def cells(self) -> list[Cell]:
        """All cells that must be scored, in row order."""
        compared = {cell for comparison in self.comparisons() for cell in comparison.cells()}
        more = {(0, 0)} if self.anchor or self.replay or self.lone else set()
        return sorted(compared | set(self.nll_cells()) | more)

    def parts(self) -> dict[str, Objective]:
        """The NLL term and the comparisons as objectives of their own, weighted as here, where there are both."""
        if not (self.nll_cells() and self.comparisons()):
            return {}
        free = replace(self, anchor=0.0, replay=0.0)
        compared = replace(free, nll=Cells.none, lone=False)
        return {"nll": replace(free, preference=Prompts.none, further=()), "pref": compared}

    def denominators(self, items: Sequence[Item]) -> Tensor:
        """What the sums of a whole step are divided by: float64 [2], (NLL, preference), and with an anchor [3].

        Replayed rows count for the anchor alone.
        """
        cells, comparisons = self.nll_cells(), self.comparisons()
        replayed = [item for item in items if item.replayed]
        items = [item for item in items if not item.replayed] if replayed else items
        alone = [item for item in items if is_lone(item)] if self.lone else []
        if self.nll_reduction is NllReduction.token_mean:
            nll = response_tokens(items, cells) + response_tokens(alone, [(0, 0)])
        else:
            nll = sum(len(item.present(cells)) for item in items) + len(alone)
        units = [[one.prompt for one in comparisons if one.is_in(item)] for item in items]
        there = [len({*found} if self.ranks() else found) for found in units]
        pairs = sum(there) if self.pair_reduction is PairReduction.mean else sum(map(bool, there))
        held = replayed if self.replay else items
        anchored = [response_tokens(held, [(0, 0)])] if self.anchor or self.replay else []
        return torch.tensor([nll, pairs, *anchored], dtype=torch.float64)

    def loss(self, terms: Terms, denominators: Tensor) -> Tensor:
        """The weighted loss of (part of) a step; parts add up to the step's loss."""
        both = self.weighted_nll(terms, denominators) + self.weighted_preference(terms, denominators)
        return both + self.weighted_anchor(terms, denominators) if self.anchor or self.replay else both

    def weighted(self, terms: Terms, denominators: Tensor) -> dict[str, Tensor]:
        """Each term that the objective has, by its name in the log."""
        found = {"nll": self.weighted_nll(terms, denominators)} if self.nll_cells() else {}
        if self.comparisons():
            found["pref"] = self.weighted_preference(terms, denominators)
        anchored = self.anchor or self.replay
        return found | ({"anchor": self.weighted_anchor(terms, denominators)} if anchored else {})

    def weighted_nll(self, terms: Terms, denominators: Tensor) -> Tensor:
        """Lam * L_nll; exactly 0 without an NLL term."""
        return terms.nll_sum * (self.lam / max(float(denominators[0]), 1.0))

    def weighted_preference(self, terms: Terms, denominators: Tensor) -> Tensor:
        """(1 - lam) * L_pref; exactly 0 without comparisons."""
        return terms.preference_sum * ((1 - self.lam) / max(float(denominators[1]), 1.0))

    def weighted_anchor(self, terms: Terms, denominators: Tensor) -> Tensor:
        """The divergence, or the NLL of replayed rows, per token of the step, times its weight."""
        return terms.anchor_sum * ((self.anchor or self.replay) / max(float(denominators[2]), 1.0))


def is_lone(item: Item) -> bool:
    """Whether an item is in the source language alone."""
    return item.languages() == [0]


@dataclass(frozen=True)
class Terms:
    """Sums over a micro-batch, and detached sums for the log."""

    nll_sum: Tensor
    """Scalar: minus the log-probs of all NLL cells, nats."""
    preference_sum: Tensor
    """Scalar: the loss of all comparisons."""
    metrics: dict[str, Tensor]
    """name -> detached float64 [2], (sum, count); ``_en`` is prompts in language 0, ``_target`` in the others.

    The names do not depend on the batch: what it lacks has count 0.
    """
    anchor_sum: Tensor
    """Scalar: the divergence from the start at all source tokens, or minus the log-probs of replayed rows, nats; 0
    without an anchor."""


def objective_terms(
    objective: Objective,
    S_BLK: Tensor,
    R_BLK: Tensor | None = None,
    count_BLK: Tensor | None = None,
    kl_T: Tensor | None = None,
    items: Sequence[Item] | None = None,
) -> Terms:
    """Compute the sums of the objective.

    Args:
        objective: the method.
        S_BLK: policy scores, float32 or float64 [B, L, K], 0 in cells that are absent.
        R_BLK: reference scores of the same shape; needed if the method compares by a loss with a reference.
        count_BLK: tokens of the responses, of the same shape; needed if its loss is per token.
        kl_T: divergence from the start at every source token, where there is an anchor.
        items: those of the scores, which say what is absent; may be left out where nothing is.

    Raises:
        ValueError: the loss needs a reference or token counts, and there are none.
    """
    zero = S_BLK.new_zeros(())
    own_B, replayed_B = _masks(items, S_BLK)
    in_source = S_BLK[:, 0, 0] if own_B is None else S_BLK[:, 0, 0] * own_B
    nll = -sum(((S_BLK[:, i, j] if i + j else in_source).sum() for i, j in objective.nll_cells()), zero)
    if objective.lone:
        assert items is not None
        nll = nll - (S_BLK[:, 0, 0] * _mask(map(is_lone, items), S_BLK)).sum()
    kept = {} if kl_T is None else {"kl_en": _sum_and_count([kl_T])}
    anchor = zero if kl_T is None else kl_T.sum()
    if objective.replay:
        assert items is not None
        anchor = zero if replayed_B is None else -(S_BLK[:, 0, 0] * replayed_B).sum()
        tokens = response_tokens([item for item in items if item.replayed], [(0, 0)])
        kept["nll_replay"] = torch.stack([anchor.detach().double(), torch.full_like(anchor.detach().double(), tokens)])
    comparisons = objective.comparisons()
    if not comparisons:
        return Terms(nll, zero, kept, anchor)
    present = Present(comparisons, items, objective.codes, S_BLK.device)
    pairs = present.pairs(S_BLK, R_BLK if objective.needs_reference() else None, count_BLK)
    if objective.ranks():
        loss, margin, pull = _ranked(objective, present, pairs, S_BLK, R_BLK, count_BLK)
    else:
        loss, margin, pull = LOSSES[objective.loss_name](pairs, objective.settings())
    logged = {"margin": margin, "accuracy": (margin > 0).float()}
    if objective.needs_reference():
        logged["chosen_change"], logged["rejected_change"] = pairs.changes()
    metrics = {"saturated": _sum_and_count([pull < SATURATED]), **kept}
    for direction in present.names:
        metrics |= {f"{name}_{direction}": _sum_and_count(present.of(direction, v)) for name, v in logged.items()}
    return Terms(nll, loss.sum(), metrics, anchor)


def _ranked(objective: Objective, present: Present, pairs: Pairs, *scores: Tensor | None) -> Compared:
    S_BLK, R_BLK, count_BLK = scores
    if S_BLK is None or R_BLK is None:
        raise ValueError("a ranking needs reference scores")
    there_BLK = None if count_BLK is None else count_BLK > 0
    costs_BC = exchange_costs(present.comparisons, S_BLK - R_BLK, there_BLK)
    return ranked(pairs, present.kept(costs_BC), objective.beta)


def _masks(items: Sequence[Item] | None, S_BLK: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """1 for the method's own items and for replayed ones, [B] each; none where no item is replayed."""
    if items is None or not any(item.replayed for item in items):
        return None, None
    replayed_B = _mask((item.replayed for item in items), S_BLK)
    return 1 - replayed_B, replayed_B


def _mask(values: Iterable[bool], like: Tensor) -> Tensor:
    return on_device(torch.tensor(list(values), dtype=like.dtype), like.device)


def square_metrics(S_BLK: Tensor, count_BLK: Tensor, codes: Sequence[str] = ()) -> dict[str, float]:
    """Per-token log-prob of the languages' cells and NLL of the diagonal, pooled over items.

    Later languages are "target" together; by ``codes`` of the L languages each has values of its own too. A cell that
    no item has has none.
    """
    sums, counts = S_BLK.double().sum(0).tolist(), count_BLK.double().sum(0).tolist()
    groups = {"target": range(1, S_BLK.shape[1])} | {code: range(i, i + 1) for i, code in enumerate(codes) if i}
    cells = {"en_en": [(0, 0)]}
    for name, group in groups.items():
        cells |= {f"en_{name}": [(0, i) for i in group], f"{name}_en": [(i, 0) for i in group]}
        cells[f"{name}_{name}"] = [(i, i) for i in group]
    metrics = {}
    for name, places in cells.items():
        if count := sum(counts[i][j] for i, j in places):
            metrics[f"logp_{name}"] = sum(sums[i][j] for i, j in places) / count
    own = {f"nll_{name}": f"logp_{name}_{name}" for name in ("en", *groups)}
    return metrics | {name: -metrics[cell] for name, cell in own.items() if cell in metrics}


def _sum_and_count(values: Sequence[Tensor]) -> Tensor:
    total = torch.stack([value.detach().double().sum() for value in values]).sum()
    return torch.stack([total, torch.full_like(total, sum(value.numel() for value in values))])
