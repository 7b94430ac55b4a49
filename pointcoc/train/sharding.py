"""FSDP: weights and states of the optimizer in shards over the processes, and whole where they are saved or measured.

What is saved is what one process saves: a run continues with or without shards, on any number of processes.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
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
)
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Placement, Shard, distribute_tensor

# What accelerate wraps with TRANSFORMER_BASED_WRAP if the configuration names no layers.
UNITS = ("ClusterBlock",)


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
    # Both: whenever accelerate asks for its state, that of PartialState is copied over it.
    accelerator.state.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP
    accelerator.state.fsdp_plugin = plugin


def prepare(
    accelerator: Accelerator, model: nn.Module, optimizer: torch.optim.Optimizer, average: nn.Module | None
) -> tuple[nn.Module, Any]:
    """Prepare a model and its optimizer, in shards or not; the moving average of the weights is cut as they are."""
    if is_sharded(accelerator):
        if not hasattr(model, "_no_split_modules"):
            kinds = {type(module).__name__ for module in model.modules()}
            model._no_split_modules = [name for name in UNITS if name in kinds]  # type: ignore[assignment]
        if average is not None:
            average._no_split_modules = model._no_split_modules
            fsdp2_prepare_model(accelerator, average)
    model, optimizer = accelerator.prepare(model, optimizer)
    if is_sharded(accelerator) and accelerator.native_amp:
        _autocast(accelerator, model)
    return model, optimizer


def _autocast(accelerator: Accelerator, model: nn.Module) -> None:
    """Compute in mixed precision as without shards; FSDP's own way would round the coordinates of points too."""
    context = get_mixed_precision_context_manager(accelerator.native_amp, accelerator.autocast_handler)
    model.forward = convert_outputs_to_fp32(context(model.forward))


def whole(value: Any) -> Any:
    """Copy tensors, in dicts and lists, from their shards; all processes have to call this alike.

    Tensors of one dtype are gathered at once: a state of hundreds of small tensors is one message, not hundreds.

    Args:
        value: a state dict, of a model or an optimizer; other values in it stay as they are.
    """
    groups: dict[Any, list[DTensor]] = {}
    for part in _parts(value):
        groups.setdefault((part.device_mesh, part.placements, part.dtype), []).append(part)
    whole_of: dict[int, Tensor] = {}
    for (mesh, placements, _), parts in groups.items():
        whole_of |= zip(map(id, parts), _gathered(parts, mesh, placements), strict=True)
    return _filled(value, whole_of)


def _parts(value: Any) -> Iterator[DTensor]:
    if isinstance(value, DTensor):
        yield value
    elif isinstance(value, (Mapping, list)):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _parts(one)


def _filled(value: Any, whole_of: Mapping[int, Tensor]) -> Any:
    if isinstance(value, DTensor):
        return whole_of[id(value)]
    if isinstance(value, Mapping):
        return {name: _filled(one, whole_of) for name, one in value.items()}
    return [_filled(one, whole_of) for one in value] if isinstance(value, list) else value


@torch.no_grad()
def _gathered(parts: list[DTensor], mesh: DeviceMesh, placements: tuple[Placement, ...]) -> list[Tensor]:
    """Gather tensors of one dtype that are cut alike: FSDP cuts rows, as torch.chunk does, over one axis of a mesh."""
    axes = [axis for axis, placement in enumerate(placements) if not placement.is_replicate()]
    if len(axes) != 1 or placements[axes[0]] != Shard(0):
        return [part.full_tensor() for part in parts]
    num_shards = mesh.size(axes[0])
    sizes = [-(-part.shape[0] // num_shards) * math.prod(part.shape[1:]) for part in parts]
    mine = parts[0].to_local().new_zeros(sum(sizes))
    for to, part in zip(mine.split(sizes), parts, strict=True):
        local = part.to_local().flatten()
        to[: len(local)] = local
    everyone = mine.new_empty(num_shards * len(mine))
    torch.distributed.all_gather_into_tensor(everyone, mine, group=mesh.get_group(axes[0]))
    columns = everyone.view(num_shards, -1).split(sizes, dim=1)
    return [
        column.flatten()[: part.numel()].view(part.shape).clone() for column, part in zip(columns, parts, strict=True)
    ]


@torch.no_grad()
def gather_weights(sharded: nn.Module, into: nn.Module) -> nn.Module:
    """Copy the weights of a sharded model into the same model without shards; buffers are those of the first process.

    Returns:
        `into`, on the device of `sharded`.
    """
    tensors: dict[str, Tensor] = whole(sharded.state_dict())
    for tensor, part in zip(tensors.values(), sharded.state_dict().values(), strict=True):
        if not isinstance(part, DTensor):
            torch.distributed.broadcast(tensor, 0)
    into.to(next(iter(tensors.values())).device).load_state_dict(tensors)
    return into


@torch.no_grad()
def scatter_weights(model: nn.Module, into: nn.Module) -> None:
    """Copy the weights of a model into the shards of the same model."""
    tensors = model.state_dict()
    for name, part in into.state_dict().items():
        part.copy_(_like(tensors[name], part))


def scatter_state(state: Mapping[str, Any], parameters: Iterable[Tensor]) -> dict[str, Any]:
    """Cut the state dict of an optimizer like its parameters.

    Args:
        state: whole, from `whole`.
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
    value = value.to(device=part.device, dtype=part.dtype)
    return distribute_tensor(value, part.device_mesh, part.placements)
