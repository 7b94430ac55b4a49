"""The official image network once more, from its equations alone: what `pointcoc` is compared with.

One function a step, on maps (B, H, W, C), with the official names of weights; nothing here imports `pointcoc`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

State = Mapping[str, Tensor]


def official_stages(
    images: Tensor,
    state: State,
    heads: Sequence[int],
    regions: Sequence[int],
    centers: Sequence[int],
    normalizer: str = "similarity",
) -> list[Tensor]:
    """Compute the output of every stage.

    Args:
        images: shape (B, 3, H, W).
        state: official state dict, dialect of 2024.
        heads: per stage.
        regions: per stage and axis; they divide the sides of the stage.
        centers: per stage, region and axis.
        normalizer: "similarity" or "count".

    Returns:
        Maps (B, H, W, C), one a stage.
    """
    maps = convolve(with_coordinates(images), state, "patch_embed.proj", stride=4, padding=0)
    outputs = []
    for stage in range(len(heads)):
        if stage > 0:
            maps = convolve(maps.movedim(-1, 1), state, f"network.{2 * stage - 1}.proj", stride=2, padding=1)
        for block in range(num_blocks(state, stage)):
            name = f"network.{2 * stage}.{block}"
            mixed = mix(norm(maps, state, f"{name}.norm1"), state, f"{name}.token_mixer", heads[stage],
                        regions[stage], centers[stage], normalizer)  # fmt: skip
            maps = maps + state[f"{name}.layer_scale_1"] * mixed
            hidden = F.gelu(linear(norm(maps, state, f"{name}.norm2"), state, f"{name}.mlp.fc1"))
            maps = maps + state[f"{name}.layer_scale_2"] * linear(hidden, state, f"{name}.mlp.fc2")
        outputs.append(maps)
    return outputs


def official_logits(images: Tensor, state: State, *settings, **options) -> Tensor:
    """Compute the logits of a classifier; the arguments are those of `official_stages`."""
    last = official_stages(images, state, *settings, **options)[-1]
    return linear(norm(last, state, "norm").mean((1, 2)), state, "head")


def official_features(images: Tensor, state: State, *settings, **options) -> list[Tensor]:
    """Compute the four maps (B, C, H, W) of a network for dense prediction."""
    stages = official_stages(images, state, *settings, **options)
    return [norm(maps, state, f"norm{2 * s}").movedim(-1, 1) for s, maps in enumerate(stages)]


def mix(x: Tensor, state: State, name: str, heads: int, regions: int, centers: int, normalizer: str) -> Tensor:
    """The cluster layer: similarity, hard assignment, aggregate, dispatch, projection."""
    f, v = (fold(linear(x, state, f"{name}.{part}"), heads, regions) for part in ("f", "v"))
    center_f, center_v = pool(f, centers), pool(v, centers)
    f, v, shape = f.flatten(1, 2), v.flatten(1, 2), v.shape
    cosine = F.normalize(center_f, dim=-1) @ F.normalize(f, dim=-1).mT  # (K, centers, points)
    logits = state[f"{name}.sim_beta"] + state[f"{name}.sim_alpha"] * cosine
    chosen = F.one_hot(logits.argmax(1), logits.shape[1]).mT
    similarity = torch.sigmoid(logits) * chosen
    weight = similarity if normalizer == "similarity" else chosen
    aggregated = (center_v + similarity @ v) / (1 + weight.sum(-1, keepdim=True))
    return linear(unfold((similarity.mT @ aggregated).view(shape), heads, regions), state, f"{name}.proj")


def fold(x: Tensor, heads: int, regions: int) -> Tensor:
    """Maps (B, H, W, heads * d) as one small map per set, head and region, (K, H / regions, W / regions, d)."""
    batch, height, width, _ = x.shape
    x = x.view(batch, regions, height // regions, regions, width // regions, heads, -1)
    return x.permute(0, 5, 1, 3, 2, 4, 6).flatten(0, 3)


def unfold(x: Tensor, heads: int, regions: int) -> Tensor:
    """Undo `fold`."""
    _, height, width, dim = x.shape
    x = x.view(-1, heads, regions, regions, height, width, dim).permute(0, 2, 4, 3, 5, 1, 6)
    return x.reshape(-1, regions * height, regions * width, heads * dim)


def pool(x: Tensor, centers: int) -> Tensor:
    """Centers (K, centers * centers, d) of maps (K, h, w, d)."""
    return F.adaptive_avg_pool2d(x.movedim(-1, 1), centers).flatten(2).mT


def with_coordinates(images: Tensor) -> Tensor:
    """Append the row and the column of each pixel, from -0.5 to 0.5."""
    batch, _, height, width = images.shape
    row, column = (torch.linspace(-0.5, 0.5, size, dtype=images.dtype) for size in (height, width))
    both = torch.stack(torch.meshgrid(row, column, indexing="ij"))
    return torch.cat([images, both.expand(batch, -1, -1, -1)], dim=1)


def convolve(x: Tensor, state: State, name: str, stride: int, padding: int) -> Tensor:
    return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride, padding).movedim(1, -1)


def linear(x: Tensor, state: State, name: str) -> Tensor:
    return F.linear(x, state[f"{name}.weight"].flatten(1), state[f"{name}.bias"])


def norm(x: Tensor, state: State, name: str) -> Tensor:
    """Normalize each set over all its points and channels."""
    mean, var = x.mean((1, 2, 3), keepdim=True), x.var((1, 2, 3), correction=0, keepdim=True)
    return (x - mean) / torch.sqrt(var + 1e-5) * state[f"{name}.weight"] + state[f"{name}.bias"]


def num_blocks(state: State, stage: int) -> int:
    return len({name.split(".")[2] for name in state if name.startswith(f"network.{2 * stage}.")})
