"""Colors of clusters: by the position of their centers, and told apart by color-blind readers too."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch import Tensor

from pointcoc.models.clusters import StageClusters

LIGHTNESS = (0.38, 0.51, 0.64, 0.77, 0.9)
HUES = 2 * math.pi * np.arange(8) / 8
CHROMA = 0.12
NEAR, AROUND = 4, 24
ENOUGH = 0.14
# From linear RGB to the cone responses of OKLab, and from their cube roots to its three axes (Ottosson, 2020).
TO_CONES = np.array(
    [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
     [0.0883024619, 0.2817188376, 0.6299787005]]
)  # fmt: skip
TO_LAB = np.array(
    [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
     [0.0259040371, 0.7827717662, -0.8086757660]]
)  # fmt: skip
# What linear RGB looks like without one kind of cones (Machado, Oliveira and Fernandes, 2009, severity 1).
VISIONS = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def center_colors(pos: Tensor) -> Tensor:
    """Color centers by where they lie.

    The hue follows the direction from the middle of all centers, so that an object keeps its hue over stages, blocks
    and heads. Where near centers would look alike, with or without all kinds of cones, another color is taken.

    Args:
        pos: positions of the centers of one set, shape (M, D); those with NaN have no points and come out gray.

    Returns:
        Red, green, blue in [0, 1], shape (M, 3) float64.
    """
    colors = np.full((len(pos), 3), 0.5)
    exist = np.flatnonzero(~torch.isnan(pos).any(1).cpu().numpy())
    if len(exist):
        colors[exist] = palette()[_choose(pos.detach().cpu().double().numpy()[exist])]
    return torch.from_numpy(colors)


def cluster_colors(clusters: StageClusters, block: int = -1, head: int = 0) -> Tensor:
    """Color the points of a stage by the cluster they belong to.

    Args:
        clusters: one stage of one set (see `StageClusters.split`).
        block: block of the stage.
        head: head of the block.

    Returns:
        Shape (A, 3), in [0, 1]; the color of a center depends on its position alone.
    """
    return center_colors(clusters.center_pos)[clusters.cluster(block, head).cpu()]


@functools.cache
def palette() -> np.ndarray:
    """Return the colors that clusters may have, (P, 3): all pairs of a lightness and a hue."""
    return np.array([_in_gamut(lightness, hue) for lightness in LIGHTNESS for hue in HUES])


def color_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return how far colors are apart to the eye that sees the least difference: Euclidean in OKLab.

    Args:
        first: shape (..., 3), sRGB in [0, 1].
        second: shape (..., 3).
    """
    return np.minimum.reduce(
        [np.linalg.norm(_to_lab(first, eye) - _to_lab(second, eye), axis=-1) for eye in VISIONS.values()]
    )


def _choose(pos: np.ndarray) -> np.ndarray:
    """Choose a color of the palette for each center in turn."""
    low, high = pos.min(0), pos.max(0)
    pos = (pos - (low + high) / 2) / np.maximum((high - low).max() / 2, 1e-12)  # from the middle, one unit a far side
    apart, wanted = _palette_distances(), _hue_match(pos)
    chosen = np.zeros(len(pos), dtype=np.int64)
    for i in range(len(pos)):
        distance = np.linalg.norm(pos[:i] - pos[i], axis=1)
        around = np.argsort(distance, kind="stable")[:AROUND]
        near = apart[:, chosen[around[:NEAR]]].min(1, initial=ENOUGH)
        unused = apart[:, chosen[around]].min(1, initial=ENOUGH)
        chosen[i] = np.argmax(near + 0.2 * unused + 0.05 * (unused > 1e-9) + 0.02 * wanted[i])
    return chosen


def _hue_match(pos: np.ndarray) -> np.ndarray:
    """How well each color's hue fits the direction of each center, (M, P) in [-1, 1]."""
    row, column = pos[:, 0], pos[:, 1] if pos.shape[1] > 1 else np.zeros(len(pos))
    return np.cos(np.arctan2(row, column)[:, None] - np.tile(HUES, len(LIGHTNESS)))


@functools.cache
def _palette_distances() -> np.ndarray:
    return color_distance(palette()[:, None], palette()[None])


def _in_gamut(lightness: float, hue: float) -> np.ndarray:
    """Return the sRGB color of a lightness and hue, with as much chroma as the screen can show."""
    for chroma in np.linspace(CHROMA, 0, 25):
        lab = np.array([lightness, chroma * math.cos(hue), chroma * math.sin(hue)])
        linear = np.linalg.solve(TO_CONES, np.linalg.solve(TO_LAB, lab) ** 3)
        if (linear >= -1e-6).all() and (linear <= 1 + 1e-6).all():
            break
    linear = linear.clip(0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _to_lab(color: np.ndarray, eye: np.ndarray) -> np.ndarray:
    linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
    seen = (linear @ eye.T).clip(0, 1)
    return np.cbrt(seen @ TO_CONES.T) @ TO_LAB.T
