"""The oracle: CLO in float64, one cell at a time, all logits, written from the formula alone.

The loss is a function of the few sums S of log-probs, so its derivative by each S is taken on those numbers first, and
then every cell is run backward by itself with its factor: one graph in memory at a time, and still the exact gradient.
RMSNorm and the rotary tables of transformers compute in float32 whatever the weights are; that is part of the model.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from clo.data.items import Item
from speed.shapes import trained

CELLS = ((0, 0), (0, 1), (1, 0), (1, 1))
"""(prompt, response), 0 English, 1 target."""


class Oracle:
    """Loss and gradients in float64.

    Args:
        model: the start weights, which are also the reference; neither changed nor patched.
        beta: DPO's beta.
        lam: weight of the NLL term.
    """

    def __init__(self, model: Any, beta: float, lam: float) -> None:
        self.model = copy.deepcopy(model).double().eval()
        self.start = {name: p.detach().clone() for name, p in trained(self.model).items()}
        self.beta, self.lam = beta, lam
        self._references: dict[str, Tensor] = {}

    def loss_at_start(self, items: Sequence[Item]) -> float:
        """Loss of one batch with the start weights, where every margin is 0."""
        R_B4 = self._references_of(items)
        return float(self._loss(R_B4, R_B4, items))

    def loss_and_grads(self, items: Sequence[Item], policy: Mapping[str, Tensor]) -> tuple[float, dict[str, Tensor]]:
        """Loss and gradient by parameter name of one batch, for a policy given by its trained weights."""
        R_B4 = self._references_of(items)
        self._load(policy)
        with torch.no_grad():
            S_B4 = torch.stack([self._sums(item) for item in items])
        S_B4.requires_grad_(True)
        loss = self._loss(S_B4, R_B4, items)
        (factor_B4,) = torch.autograd.grad(loss, S_B4)
        self.model.zero_grad(set_to_none=True)
        for item, factor_4 in zip(items, factor_B4, strict=True):
            for (i, j), factor in zip(CELLS, factor_4, strict=True):
                (factor * self._log_prob(item.prompts[i], item.responses[j])).backward()
        gradients = {name: p.grad.detach().clone() for name, p in trained(self.model).items() if p.grad is not None}
        return float(loss.detach()), gradients

    def _loss(self, S_B4: Tensor, R_B4: Tensor, items: Sequence[Item]) -> Tensor:
        """The formula of the paper: NLL per target token of the step, mean over two comparisons per item."""
        change = S_B4 - R_B4
        english, target = change[:, 0] - change[:, 1], change[:, 3] - change[:, 2]
        pairs = torch.cat([english, target])
        preference = -torch.log(torch.sigmoid(self.beta * pairs)).mean()
        nll = -S_B4[:, 3].sum() / sum(len(item.responses[1]) for item in items)
        return self.lam * nll + (1 - self.lam) * preference

    def _references_of(self, items: Sequence[Item]) -> Tensor:
        """Sums under the start weights, [B, 4]."""
        missing = [item for item in items if item.key() not in self._references]
        if missing:
            self._load(self.start)
        with torch.no_grad():
            self._references |= {item.key(): self._sums(item) for item in missing}
        return torch.stack([self._references[item.key()] for item in items])

    def _sums(self, item: Item) -> Tensor:
        return torch.stack([self._log_prob(item.prompts[i], item.responses[j]) for i, j in CELLS])

    def _log_prob(self, prompt: Sequence[int], response: Sequence[int]) -> Tensor:
        """Summed log-prob of a response: full logits of one unpadded sequence."""
        ids = torch.tensor([[*prompt, *response]], device=self.model.device)
        table = torch.log_softmax(self.model(input_ids=ids, use_cache=False).logits[0].double(), -1)
        places = torch.arange(len(prompt) - 1, len(prompt) + len(response) - 1, device=ids.device)
        return table[places, ids[0, len(prompt) :]].sum()

    @torch.no_grad()
    def _load(self, policy: Mapping[str, Tensor]) -> None:
        for name, parameter in trained(self.model).items():
            parameter.copy_(policy[name])
