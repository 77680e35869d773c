"""DeepSpeed's ZeRO stage 2: gradients and optimizer states split over devices, weights whole on each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor
from torch.optim import Optimizer

from clo.errors import UserError

STATES = ("exp_avg", "exp_avg_sq")
"""AdamW's moments."""


class ZeroStrategy(DDPStrategy):
    """Lightning's processes with DeepSpeed's optimizer; the model is not wrapped, only what trains is handed over.

    Checkpoints are those of one process: any number of devices, with or without DeepSpeed, goes on from them.

    Raises:
        UserError: DeepSpeed is not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.engine: Any = None
        try:
            import deepspeed  # noqa: F401
        except ImportError as error:
            raise UserError("trainer.strategy=deepspeed needs `pip install deepspeed`; fsdp2 needs nothing") from error

    def configure_ddp(self) -> None:
        """No wrapper: gradients are summed by DeepSpeed."""

    def split(self, optimizer: Optimizer, clip: float) -> None:
        """Hand the optimizer's parameters to DeepSpeed; from here on it holds this rank's part of the states."""
        import deepspeed

        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._parameters, self._sizes = parameters, [len(group["params"]) for group in optimizer.param_groups]
        # Only a list of parameters: DeepSpeed would cast a whole model to one dtype, frozen weights too.
        self.engine, *_ = deepspeed.initialize(
            model=torch.nn.ParameterList(parameters),
            optimizer=optimizer,
            model_parameters=parameters,
            dist_init_required=False,
            config={
                "train_micro_batch_size_per_gpu": 1,
                "gradient_accumulation_steps": 1,
                "zero_optimization": {"stage": 2},
                "zero_allow_untested_optimizer": True,
                "gradient_clipping": clip,
            },
        )

    def backward_sum(self, loss: Tensor, last: bool) -> None:
        """Backward of this rank's part of the loss; DeepSpeed takes means over ranks, the loss wants their sum."""
        self.engine.set_gradient_accumulation_boundary(last)
        self.engine.backward(loss * self.world_size)

    def norm(self) -> float:
        """Norm of the whole gradient of the last step."""
        return float(self.engine.get_global_grad_norm())

    def optimizer_step(self, optimizer: Optimizer, closure: Any, model: Any = None, **kwargs: Any) -> Any:
        """Clip, step, and gather the weights."""
        found = closure()
        self.engine.step()
        return found

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The optimizer's state as one process would have it, on the CPU."""
        from deepspeed.utils import safe_get_full_optimizer_state

        plain = getattr(optimizer, "_optimizer", optimizer)
        (step,) = {float(state["step"]) for state in plain.state.values()}
        state, groups, first = {}, [], 0
        for k, parameter in enumerate(self._parameters):
            moments = {name: safe_get_full_optimizer_state(parameter, name).cpu() for name in STATES}
            state[k] = {"step": torch.tensor(step), **moments}
        for group, size in zip(plain.param_groups, self._sizes, strict=True):
            groups.append(
                {**{k: v for k, v in group.items() if k != "params"}, "params": [*range(first, first + size)]}
            )
            first += size
        return {"state": state, "param_groups": groups}

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Give every rank its part of the moments."""
        from deepspeed.utils import safe_set_full_optimizer_state

        (held,), zero = checkpoint["optimizer_states"], self.engine.optimizer
        plain = zero.optimizer
        for group, saved in zip(plain.param_groups, held["param_groups"], strict=True):
            group.update({k: v for k, v in saved.items() if k != "params"})
            for flat in group["params"]:
                step = held["state"][saved["params"][0]]["step"].clone()
                plain.state[flat] = {"step": step, **{name: torch.zeros_like(flat) for name in STATES}}
        zero._lazy_init_hp_params_optimizer_state()  # DeepSpeed links the states to parameters after a first step only
        for k, parameter in enumerate(self._parameters):
            for name in STATES:
                safe_set_full_optimizer_state(parameter, held["state"][k][name].to(parameter.device), name)
