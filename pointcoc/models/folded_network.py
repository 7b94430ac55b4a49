"""FoldedNet: a network in its inference form, whose modules hold constants folded into their weights."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from pointcoc.checks import check_choice, check_not_recorded
from pointcoc.geometry import NetworkPlan
from pointcoc.geometry.plan import make_grid_plan
from pointcoc.models.cluster_network import ClusterNetwork
from pointcoc.models.config import NetworkConfig, check_tensor
from pointcoc.nn.folded_block import fold_block
from pointcoc.nn.native_stage import NativeStage
from pointcoc.nn.reducer import LatticeReducer, PixelReducer, StepReducer
from pointcoc.nn.stage import Stage
from pointcoc.ops.native_library import native_library
from pointcoc.ops.native_stage import COMPUTES
from pointcoc.ops.options import why_not_options
from pointcoc.pointset import PointSet, check_images, image_sides

KERNELS = ("torch", "native")


class FoldedNet(ClusterNetwork):
    """The inference form of a `ContextClusterNet`: the same logits from fewer and larger operations.

    `ContextClusterNet.fuse` makes it. Folded modules take the place of those of the network (`FoldedBlock`,
    `PixelReducer`, `NativeStage`), and all methods are inherited. It holds folded copies of the weights, so later
    changes of the network do not reach it, and it cannot be trained. `to(torch.bfloat16)` works; similarities are
    computed in float32 or better.

    Of a tensor of images the coordinates are never made into features: what they add is a constant of the size, kept
    from the first call outside a compiled graph. A graph that sees a size first computes it inside. So call the module
    once before compiling it.

    With `kernels="native"` the stages of equal tiles run as one operator each, compiled from C++ on the machine, which
    keeps what lies between the layers of a block in the processor's cache. It takes bfloat16 on a CPU.

    Args:
        net: the network to fold, in evaluation mode; it is not changed.
        kernels: "torch", or "native" (see `ContextClusterNet.fuse`).

    Shapes:
        Input: as for `ContextClusterNet`.
        Output: logits (B, num_classes).

    Raises:
        ValueError: if `net` is in training mode, or `kernels` is unknown or not for this network.
        RuntimeError: if the native kernels cannot run here; the message says why.
    """

    def __init__(self, net: ClusterNetwork, kernels: Literal["torch", "native"] = "torch"):
        super().__init__()
        if net.training:
            raise ValueError("the network is in training mode; call eval() before fuse()")
        _check_kernels(kernels, net.config)
        self.config, self.kernels = net.config, kernels
        net = copy.deepcopy(net).requires_grad_(False)
        self.reducers = _fold_reducers(net.reducers, net.config)
        self.stages = nn.ModuleList(_fold_stage(stage, kernels) for stage in cast("Sequence[Stage]", net.stages))
        self.stage_norms, self.norm, self.dropout, self.head = net.stage_norms, net.norm, net.dropout, net.head
        self.eval()

    def train(self, mode: bool = True) -> FoldedNet:
        """Refuse training mode.

        Args:
            mode: False, which changes nothing.

        Raises:
            ValueError: if `mode` is True.
        """
        if mode:
            raise ValueError("a folded network is for inference; train the network it was made from and fuse() again")
        return super().train(False)

    def _enter(self, input: Tensor | PointSet | Any, plan: NetworkPlan | None) -> tuple[Tensor, NetworkPlan]:
        """Return a tensor of images as it is: the first reducer knows the coordinates of each size."""
        if plan is not None or not isinstance(input, Tensor) or not self.config.reads_images:
            return super()._enter(input, plan)
        check_not_recorded()
        check_tensor(input, self.config)
        check_images(input)
        dtype = torch.promote_types(input.dtype, torch.float32)
        return input, make_grid_plan(image_sides(input), input.shape[0], self.config.geometry, input.device, dtype)


def _check_kernels(kernels: str, config: NetworkConfig) -> None:
    check_choice("kernels", kernels, KERNELS)
    if kernels == "torch":
        return
    if not config.reads_images:
        raise ValueError("native kernels are for images; this network takes clouds: use kernels='torch'")
    reason = why_not_options(config.options, COMPUTES)
    if config.backend != "auto":
        reason = f"backend must be 'auto', got {config.backend!r}"
    if config.norm != "set":
        reason = f"norm must be 'set', got {config.norm!r}"
    if reason is not None:
        raise ValueError(f"native kernels cannot be used: {reason}")
    native_library()


def _fold_stage(stage: Stage, kernels: str) -> Stage:
    folded = Stage(fold_block(block) for block in stage)
    return NativeStage(folded) if kernels == "native" else folded


def _fold_reducers(reducers: nn.ModuleList, config: NetworkConfig) -> nn.ModuleList:
    """Fold batch norms into the layers before them, and let the first layer of images know the coordinates."""
    for reducer in reducers:
        if isinstance(reducer, StepReducer):
            reducer.fold_norms()
    if not config.reads_images:
        return reducers
    layers = reducers[0].steps if isinstance(reducers[0], StepReducer) else reducers
    layers[0] = PixelReducer(cast(LatticeReducer, layers[0]), config.coordinates, config.frequencies)
    # Maps are channels last, so convolutions do not copy their weights.
    return reducers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
