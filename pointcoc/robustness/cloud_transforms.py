"""Transformations of ModelNet40-C: clouds (N, 3) whose bounding box has its middle at 0 and its longest half side 1.

Strengths are those of the benchmark (arXiv 2201.12296, data/generate_c.py and data/distortion.py of its repository).
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from scipy.interpolate import RBFInterpolator

CONTROL_POINTS = 5
RADIUS = 0.5  # of the radial functions: that of PyGeM, which the benchmark calls


def rotation(cloud: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Turn about all three axes, about each by 0 to 5, 2.5 to 7.5, 5 to 10, 7.5 to 12.5, 12.5 to 17.5 degrees."""
    middle = (2.5, 5, 7.5, 10, 15)[strength - 1]
    degrees = draw.uniform(middle - 2.5, middle + 2.5, 3) * draw.choice((-1, 1), 3)
    for axis, angle in enumerate(np.radians(degrees)):
        cloud = cloud @ _turn(axis, angle)
    return cloud


def shear(cloud: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Add to x and to z a part of each other axis: 0 to 0.1, 0.05 to 0.15, ..., 0.2 to 0.3, either way.

    As in the benchmark, y stays what it is.
    """
    middle = (0.05, 0.1, 0.15, 0.2, 0.25)[strength - 1]
    b, d, e, f = draw.uniform(middle - 0.05, middle + 0.05, 4) * draw.choice((-1, 1), 4)
    return cloud @ np.array([[1, 0, b], [d, 1, e], [f, 0, 1]])


def free_form(cloud: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Bend space with 5 x 5 x 5 control points, each moved by up to 0.2, 0.4, ..., 1.0 along each axis.

    Free-form deformation (Sederberg and Parry 1986): the movement of a point is the mean of those of the control
    points, weighted with Bernstein polynomials over the cube [-1, 1]. The benchmark says 0.1, ..., 0.5 of the edge 2.
    """
    most = (0.2, 0.4, 0.6, 0.8, 1.0)[strength - 1]
    movements = draw.uniform(-most, most, (CONTROL_POINTS,) * 3 + (3,))
    x, y, z = np.moveaxis(_bernstein((cloud + 1) / 2), 1, 0)
    return cloud + np.einsum("na,nb,nc,abcd->nd", x, y, z, movements, optimize=True)


def radial(cloud: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Move 5 x 5 x 5 control points by 0.025, ..., 0.125 in random directions; between them a multiquadric spline."""
    return cloud + _radial(cloud, strength, draw, "multiquadric")


def inverse_radial(cloud: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Move 5 x 5 x 5 control points by 0.025, ..., 0.125; between them a spline of inverse multiquadrics."""
    return cloud + _radial(cloud, strength, draw, "inverse_multiquadric")


def _turn(axis: int, angle: float) -> np.ndarray:
    """Return the rotation (3, 3) about an axis, for rows from the left."""
    turn = np.eye(3)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    turn[first, first] = turn[second, second] = math.cos(angle)
    turn[first, second], turn[second, first] = -math.sin(angle), math.sin(angle)
    return turn


def _bernstein(place: np.ndarray) -> np.ndarray:
    """Bernstein polynomials of places in [0, 1], shape (N, 3) to (N, 3, CONTROL_POINTS)."""
    degree = CONTROL_POINTS - 1
    return np.stack(
        [math.comb(degree, k) * place**k * (1 - place) ** (degree - k) for k in range(CONTROL_POINTS)], axis=-1
    )


def _radial(cloud: np.ndarray, strength: int, draw: np.random.Generator, kernel: str) -> np.ndarray:
    """Movement of every point, shape (N, 3)."""
    control = np.array(list(product(np.linspace(-1, 1, CONTROL_POINTS), repeat=3)))
    around, down = draw.uniform(-math.pi, math.pi, (2, len(control)))
    direction = np.stack([np.cos(around) * np.sin(down), np.sin(around) * np.sin(down), np.cos(down)], axis=1)
    movements = (0.025, 0.05, 0.075, 0.1, 0.125)[strength - 1] * direction
    return RBFInterpolator(control, movements, kernel=kernel, epsilon=1 / RADIUS, degree=1)(cloud)
