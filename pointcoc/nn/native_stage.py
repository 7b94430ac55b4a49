"""A stage by the native kernels: all its blocks as one operator, where they can run."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from pointcoc.geometry import StagePlan
from pointcoc.geometry.regions import UniformRegions
from pointcoc.nn.folded_block import FoldedBlock
from pointcoc.nn.norm import SetStatistics
from pointcoc.nn.stage import Stage
from pointcoc.ops import Assignment
from pointcoc.ops.native_stage import COMPUTES, native_stage
from pointcoc.ops.native_weights import NativeWeights, pack_block
from pointcoc.ops.options import why_not_options, why_not_uniform


class NativeStage(Stage):
    """A stage of folded blocks for tensors of images in bfloat16 on a CPU; other input goes through torch.

    Args:
        blocks: folded, at least one.
    """

    def __init__(self, blocks: Stage):
        super().__init__(blocks)
        self._packed: list[Tensor] = []
        self.register_load_state_dict_post_hook(_forget)

    def run(self, x: Tensor, plan: StagePlan, is_watched: bool) -> tuple[Tensor, list[Assignment]]:
        """Run all blocks as one operator, or one after the other where it cannot run or assignments are read.

        Args:
            x: rows in region order.
            plan: positions of the stage.
            is_watched: whether somebody reads the assignments.
        """
        if is_watched or self.why_not(plan) is not None:
            return super().run(x, plan, is_watched)
        regions, first = cast(UniformRegions, plan.regions), cast(FoldedBlock, self[0])
        tiles = x.view(regions.segments.num, regions.members.shape[2], -1)
        mean, by_count = regions.proposals(torch.float32).mean, first.options.normalizer == "count"
        sizes, eps = (plan.sets.num, first.heads, first.fc1.out_features), (first.norm1.eps, first.norm2.eps)
        return native_stage(tiles, self._weights(), *sizes, mean, by_count, *eps).view_as(x), []

    def why_not(self, plan: StagePlan) -> str | None:
        """Return why the native kernels cannot run the blocks here, as a sentence, or None if they can.

        Args:
            plan: positions of the stage.
        """
        for block in self:
            if not isinstance(block, FoldedBlock):
                return f"blocks must be folded, got {type(block).__name__}"
            if not type(block.norm1) is type(block.norm2) is SetStatistics:
                return "norms must be those of a set"
            reason = why_not_options(block.options, COMPUTES)
            if reason is not None:
                return reason
        regions = plan.regions
        if not isinstance(regions, UniformRegions):
            return why_not_uniform(regions)
        if regions.members.shape[0] != 1 or plan.sets.size is None:
            return "regions must all be alike, as the tiles of a complete lattice are"
        return None

    def _weights(self) -> list[Tensor]:
        if not self._packed:
            self._packed = [part for block in self for part in _pack(cast(FoldedBlock, block))]
        return self._packed

    def _apply(self, *args: Any, **kwargs: Any) -> NativeStage:
        _forget(self, None)  # packed weights follow the dtype and the device of the others
        return super()._apply(*args, **kwargs)


def _forget(stage: NativeStage, _: Any) -> None:
    """The packed weights are copies; new weights make others."""
    stage._packed = []


def _pack(block: FoldedBlock) -> NativeWeights:
    fc1, fc2 = block.fc1, block.fc2
    if fc1.weight.dtype != torch.bfloat16 or fc1.weight.device.type != "cpu":
        dtype = str(fc1.weight.dtype).removeprefix("torch.")
        raise ValueError(f"native kernels take bfloat16 weights on the CPU, got {dtype} on {fc1.weight.device.type}")
    return pack_block(block.weights(), block.heads, (fc1.weight, fc1.bias), (fc2.weight, fc2.bias))
