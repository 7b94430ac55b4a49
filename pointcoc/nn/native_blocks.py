"""The blocks of a stage in the layout of the native kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pointcoc.geometry.tiles import Tiles
from pointcoc.nn.fused_block import FusedBlock
from pointcoc.ops.native_stage import native_stage
from pointcoc.ops.native_weights import NativeWeights, pack_block


class NativeBlocks:
    """Folded blocks of one stage, packed for the native kernels; a copy of their weights.

    Args:
        blocks: of a stage, bfloat16 on the CPU, with hard assignment and one iteration.

    Raises:
        ValueError: if the weights are not bfloat16 on the CPU.
    """

    def __init__(self, blocks: Sequence[FusedBlock]):
        first, weight = blocks[0], blocks[0].fc1.weight
        if weight.dtype != torch.bfloat16 or weight.device.type != "cpu":
            dtype = str(weight.dtype).removeprefix("torch.")
            raise ValueError(f"native kernels take bfloat16 weights on the CPU, got {dtype} on {weight.device.type}")
        self.weights = [part for block in blocks for part in _pack(block)]
        self.heads, self.hidden, self.eps = first.heads, first.fc1.out_features, (first.eps1, first.eps2)
        self.by_count = first.options.normalizer == "count"

    def __call__(self, x: Tensor, tiles: Tiles, num_sets: int) -> Tensor:
        """Map tiles (R, n, C) of `num_sets` sets to tiles (R, n, C)."""
        mean = tiles.proposals.mean
        return native_stage(x, self.weights, num_sets, self.heads, self.hidden, mean, self.by_count, *self.eps)


def _pack(block: FusedBlock) -> NativeWeights:
    fc1, fc2 = block.fc1, block.fc2
    return pack_block(block.weights(), block.heads, (fc1.weight, fc1.bias), (fc2.weight, fc2.bias))
