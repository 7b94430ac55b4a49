"""The size of clouds: each fills the unit ball."""

import torch
from torch import Tensor

from pointcoc.checks import check_choice

CENTERS = ("box", "mean")


def to_unit_ball(pos: Tensor, center: str = "box") -> Tensor:
    """Move the center of a cloud to the origin and scale it so that its farthest point has distance 1.

    Args:
        pos: coordinates, shape (N, D).
        center: "box" for the middle of the bounding box, "mean" for the mean of the points.

    Returns:
        Shape (N, D); zeros where all points lie at one place.
    """
    check_choice("center", center, CENTERS)
    centered = pos - (pos.mean(0) if center == "mean" else (pos.amin(0) + pos.amax(0)) / 2)
    return centered / centered.norm(dim=1).max().clamp(min=torch.finfo(pos.dtype).tiny)
