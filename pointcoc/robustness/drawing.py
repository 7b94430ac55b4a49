"""Random numbers of a corruption, and which corruptions there are."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np

from pointcoc.checks import check_choice

STRENGTHS = (1, 2, 3, 4, 5)
"""Strengths of every corruption, weakest first."""

Corruption = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
"""Maps a cloud (N, 3) or an image (H, W, C), a strength and random numbers to what is corrupted."""


def generator(seed: int, kind: str, strength: int, index: int) -> np.random.Generator:
    """Return the random numbers of one item under one corruption, the same on every machine and in any order.

    Args:
        seed: seed of the measurement, 0 or more.
        kind: name of the corruption.
        strength: of the corruption.
        index: number of the item in its data set.
    """
    return np.random.default_rng([seed, zlib.crc32(kind.encode()), strength, index])


def check_corruption(kind: object, strength: object, kinds: tuple[str, ...]) -> None:
    """Raise unless a kind and a strength exist.

    Args:
        kind: what came.
        strength: what came.
        kinds: the kinds there are.

    Raises:
        ValueError: the message holds what came and all choices.
    """
    check_choice("kind", kind, kinds)
    if strength not in STRENGTHS:
        raise ValueError(f"strength must be one of {', '.join(map(str, STRENGTHS))}, got {strength!r}")
