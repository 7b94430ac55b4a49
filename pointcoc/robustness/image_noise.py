"""Noise of CIFAR-10-C: images (H, W, C) with values in [0, 1]. What leaves [0, 1] is clipped by the caller.

Strengths are those of the benchmark (Hendrycks and Dietterich, ICLR 2019; create_c/make_cifar_c.py of its repository).
"""

from __future__ import annotations

import numpy as np


def gaussian_noise(image: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Add normal deviates of deviation 0.04, ..., 0.10 to every value."""
    return image + draw.standard_normal(image.shape) * (0.04, 0.06, 0.08, 0.09, 0.10)[strength - 1]


def shot_noise(image: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Count photons: Poisson deviates where white is 500, ..., 50 of them."""
    photons = (500, 250, 100, 75, 50)[strength - 1]
    return draw.poisson(image * photons) / photons


def impulse_noise(image: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Replace 1 %, ..., 7 % of all values by 0 or 1."""
    is_hit = draw.random(image.shape) < (0.01, 0.02, 0.03, 0.05, 0.07)[strength - 1]
    return np.where(is_hit, draw.integers(2, size=image.shape), image)
