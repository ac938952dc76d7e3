"""Weights, gradients and optimizer state divided among the processes of a run (FSDP).

By torch's `fully_shard` (FSDP2), which serves CUDA and CPUs. (Lightning's FSDPStrategy wraps the
older FullyShardedDataParallel, which is CUDA's alone; its ModelParallelStrategy leaves batch norm
unsynchronised, and saves the optimizer's state in an order of its own.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, cast

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.strategies import DDPStrategy, Strategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer


class Sharded(DDPStrategy):
    """Data parallelism in which each process keeps only its part of every tensor.

    All parts are gathered when a forward starts. After the backward each process has its part of
    the gradients' mean, steps with it, and the whole tensors are freed. A forward without backward
    leaves them gathered: after a test one process alone may go on with the network. Scalars (the
    leak of a layer) cannot be divided: each process has them whole.

    Checkpoints are those of one process, and a run goes on from them under any strategy.
    """

    def setup(self, trainer: L.Trainer) -> None:
        """Divide the network before its fit, batch norm synchronised if that is asked for."""
        assert self.model is not None
        if trainer.state.fn == TrainerFn.FITTING and self._layer_sync:
            self.model = self._layer_sync.apply(self.model)
        # past DDPStrategy's, which wraps for a fit, and copies the first process's weights for a
        # test
        Strategy.setup(self, trainer)

    def _setup_model(self, model: nn.Module) -> Any:
        shard(cast(nn.Module, model.model), self.root_device)
        return model

    def setup_optimizers(self, trainer: L.Trainer) -> None:
        """Let optimizers step tensor by tensor: all at once takes no scalars beside parts."""
        super().setup_optimizers(trainer)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                if "foreach" in group:
                    group["foreach"] = False

    def on_validation_start(self) -> None:
        """Give all processes the first one's running statistics, as ddp does."""
        self._share_buffers()

    def on_test_start(self) -> None:
        """Give all processes the first one's running statistics."""
        self._share_buffers()

    def _share_buffers(self) -> None:
        assert self.lightning_module is not None
        _share(cast(nn.Module, self.lightning_module.model).buffers())

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return whole weights; all processes take part."""
        return _whole(super().lightning_module_state_dict())

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Return the whole state; all processes take part."""
        return _whole(super().optimizer_state(optimizer))

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Take this process's part of whole weights."""
        assert self.lightning_module is not None
        load_weights(self.lightning_module, checkpoint["state_dict"])

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Take this process's part of the whole state."""
        super().load_optimizer_state_dict(checkpoint)
        for optimizer in self.optimizers:
            for parameter, state in optimizer.state.items():
                for key, value in state.items():
                    if isinstance(value, Tensor) and value.shape == parameter.shape:
                        state[key] = _part(value, parameter)

    def teardown(self) -> None:
        """Leave the network divided and on its device, for the test that follows."""
        for plugin in (self.cluster_environment, self.precision_plugin, self.accelerator):
            assert plugin is not None
            plugin.teardown()


def shard(model: nn.Module, device: torch.device) -> None:
    """Divide the tensors of `model` among all processes; nothing where that is done.

    All are gathered at once: what is divided is the memory of weights, gradients and optimizer
    between steps. (Activations, the most of a spiking network, are divided with the batch.)
    """
    processes = dist.get_world_size()
    if isinstance(model, FSDPModule) or processes == 1:
        return
    # fully_shard takes no weights with channels last
    model.to(memory_format=torch.contiguous_format)
    _share(chain(model.parameters(), model.buffers()))
    scalars = {p for p in model.parameters() if p.ndim == 0}
    fully_shard(model, mesh=init_device_mesh(device.type, (processes,)), ignored_params=scalars)
    for scalar in scalars:
        if scalar.requires_grad:
            scalar.register_post_accumulate_grad_hook(_average)


def clip(parameters: Iterable[Tensor], limit: float, by_value: bool) -> None:
    """Clip each gradient, or the norm of all; torch's functions take no scalars beside parts."""
    parameters = [p for p in parameters if p.grad is not None]
    grads = [_local(cast(Tensor, p.grad)) for p in parameters]
    if by_value:
        for grad in grads:
            grad.clamp_(-limit, limit)
        return
    squares = [grad.float().square().sum() for grad in grads]
    divided = [isinstance(p, DTensor) for p in parameters]
    zero = torch.zeros((), device=grads[0].device)
    total = sum((s for s, d in zip(squares, divided, strict=True) if d), zero)
    dist.all_reduce(total)
    total = sum((s for s, d in zip(squares, divided, strict=True) if not d), total)
    factor = (limit / (total.sqrt() + 1e-6)).clamp(max=1)
    for grad in grads:
        grad.mul_(factor)


def divided(module: nn.Module) -> bool:
    """Return whether parts of `module` are with other processes."""
    return any(isinstance(m, FSDPModule) for m in module.modules())


def load_weights(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load whole tensors into a module, divided or not."""
    own = module.state_dict()
    module.load_state_dict({k: _part(v, own[k]) if k in own else v for k, v in state.items()})


def _share(tensors: Iterable[Tensor]) -> None:
    """Give all processes the first one's tensors."""
    for tensor in tensors:
        dist.broadcast(tensor.detach(), 0)


def _average(parameter: Tensor) -> None:
    """Take the mean of a scalar's gradients over all processes."""
    assert parameter.grad is not None
    dist.all_reduce(parameter.grad)
    parameter.grad /= dist.get_world_size()


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _part(value: Tensor, like: Tensor) -> Tensor:
    """Return this process's part of a whole tensor that all have, divided as `like` is."""
    if not isinstance(like, DTensor):
        return value
    value = value.to(like.device)
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)


def _whole(state: Any) -> Any:
    """Return a nested state with every part gathered."""
    if isinstance(state, DTensor):
        return state.full_tensor()
    if isinstance(state, dict):
        return {key: _whole(value) for key, value in state.items()}
    return state
