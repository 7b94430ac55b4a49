"""FSDP: weights and states of the optimizer in shards over the processes, and whole where they are saved or measured.

What is saved is what one process saves: a run continues with or without shards, on any number of processes.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import (
    DistributedType,
    FullyShardedDataParallelPlugin,
    convert_outputs_to_fp32,
    fsdp2_prepare_model,
    get_mixed_precision_context_manager,
    parse_flag_from_env,
    recursively_apply,
)
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict
from torch.distributed.tensor import DTensor, distribute_tensor

# What accelerate wraps with TRANSFORMER_BASED_WRAP if the configuration names no layers.
UNITS = ("ClusterBlock",)
WHOLE = StateDictOptions(full_state_dict=True)
FROM_THE_FIRST = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)


def is_asked_for() -> bool:
    """Whether accelerate is configured for FSDP: by `accelerate launch`, or by ACCELERATE_USE_FSDP=true."""
    return parse_flag_from_env("ACCELERATE_USE_FSDP")


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether an accelerator shards what it prepares."""
    return accelerator.distributed_type == DistributedType.FSDP


def switch_on(accelerator: Accelerator) -> None:
    """Make an accelerator of several processes shard; accelerate itself leaves FSDP out on a CPU, where torch has it.

    Raises:
        ValueError: if the configuration is that of FSDP 1, or leaves weights in the memory of the CPU.
    """
    plugin = FullyShardedDataParallelPlugin()
    if plugin.fsdp_version != 2:
        raise ValueError(
            f"FSDP must have version 2 (fsdp_version: 2 in the file of accelerate launch, or FSDP_VERSION=2), got "
            f"{plugin.fsdp_version}"
        )
    if parse_flag_from_env("FSDP_OFFLOAD_PARAMS") or parse_flag_from_env("FSDP_CPU_RAM_EFFICIENT_LOADING"):
        raise ValueError("FSDP must have fsdp_offload_params: false and fsdp_cpu_ram_efficient_loading: false")
    # Accelerate has no public way to shard on a CPU. Both: whenever it asks for its state, that of PartialState is
    # copied over it.
    accelerator.state.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP
    accelerator.state.fsdp_plugin = plugin


def prepare(
    accelerator: Accelerator, model: nn.Module, optimizer: torch.optim.Optimizer, average: nn.Module | None
) -> tuple[nn.Module, Any]:
    """Prepare a model and its optimizer, in shards or not; the moving average of the weights is cut as they are."""
    if is_sharded(accelerator):
        plugin = accelerator.state.fsdp_plugin
        if plugin.transformer_cls_names_to_wrap is None and not hasattr(model, "_no_split_modules"):
            kinds = {type(module).__name__ for module in model.modules()}
            plugin.transformer_cls_names_to_wrap = [name for name in UNITS if name in kinds]
        if average is not None:
            fsdp2_prepare_model(accelerator, average)
    model, optimizer = accelerator.prepare(model, optimizer)
    if is_sharded(accelerator) and accelerator.native_amp:
        _autocast(accelerator, model)
    return model, optimizer


def _autocast(accelerator: Accelerator, model: nn.Module) -> None:
    """Compute in mixed precision as without shards; FSDP's own way would round the coordinates of points too."""
    context = get_mixed_precision_context_manager(accelerator.native_amp, accelerator.autocast_handler)
    model.forward = convert_outputs_to_fp32(context(model.forward))


def gather_weights(sharded: nn.Module, into: nn.Module) -> nn.Module:
    """Copy the weights of a sharded model into the same model without shards; buffers are those of the first process.

    All processes have to call this alike.

    Returns:
        `into`, on the device of `sharded`.
    """
    into.to(next(sharded.parameters()).device)
    set_model_state_dict(into, get_model_state_dict(sharded, options=WHOLE), options=FROM_THE_FIRST)
    return into


def scatter_weights(model: nn.Module, into: nn.Module) -> None:
    """Copy the weights of a model into the shards of the same model."""
    set_model_state_dict(into, model.state_dict(), options=WHOLE)


# Not torch's get_optimizer_state_dict and its counterpart: where no step was made yet they make one, which counts, and
# they call parameters by name, where a run without shards numbers them.
def gather_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """Copy the tensors in the state dict of an optimizer from their shards; all processes have to call this alike."""
    return recursively_apply(DTensor.full_tensor, state, test_type=lambda value: isinstance(value, DTensor))


def scatter_state(state: Mapping[str, Any], parameters: Iterable[Tensor]) -> dict[str, Any]:
    """Cut the state dict of an optimizer like its parameters.

    Args:
        state: whole, from `gather_state`.
        parameters: those of the optimizer, in its order, in shards or not.
    """
    by_number = dict(enumerate(parameters))
    cut = {
        number: {name: _like(value, by_number[number]) for name, value in one.items()}
        for number, one in state["state"].items()
    }
    return {**state, "state": cut}


def _like(value: Any, part: Tensor) -> Any:
    """Cut a tensor like another one that has shards; what has another shape (a counter) stays whole."""
    if not isinstance(part, DTensor) or not isinstance(value, Tensor) or value.shape != part.shape:
        return value
    return distribute_tensor(value.to(device=part.device, dtype=part.dtype), part.device_mesh, part.placements)
