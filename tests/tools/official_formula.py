"""Weights of the small official image networks, rebuilt by the formula the authors' numbers were computed with.

The files in `tests/official` hold inputs and outputs only; every weight follows from its name and shape.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from zlib import crc32

import torch
from torch import Tensor

IN_CHANNELS = 5  # r, g, b, row, column


def official_weight(name: str, shape: tuple[int, ...]) -> Tensor:
    """Rebuild one parameter in float64.

    u_i = frac(43758.5453 sin(12.9898 i + phase)), phase = 2 pi (crc32(name) mod 10007) / 10007, w = (u - 0.5) sqrt(12),
    then scaled and shifted by what the parameter is for. The product magnifies the last digit of the sine: another
    sine than that of torch, or another processor, moves single weights by up to 5e-12.

    Args:
        name: official name of the parameter, such as "network.0.0.token_mixer.f.weight".
        shape: its shape.

    Returns:
        Tensor of that shape.
    """
    w = official_noise(name, shape)
    if len(shape) > 1:
        return w / math.sqrt(math.prod(shape[1:]))
    if name.endswith("sim_alpha"):
        return 1.5 + 0.5 * w
    if name.endswith("sim_beta"):
        return 0.3 * w
    if "layer_scale" in name:
        return 0.3 + 0.1 * w
    if "norm" in name and name.endswith("weight"):
        return 1 + 0.2 * w
    return 0.1 * w


def official_noise(name: str, shape: tuple[int, ...]) -> Tensor:
    """Noise w of the formula: mean 0, variance 1, float64."""
    phase = (crc32(name.encode()) % 10007) / 10007 * 2 * math.pi
    noise = torch.sin(12.9898 * torch.arange(math.prod(shape), dtype=torch.float64) + phase) * 43758.5453
    return ((noise - torch.floor(noise) - 0.5) * math.sqrt(12)).reshape(shape)


def official_state(config: Mapping[str, Any]) -> dict[str, Tensor]:
    """All weights of a small official image network under the official names (the dialect of 2024).

    Args:
        config: the metadata key `config` of a file in `tests/official`, parsed from JSON. Without `num_classes` the
            network is a dense one: a norm on each stage output, no classifier.

    Returns:
        State dict in float64.
    """
    shapes = _official_shapes(config)
    return {name: official_weight(name, shape) for name, shape in shapes.items()}


def _official_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    dims = config["dims"]
    shapes = _layer("patch_embed.proj", dims[0], IN_CHANNELS, 4, 4)
    for stage, dim in enumerate(dims):
        if stage > 0:
            shapes |= _layer(f"network.{2 * stage - 1}.proj", dim, dims[stage - 1], 3, 3)
        inner = config["heads"][stage] * config["hd"][stage]
        for block in range(config["layers"][stage]):
            shapes |= _block_shapes(f"network.{2 * stage}.{block}", dim, inner, config["mlp"][stage] * dim)
    if "num_classes" in config:
        return shapes | _norm("norm", dims[-1]) | _layer("head", config["num_classes"], dims[-1])
    for stage, dim in enumerate(dims):
        shapes |= _norm(f"norm{2 * stage}", dim)
    return shapes


def _block_shapes(name: str, dim: int, inner: int, hidden: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}.layer_scale_1": (dim,),
        f"{name}.layer_scale_2": (dim,),
        **_norm(f"{name}.norm1", dim),
        f"{name}.token_mixer.sim_alpha": (1,),
        f"{name}.token_mixer.sim_beta": (1,),
        **_layer(f"{name}.token_mixer.f", inner, dim, 1, 1),
        **_layer(f"{name}.token_mixer.proj", dim, inner, 1, 1),
        **_layer(f"{name}.token_mixer.v", inner, dim, 1, 1),
        **_norm(f"{name}.norm2", dim),
        **_layer(f"{name}.mlp.fc1", hidden, dim),
        **_layer(f"{name}.mlp.fc2", dim, hidden),
    }


def _layer(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def _norm(name: str, dim: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}
