"""CLO on TRL's DPOTrainer, exactly: as it comes (stock), and with all it can be given by hand (strongest).

TRL has no such loss. Two preference rows per item, both in one batch, give the preference term; the NLL of the target
rows is taken from the log-probs of the same forward pass. Steps go through the trainer's own ``compute_loss`` on inputs
of its own collator, without the loop of ``Trainer.train``: everything outside the step is left out, in TRL's favour.
"""

from __future__ import annotations

import contextlib
import copy
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import datasets
import torch
import trl.trainer.utils
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor
from transformers import PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer

from clo.data.items import Item
from speed.shapes import length_sorted, trained
from speed.sides import Setup, adamw


class CLOTrainer(DPOTrainer):
    """TRL's DPO plus NLL on target rows; rows come as ids, English pair and target pair of an item in turn."""

    lam: float

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        """Rows hold token ids already."""
        return dataset

    def _precompute_ref_logps(self, dataset: Any, *_: Any) -> Any:
        """Done later, batch by batch as they train: the reference then sees the same padding as the policy."""
        return dataset

    def _compute_loss(self, model: Any, inputs: Any, return_outputs: bool) -> Tensor:
        """(1 - lam) * the loss of TRL + lam * token-mean NLL of the target responses."""
        outputs: list[Any] = []

        def tapped(**arguments: Any) -> Any:
            outputs.append(model(**arguments))
            return outputs[-1]

        preference = super()._compute_loss(tapped, inputs, return_outputs)
        chosen = slice(1, len(inputs["input_ids"]) // 2, 2)  # chosen rows are the first half, every second is target
        tokens = inputs["completion_mask"][chosen].sum()
        nll = -outputs[0].log_probs[chosen].sum() / tokens
        return (1 - self.lam) * preference + self.lam * nll


@contextlib.contextmanager
def compaction_forced() -> Iterator[None]:
    """PATCH of a private name of TRL 1.16, in TRL's favour: its head projects response positions only.

    TRL does so where Triton runs, that is on a GPU; elsewhere it also projects prompts and padding. Off a GPU a fair
    rival needs the patch. Only the head's choice of rows asks this name; the kernels have their own.
    """
    original = trl.trainer.utils._use_triton
    trl.trainer.utils._use_triton = lambda device: True
    try:
        yield
    finally:
        trl.trainer.utils._use_triton = original


def rows(items: Sequence[Item]) -> list[dict[str, list[int]]]:
    """Two preference rows per item: own language over the other, under each prompt."""
    return [
        {
            "prompt_ids": list(item.prompts[own]),
            "chosen_ids": list(item.responses[own]),
            "rejected_ids": list(item.responses[1 - own]),
        }
        for item in items
        for own in (0, 1)
    ]


class TrlSide:
    """One way to train CLO with TRL.

    Args:
        model: start weights, and from then on the policy; TRL patches it, so it is this side's own.
        items: what the trainer is told its data are.
        beta: DPO's beta.
        lam: weight of the NLL term.
        lr: AdamW's learning rate.
        strongest: reference log-probs ahead of time and the head on response positions only; else the reference model
            runs in every step and the head is what TRL chooses on this device.
        sort: cut the batches anew, sorted by length.
        precision: ``fp32`` or ``bf16`` (autocast over float32 weights, as TRL does it).
        checkpointing: make activations again in the backward pass, as TRL does by default.
        compiled: compile the decoder layers, for any length.
        unmasked: leave the attention mask out, in TRL's favour. Its rows are padded on the right, so under causal
            attention no token that counts sees padding, and without a mask PyTorch takes its flash attention.
    """

    def __init__(
        self,
        model: Any,
        items: Sequence[Item],
        beta: float,
        lam: float,
        lr: float,
        strongest: bool = False,
        sort: bool = False,
        precision: str = "fp32",
        checkpointing: bool = False,
        compiled: bool = False,
        unmasked: bool = False,
    ) -> None:
        self.name = f"TRL {'strongest' if strongest else 'stock'}{', sorted' if sort else ''}"
        self.strongest, self.sort, self.lr = strongest, sort, lr
        self.device = model.device
        self.batches: list[list[Item]] = []
        self._inputs: list[dict[str, Tensor]] = []
        self.trainer = self._make_trainer(model, items, beta, lam, precision, checkpointing)
        # What Trainer.train does to a model: autocast around its forward when training in bf16.
        self.model = self.trainer.accelerator.prepare_model(self.trainer.model).train()
        if unmasked:
            self.model.register_forward_pre_hook(_without_mask, with_kwargs=True)
        for layer in self.model.model.layers if compiled else ():
            layer.compile(dynamic=True)
        self._parameters = trained(self.model)
        self._start = {name: p.detach().clone() for name, p in self._parameters.items()}
        self._optimizer = adamw(self._parameters.values(), lr)

    def _make_trainer(
        self, model: Any, items: Sequence[Item], beta: float, lam: float, precision: str, checkpointing: bool
    ) -> CLOTrainer:
        vocabulary = {"<pad>": 0, "<end>": 1}  # ids come ready; the trainer only wants to know how to pad
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer(WordLevel(vocabulary, unk_token="<end>")), pad_token="<pad>", eos_token="<end>"
        )
        options = DPOConfig(
            output_dir=tempfile.gettempdir(),
            beta=beta,
            loss_type=["sigmoid"],
            max_length=None,
            bf16=precision == "bf16",
            use_cpu=self.device.type == "cpu",
            gradient_checkpointing=checkpointing,
            precompute_ref_log_probs=self.strongest,
            report_to="none",
            disable_tqdm=True,
        )
        reference = None
        if not self.strongest:
            reference = copy.deepcopy(model).requires_grad_(False)
        trainer = CLOTrainer(
            model=model,
            ref_model=reference,
            args=options,
            train_dataset=datasets.Dataset.from_list(rows(items)),
            processing_class=tokenizer,
        )
        trainer.lam = lam
        return trainer

    def prepare(self, batches: Sequence[Sequence[Item]]) -> None:
        """Collate all batches and, for the strongest, compute their reference log-probs with the start weights."""
        self.reset()
        self.batches = length_sorted(batches) if self.sort else [list(batch) for batch in batches]
        self._inputs = []
        for batch in self.batches:
            inputs = {k: v.to(self.device) for k, v in self.trainer.data_collator(rows(batch)).items()}
            if self.strongest:
                with compaction_forced():
                    chosen, rejected = self.trainer.compute_ref_log_probs(self.model, inputs)
                inputs |= {"ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
            self._inputs.append(inputs)

    def loss_and_grads(self, k: int) -> tuple[float, dict[str, Tensor]]:
        """Loss of batch k and its gradient by parameter name; weights stay."""
        loss = self._backward(k)
        return float(loss), {
            name: p.grad.detach().clone() for name, p in self._parameters.items() if p.grad is not None
        }

    def step(self, k: int) -> float:
        """One optimizer step on batch k; returns the loss before it."""
        loss = self._backward(k)
        self._optimizer.step()
        return float(loss)

    def accumulated_step(self, parts: Sequence[int]) -> float:
        """One optimizer step on several batches; returns their mean loss before it."""
        self._optimizer.zero_grad(set_to_none=True)
        loss = sum(float(self._add_gradients(k, 1 / len(parts))) for k in parts)
        self._optimizer.step()
        return loss

    def _backward(self, k: int) -> Tensor:
        self._optimizer.zero_grad(set_to_none=True)
        return self._add_gradients(k, 1.0)

    def _add_gradients(self, k: int, weight: float) -> Tensor:
        with compaction_forced() if self.strongest else contextlib.nullcontext():
            loss = self.trainer.compute_loss(self.model, self._inputs[k])
        loss = weight * loss
        loss.backward()
        self.trainer._metrics["train"].clear()  # what Trainer does when it logs
        return loss.detach()

    def load(self, policy: Mapping[str, Tensor]) -> None:
        """Put other trained weights in place; the reference stays."""
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(policy[name])

    def reset(self) -> None:
        """Start weights and a fresh optimizer."""
        self.load(self._start)
        self._optimizer = adamw(self._parameters.values(), self.lr)

    def start(self) -> dict[str, Tensor]:
        """Copies of the start weights that train."""
        return {name: tensor.clone() for name, tensor in self._start.items()}


def _without_mask(_: Any, positional: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    return positional, {**named, "attention_mask": None}


def stock(setup: Setup) -> TrlSide:
    """A: TRL as it comes, except that only attention trains and nothing is checkpointed."""
    return _side(setup, strongest=False)


def strongest(setup: Setup) -> TrlSide:
    """A+: reference ahead of time, head on response positions only."""
    return _side(setup, strongest=True)


def strongest_sorted(setup: Setup) -> TrlSide:
    """A++: A+ on length-sorted batches."""
    return _side(setup, strongest=True, sort=True)


def _side(setup: Setup, **options: bool) -> TrlSide:
    options["unmasked"] = options["strongest"] and setup.device != "cpu"
    return TrlSide(setup.model(), setup.items(), setup.beta, setup.lam, setup.lr, precision=setup.precision, **options)
