"""Coordinates as features: the paper's numbers, or Fourier features of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

COORDINATES = ("numbers", "fourier")


def fourier_features(coordinates: Tensor, frequencies: int) -> Tensor:
    """Describe coordinates by sines and cosines of rising frequency.

    Tancik et al., Fourier Features Let Networks Learn High Frequency Functions (NeurIPS 2020), with the frequencies of
    NeRF (ECCV 2020): for k = 0 to frequencies - 1 the sines of pi 2^k c, one for each axis, then the cosines. With
    coordinates from -0.5 to 0.5, the first sine tells all places apart, and each further k halves the wave.

    Args:
        coordinates: numbers from -0.5 to 0.5, shape (..., D).
        frequencies: number of frequencies, F.

    Returns:
        Shape (..., 2 F D) in the dtype of `coordinates`; computed in float32 or better.
    """
    exact = coordinates.to(torch.promote_types(coordinates.dtype, torch.float32))
    waves = math.pi * 2.0 ** torch.arange(frequencies, device=exact.device, dtype=exact.dtype)
    angles = exact[..., None, :] * waves[:, None]
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2).to(coordinates.dtype)


def encode_coordinates(coordinates: Tensor, kind: str, frequencies: int) -> Tensor:
    """Return coordinates (..., D) as the features that a network reads, one of `COORDINATES`.

    Args:
        coordinates: numbers from -0.5 to 0.5.
        kind: "numbers" for the coordinates themselves, "fourier" for `fourier_features`.
        frequencies: of "fourier".
    """
    return coordinates if kind == "numbers" else fourier_features(coordinates, frequencies)
