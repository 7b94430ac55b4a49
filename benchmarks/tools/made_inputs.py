"""Inputs that are made from a seed: images of waves, and rooms."""

from __future__ import annotations

import torch
from torch import Tensor

from pointcoc import PointSet

DENSITY = 2_000  # points per square meter
NOISE = 0.003  # meters


def waves(num: int, size: int) -> Tensor:
    """Return images (num, 3, size, size) with structure at all scales: waves of random direction, and noise."""
    generator = torch.Generator().manual_seed(0)
    axis = torch.linspace(0, 1, size)
    frequency = 20 * torch.randn(num, 3, 2, 1, 1, generator=generator)
    phase = 6.3 * torch.rand(num, 3, 1, 1, generator=generator)
    wave = torch.sin(frequency[:, :, 0] * axis[:, None] + frequency[:, :, 1] * axis + phase)
    return wave + 0.3 * torch.randn(wave.shape, generator=generator)


def room(num_points: int, seed: int = 0) -> PointSet:
    """Scan the six walls of a room twice as wide as high."""
    generator = torch.Generator().manual_seed(seed)
    width = (num_points / DENSITY / 4) ** 0.5  # floor and ceiling: 2 w^2; four walls: 4 w (w / 2)
    sides = torch.tensor([width, width, width / 2])
    pos = torch.rand(num_points, 3, generator=generator) * sides
    wall = torch.multinomial(torch.tensor([1.0, 1.0, 2.0]), num_points, replacement=True, generator=generator)
    far = torch.randint(2, (num_points,), generator=generator)
    pos[torch.arange(num_points), wall] = far * sides[wall]
    pos += NOISE * torch.randn(num_points, 3, generator=generator)
    return PointSet(pos, pos, torch.tensor([0, num_points]))
