"""Weather of CIFAR-10-C: images (H, W, C) with values in [0, 1]. What leaves [0, 1] is clipped by the caller.

Strengths are those of the benchmark (Hendrycks and Dietterich, ICLR 2019; create_c/make_cifar_c.py of its repository).
"""

from __future__ import annotations

import math

import numpy as np

from pointcoc.robustness.image_blur import enlarge, streak, unit

GRAY = (0.299, 0.587, 0.114)
ICE = (0.78, 0.88, 0.93)


def snow(image: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Bleach the image and let flakes fall, drawn out by the wind."""
    mean, deviation, zoom, least, length, sigma, kept = (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    )[strength - 1]
    flakes = enlarge(draw.normal(mean, deviation, (*image.shape[:2], 1)), zoom)
    flakes = np.clip(np.where(flakes < least, 0, flakes), 0, 1)
    flakes = streak(flakes, length * unit(image), sigma * unit(image), draw.uniform(-3 * math.pi / 4, -math.pi / 4))
    bleached = kept * image + (1 - kept) * np.maximum(image, 1.5 * _gray(image) + 0.5)
    return bleached + flakes + flakes[::-1, ::-1]


def frost(image: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Darken the image and lay ice over it: pale blue ridges of a random height map.

    The benchmark lays parts of six photographs of frost over the images, with the same weights.
    """
    kept, amount = ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))[strength - 1]
    ridges = 1 - np.abs(2 * plasma(image.shape[:2], 2.0, draw) - 1)[:, :, None]
    color = np.array(ICE) if image.shape[2] == 3 else np.full(image.shape[2], np.mean(ICE))
    return kept * image + amount * ridges * color


def fog(image: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Add a cloudy layer of weight 0.2, ..., 1.5 and scale the sum so that the brightest value stays."""
    weight, decay = ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))[strength - 1]
    brightest = image.max()
    return (image + weight * plasma(image.shape[:2], decay, draw)[:, :, None]) * brightest / (brightest + weight)


def plasma(size: tuple[int, ...], decay: float, draw: np.random.Generator) -> np.ndarray:
    """Make a height map in [0, 1] with the diamond-square algorithm on a torus, and cut a part out.

    Args:
        size: rows and columns.
        decay: how much less every finer step of half the length adds; larger is smoother.
        draw: random numbers.
    """
    side = 2 ** max(1, math.ceil(math.log2(max(size))))
    heights, step, amount = np.zeros((side, side)), side, 1.0
    while step >= 2:
        half = step // 2
        corners = heights[::step, ::step]
        around = [np.roll(corners, shift, (0, 1)) for shift in ((0, 0), (-1, 0), (0, -1), (-1, -1))]
        heights[half::step, half::step] = np.mean(around, axis=0) + amount * draw.uniform(-1, 1, corners.shape)
        _edges(heights, step, amount, draw)
        step, amount = half, amount / decay
    heights -= heights.min()
    return (heights / heights.max())[: size[0], : size[1]]


def _edges(heights: np.ndarray, step: int, amount: float, draw: np.random.Generator) -> None:
    """Set the points between two corners from the corners and the middles around them, in place."""
    half = step // 2
    corners, middles = heights[::step, ::step], heights[half::step, half::step]
    for axis, rows in ((1, heights[::step, half::step]), (0, heights[half::step, ::step])):
        around = [corners, np.roll(corners, -1, axis), middles, np.roll(middles, 1, 1 - axis)]
        rows[:] = np.mean(around, axis=0) + amount * draw.uniform(-1, 1, rows.shape)


def _gray(image: np.ndarray) -> np.ndarray:
    weights = np.array(GRAY) if image.shape[2] == 3 else np.full(image.shape[2], 1 / image.shape[2])
    return (image @ weights)[:, :, None]
