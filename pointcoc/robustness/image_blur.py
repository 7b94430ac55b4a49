"""Blur of CIFAR-10-C: images (H, W, C) with values in [0, 1]. What leaves [0, 1] is clipped by the caller.

Strengths are those of the benchmark (Hendrycks and Dietterich, ICLR 2019; create_c/make_cifar_c.py of its repository),
whose images have 32 pixels: lengths are in 32nds of the shorter side.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage


def defocus_blur(image: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Spread every pixel over a disk of radius 0.3, ..., 1.5 whose rim is softened."""
    radius, softening = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))[strength - 1]
    return ndimage.convolve(image, _disk(radius * unit(image), softening)[:, :, None], mode="mirror")


def glass_blur(image: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Blur, put a near pixel in place of every pixel once or twice, blur again: as through frosted glass.

    The code of the benchmark is written to exchange the two, but what it does is to copy one.
    """
    sigma, rounds = ((0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2))[strength - 1]
    reach = max(1, round(unit(image)))
    image = _gaussian(image, sigma * unit(image))
    for _ in range(rounds):
        image = _shuffled(image, reach, draw)
    return _gaussian(image, sigma * unit(image))


def motion_blur(image: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Draw every pixel out in a direction within 45 degrees of the rows, by a deviation of 1, ..., 2.5 pixels."""
    length, sigma = ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))[strength - 1]
    return streak(image, length * unit(image), sigma * unit(image), draw.uniform(-math.pi / 4, math.pi / 4))


def zoom_blur(image: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Average the image with itself enlarged by 1.00, 1.01, ... up to 1.05, 1.10, 1.15, 1.20, 1.25."""
    zooms = 1 + 0.01 * np.arange(5 * strength + 1)
    return (image + sum(enlarge(image, zoom) for zoom in zooms)) / (len(zooms) + 1)


def unit(image: np.ndarray) -> float:
    """Return pixels of this image that one pixel of the benchmark's 32 stands for."""
    return min(image.shape[:2]) / 32


def streak(image: np.ndarray, length: float, sigma: float, angle: float) -> np.ndarray:
    """Blur in one direction with one half of a Gaussian, as ImageMagick's motion blur does.

    Args:
        image: shape (H, W, C).
        length: half the reach in pixels: what ImageMagick calls the radius.
        sigma: of the Gaussian, in pixels.
        angle: from the rows, in radians.
    """
    steps = np.arange(2 * math.ceil(length) + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    moved = sum(
        weight * ndimage.shift(image, (step * math.sin(angle), step * math.cos(angle), 0), order=1, mode="nearest")
        for step, weight in zip(steps, weights, strict=True)
    )
    return moved / weights.sum()


def enlarge(image: np.ndarray, zoom: float) -> np.ndarray:
    """Enlarge around the middle and crop to the same size, bilinear.

    Args:
        image: shape (H, W, C).
        zoom: 1 or more.
    """
    scale = np.array([1 / zoom, 1 / zoom, 1])
    middle = (np.array(image.shape) - 1) / 2
    return ndimage.affine_transform(image, scale, middle - scale * middle, order=1, mode="nearest")


def _disk(radius: float, softening: float) -> np.ndarray:
    steps = np.arange(-math.ceil(radius) - 1, math.ceil(radius) + 2)
    disk = (steps[:, None] ** 2 + steps[None] ** 2 <= radius**2).astype(float)
    return ndimage.gaussian_filter(disk / disk.sum(), softening, radius=1, mode="constant")


def _gaussian(image: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(image, sigma, axes=(0, 1), mode="nearest")


def _shuffled(image: np.ndarray, reach: int, draw: np.random.Generator) -> np.ndarray:
    """Take for every pixel one from `reach` rows and columns before to `reach` - 1 after it."""
    height, width = image.shape[:2]
    rows, columns = np.indices((height, width)) + draw.integers(-reach, reach, size=(2, height, width))
    return image[rows.clip(0, height - 1), columns.clip(0, width - 1)]
