"""Weights of the small official point-cloud network, rebuilt by the formula the authors' numbers were computed with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from official_formula import official_noise, official_weight
from torch import Tensor

HIDDEN = (512, 256)
FULL = {  # the settings of the preset in the words of the authors' files
    "class_num": 15,
    "embed_dim": 64,
    "dim_expansion": [2, 2, 2, 2],
    "pre_blocks": [2, 2, 2, 2],
    "pos_blocks": [2, 2, 2, 2],
}


def official_pointmlp_state(config: Mapping[str, Any]) -> dict[str, Tensor]:
    """All tensors of an official point-cloud network under the official names, in float64.

    Args:
        config: the metadata key `config` of `tests/official/toy_pointmlp_coc.safetensors`, parsed from JSON.
    """
    return {name: _tensor(name, shape) for name, shape in official_pointmlp_shapes(config).items()}


def official_pointmlp_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of an official point-cloud network, in the order of its state dict."""
    widths = [config["embed_dim"]]
    for expansion in config["dim_expansion"]:
        widths.append(widths[-1] * expansion)
    shapes = _convolution_norm("embedding.net", widths[0], 3)
    for s, width in enumerate(widths[:-1]):
        shapes |= {f"local_grouper_list.{s}.affine_{which}": (1, 1, 1, width) for which in ("alpha", "beta")}
    for s, width in enumerate(widths[1:]):
        shapes |= _convolution_norm(f"pre_blocks_list.{s}.transfer.net", width, 2 * widths[s])
        for block in range(config["pre_blocks"][s]):
            shapes |= _cluster(f"pre_blocks_list.{s}.operation.{2 * block}", width)
            shapes |= _residual(f"pre_blocks_list.{s}.operation.{2 * block + 1}", width)
    for s, width in enumerate(widths[1:]):
        for block in range(config["pos_blocks"][s]):
            shapes |= _residual(f"pos_blocks_list.{s}.operation.{block}", width)
    layers = [widths[-1], *HIDDEN, config["class_num"]]
    for i, number in enumerate((0, 4, 8)):
        shapes |= {
            f"classifier.{number}.weight": (layers[i + 1], layers[i]),
            f"classifier.{number}.bias": (layers[i + 1],),
        }
        shapes |= _norm(f"classifier.{number + 1}", layers[i + 1]) if number < 8 else {}
    return shapes


def _tensor(name: str, shape: tuple[int, ...]) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    w = official_noise(name, shape)
    if name.endswith("running_var"):
        return 1 + w / math.sqrt(12)
    if name.endswith("affine_beta"):
        return 0.1 * w
    if name.endswith("affine_alpha") or (name.endswith("weight") and len(shape) == 1):
        return 1 + 0.2 * w
    return official_weight(name, shape)


def _convolution_norm(name: str, out_dim: int, in_dim: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.0.weight": (out_dim, in_dim, 1), **_norm(f"{name}.1", out_dim)}


def _norm(name: str, dim: int) -> dict[str, tuple[int, ...]]:
    vectors = {f"{name}.{field}": (dim,) for field in ("weight", "bias", "running_mean", "running_var")}
    return {**vectors, f"{name}.num_batches_tracked": ()}


def _cluster(name: str, dim: int) -> dict[str, tuple[int, ...]]:
    head = max(dim // 4, 32)
    shapes: dict[str, tuple[int, ...]] = {f"{name}.sim_alpha": (1,), f"{name}.sim_beta": (1,)}
    for layer, out_dim, in_dim in (("fc1", head, dim), ("fc2", dim, head), ("fc_v", head, dim)):
        shapes |= {f"{name}.{layer}.weight": (out_dim, in_dim), f"{name}.{layer}.bias": (out_dim,)}
    return shapes


def _residual(name: str, dim: int) -> dict[str, tuple[int, ...]]:
    return _convolution_norm(f"{name}.net1", dim, dim) | _convolution_norm(f"{name}.net2", dim, dim)
