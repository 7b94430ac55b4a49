"""The layout in which native/ reads weights: that of its loops, so that it reads them in a row."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from pointcoc.ops.options import ClusterWeights

LANES = 16  # values of float32 in a register of the processor
TILE_VECTORS = 4  # vectors of 16 columns that a product computes at once
HIDDEN_VECTORS = 8  # hidden channels of the pointwise network at once, in vectors


class NativeWeights(NamedTuple):
    """The weights of a block, products as pairs of bfloat16 in int32, the rest float32."""

    f: Tensor
    v: Tensor
    proj: Tensor
    fc1: Tensor
    fc2: Tensor
    f_bias: Tensor
    v_bias: Tensor
    proj_bias: Tensor
    fc1_bias: Tensor
    fc2_bias: Tensor
    alpha_beta: Tensor


def pack_block(
    cluster: ClusterWeights, heads: int, fc1: tuple[Tensor, Tensor], fc2: tuple[Tensor, Tensor]
) -> NativeWeights:
    """Lay out the weights of a block.

    Args:
        cluster: parameters of the cluster layer, bfloat16.
        heads: number of heads, h.
        fc1: weight (hidden, C) and bias (hidden,) of the pointwise network's first layer, bfloat16.
        fc2: weight (C, hidden) and bias (C,) of its second.
    """
    f, v = cluster.fv_weight.chunk(2)
    f_bias, v_bias = cluster.fv_bias.chunk(2)
    return NativeWeights(
        f=_pairs(f),
        v=torch.cat([_pack(one) for one in v.chunk(heads)]),
        proj=torch.cat([_pack(one) for one in cluster.proj_weight.chunk(heads, 1)]),
        fc1=torch.cat([_pack(one) for one in _fill(fc1[0], LANES, 1).split(_hidden_parts(fc1[0].shape[0]))]),
        fc2=torch.cat([_pack(one) for one in _fill(fc2[0], 1, LANES).split(_hidden_parts(fc2[0].shape[1]), 1)]),
        f_bias=f_bias.float(),
        v_bias=torch.cat([_bias(one) for one in v_bias.chunk(heads)]),
        proj_bias=_bias(cluster.proj_bias),
        fc1_bias=_bias(fc1[1]),
        fc2_bias=_bias(fc2[1]),
        alpha_beta=torch.cat([cluster.alpha, cluster.beta]).float(),
    )


def _hidden_parts(hidden: int) -> list[int]:
    return _parts(-(-hidden // LANES), HIDDEN_VECTORS)


def _parts(vectors: int, most: int) -> list[int]:
    """Columns of each block: at most `most` vectors, and nearly equally many."""
    count = -(-vectors // most)
    cuts = [i * vectors // count for i in range(count + 1)]
    return [LANES * (end - begin) for begin, end in pairwise(cuts)]


def _fill(weight: Tensor, rows: int, columns: int) -> Tensor:
    """Add zeros up to multiples of `rows` and `columns`."""
    return pad(weight, (0, -weight.shape[1] % columns, 0, -weight.shape[0] % rows))


def _pairs(weight: Tensor) -> Tensor:
    """(N, K) bfloat16 to (N, ceil(K / 2)) int32 that hold two neighbors each."""
    return _fill(weight, 1, 2).contiguous().view(torch.int32)


def _pack(weight: Tensor) -> Tensor:
    """(N, K) bfloat16 to blocks of rows, each (ceil(K / 2), its rows) pairs."""
    pairs = _pairs(_fill(weight, LANES, 1))
    parts = _parts(pairs.shape[0] // LANES, TILE_VECTORS)
    return torch.cat([block.T.flatten() for block in pairs.split(parts)])


def _bias(bias: Tensor) -> Tensor:
    return pad(bias.float(), (0, -bias.shape[0] % LANES))
