"""How a stage runs on several devices: whole weights on each, or weights split over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytorch_lightning.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch import Tensor
from torch.optim import Optimizer

from clo.training.sharding import gathered, split_like


def strategy_of(name: str, processes: int) -> str | Strategy:
    """What Lightning's trainer takes for ``trainer.strategy``."""
    if name == "ddp":
        return WholeStrategy()
    return ShardedStrategy(processes) if name == "fsdp2" else name


class WholeStrategy(DDPStrategy):
    """Lightning's processes without torch's DDP: the module adds the gradients up itself, once per step.

    DDP's buckets would hold the gradients a second time.
    """

    def configure_ddp(self) -> None:
        """Leave the model as it is."""


class ShardedStrategy(ModelParallelStrategy):
    """FSDP2 whose checkpoints are those of one process: what trains, whole; any number of devices goes on from them."""

    def __init__(self, processes: int) -> None:
        super().__init__(data_parallel_size=processes, tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_distributed(self) -> None:
        """Meet the other processes, as strategies of whole weights do."""
        self._setup_distributed()

    def mesh(self) -> Any:
        """What weights are split over: all processes of a node; further nodes hold them again."""
        from torch.distributed.device_mesh import init_device_mesh

        assert self.device_mesh is not None
        if self.num_nodes == 1:
            return self.device_mesh["data_parallel"]
        sizes = self.num_nodes, self.world_size // self.num_nodes
        return init_device_mesh(self.root_device.type, sizes, mesh_dim_names=("replicate", "shard"))

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Checkpoints are loaded as in one process."""
        return True

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """What trains, gathered on the CPU of the first rank, which writes it."""
        assert self.lightning_module is not None
        trained = {name: p.detach() for name, p in self.lightning_module.named_parameters() if p.requires_grad}
        return self._at_first(trained)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The optimizer's state, gathered on the CPU of the first rank, which writes it."""
        held = getattr(optimizer, "_optimizer", optimizer).state_dict()
        return {**held, "state": {k: self._at_first(state) for k, state in held["state"].items()}}

    def _at_first(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole tensors on the first rank; on the others, which help with each, none: a node would hold many copies."""
        found = {}
        for name, tensor in tensors.items():
            whole = gathered(tensor)
            if self.is_global_zero:
                found[name] = whole.cpu()
        return found

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """The checkpoint as it is on disk."""
        return self.checkpoint_io.load_checkpoint(checkpoint_path)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Give every rank its part."""
        assert self.lightning_module is not None
        parameters = dict(self.lightning_module.named_parameters())
        for name, whole in checkpoint["state_dict"].items():
            parameters[name].data.copy_(split_like(whole, parameters[name]))

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Give every rank its part."""
        for optimizer, held in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            states = {
                k: {name: split_like(v, parameters[k]) if v.dim() else v for name, v in state.items()}
                for k, state in held["state"].items()
            }
            optimizer.load_state_dict({**held, "state": states})
