"""Noise of ModelNet40-C: clouds (N, 3) whose bounding box has its middle at 0 and its longest half side 1.

Strengths are those of the benchmark (arXiv 2201.12296, data/generate_c.py of its repository).
"""

from __future__ import annotations

import numpy as np


def uniform_noise(cloud: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Move every coordinate by up to 0.01, ..., 0.05, evenly distributed."""
    return cloud + draw.uniform(-1, 1, cloud.shape) * (0.01, 0.02, 0.03, 0.04, 0.05)[strength - 1]


def gaussian_noise(cloud: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Move every coordinate by a normal deviate of deviation 0.01, ..., 0.03, and clip it to [-1, 1]."""
    noise = draw.standard_normal(cloud.shape) * (0.01, 0.015, 0.02, 0.025, 0.03)[strength - 1]
    return np.clip(cloud + noise, -1, 1)


def impulse_noise(cloud: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Move a 30th, ..., a 10th of the points by 0.1 up or down along each axis."""
    count = _part(cloud, (30, 25, 20, 15, 10)[strength - 1])
    moved = cloud.copy()
    moved[draw.choice(len(cloud), count, replace=False)] += draw.choice((-0.1, 0.1), (count, 3))
    return moved


def upsampling(cloud: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Add copies of a 5th, ..., of all points, each coordinate moved by up to 0.05."""
    count = _part(cloud, (5, 4, 3, 2, 1)[strength - 1])
    copies = cloud[draw.choice(len(cloud), count, replace=False)] + draw.uniform(-0.05, 0.05, (count, 3))
    return np.concatenate([cloud, copies])


def background_noise(cloud: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Add points anywhere in the cube [-1, 1]: a 45th, ..., a 20th of the number of points."""
    added = draw.uniform(-1, 1, (_part(cloud, (45, 40, 35, 30, 20)[strength - 1]), 3))
    return np.concatenate([cloud, added])


def _part(cloud: np.ndarray, divisor: int) -> int:
    return max(1, len(cloud) // divisor)
