"""Random solids and points on their surfaces: the geometry behind the data set `shapes`.

A solid is a profile, a line of corners (r, z) from the axis back to the axis or closed in itself, turned around the
axis z in `sides` steps: 3 or 4 sides make prisms, boxes and pyramids, many make round solids. So ten solids need ten
profiles, one function that turns them and one that samples triangles.

Shapes: n solids, K corners of the profile, V vertices, F triangles, P points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

ROUND = 48
"""Sides of a round solid: the polygon stays within 0.3 % of its circle, far below the noise of the data set."""

Draw = Callable[[float, float], np.ndarray]
"""Draws one number per solid, uniform between two bounds: the random proportions of a profile."""

Corner = tuple[float | np.ndarray, float | np.ndarray]
"""Radius and height of a corner of the profile, each one number or one per solid."""


@dataclass(frozen=True)
class Solid:
    """A family of solids.

    Attributes:
        sides: number of steps around the axis.
        profile: lists the corners (r, z), given a way to draw proportions.
    """

    sides: int
    profile: Callable[[Draw], list[Corner]]


def _arc(center: Corner, radius: float | np.ndarray, start: float, stop: float, steps: int) -> list[Corner]:
    """List the corners of an arc between two angles (radians, 0 points away from the axis, pi / 2 up)."""
    angles = np.linspace(start, stop, steps + 1)
    return [(center[0] + radius * np.cos(angle), center[1] + radius * np.sin(angle)) for angle in angles]


def _ball(draw: Draw) -> list[Corner]:
    return _arc((0.0, 0.0), 1.0, -np.pi / 2, np.pi / 2, steps=24)


def _capsule(draw: Draw) -> list[Corner]:
    height = draw(1.5, 3.0)
    bottom = _arc((0.0, 0.0), 1.0, -np.pi / 2, 0.0, steps=12)
    return [*bottom, *_arc((0.0, height), 1.0, 0.0, np.pi / 2, steps=12)]


def _column(draw: Draw) -> list[Corner]:
    height = draw(1.0, 3.0)
    return [(0.0, 0.0), (1.0, 0.0), (1.0, height), (0.0, height)]


def _half_ball(draw: Draw) -> list[Corner]:
    return [(0.0, 0.0), *_arc((0.0, 0.0), 1.0, 0.0, np.pi / 2, steps=12)]


def _spire(draw: Draw) -> list[Corner]:
    return [(0.0, 0.0), (1.0, 0.0), (0.0, draw(1.2, 2.5))]


def _torus(draw: Draw) -> list[Corner]:
    return _arc((1.0, 0.0), draw(0.2, 0.45), -np.pi, np.pi, steps=24)


def _tube(draw: Draw) -> list[Corner]:
    inner, height = draw(0.45, 0.7), draw(1.0, 3.0)
    return [(inner, 0.0), (1.0, 0.0), (1.0, height), (inner, height), (inner, 0.0)]


SOLIDS: dict[str, Solid] = {
    "ball": Solid(ROUND, _ball),
    "box": Solid(4, _column),
    "capsule": Solid(ROUND, _capsule),
    "cone": Solid(ROUND, _spire),
    "cylinder": Solid(ROUND, _column),
    "half_ball": Solid(ROUND, _half_ball),
    "prism": Solid(3, _column),
    "pyramid": Solid(4, _spire),
    "torus": Solid(ROUND, _torus),
    "tube": Solid(ROUND, _tube),
}


def solid_clouds(name: str, num_clouds: int, num_points: int, rng: np.random.Generator) -> np.ndarray:
    """Sample clouds of random solids of one family, each with its own proportions, pose, scale and noise.

    Args:
        name: one of `SOLIDS`.
        num_clouds: number of clouds n.
        num_points: number of points P of each cloud.
        rng: source of all randomness.

    Returns:
        Clouds of shape (n, P, 3), float64, about as large as the unit ball; the points of a cloud are in random order.
    """
    solid = SOLIDS[name]
    corners = solid.profile(lambda low, high: rng.uniform(low, high, num_clouds))
    vertices, faces = turned(corners, solid.sides, num_clouds)
    stretch = rng.uniform(0.8, 1.25, (num_clouds, 1, 3))  # before sampling, so that points stay uniform on the surface
    points, _ = sample_faces(to_unit_ball(vertices * stretch), faces, num_points, rng)
    return add_noise(_place(points, rng), rng)


def turned(corners: Sequence[Corner], sides: int, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Turn profiles of K corners, of `num` solids, around the axis z; see `revolve`."""
    columns = [np.broadcast_to(value, num) for corner in corners for value in corner]
    return revolve(np.stack(columns, axis=1).reshape(num, -1, 2), sides)


def revolve(profile: np.ndarray, sides: int) -> tuple[np.ndarray, np.ndarray]:
    """Turn profiles around the axis z.

    Args:
        profile: corners (r, z), shape (n, K, 2).
        sides: number of steps around the axis, 3 or more.

    Returns:
        Vertices (n, K * sides, 3), and triangles (F, 3) as rows of the vertices, the same for all n; a triangle with
        two corners on the axis has no area. The flat sides face the axes x and y, so that stretching four sides gives a
        rectangle.
    """
    angles = 2 * np.pi * (np.arange(sides) + 0.5) / sides
    radius, height = profile[:, :, None, 0], profile[:, :, None, 1]
    ring = np.broadcast_arrays(radius * np.cos(angles), radius * np.sin(angles), height)
    vertices = np.stack(ring, axis=-1).reshape(len(profile), -1, 3)
    corner, side = np.meshgrid(np.arange(profile.shape[1] - 1), np.arange(sides), indexing="ij")
    a, b = corner * sides + side, corner * sides + (side + 1) % sides
    triangles = np.stack([np.stack([a, b, a + sides], -1), np.stack([b, b + sides, a + sides], -1)])
    return vertices, triangles.reshape(-1, 3)


def sample_faces(
    vertices: np.ndarray, faces: np.ndarray, num_points: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw points on triangle meshes, uniform by area.

    Args:
        vertices: shape (n, V, 3).
        faces: rows of the corners of each triangle, shape (F, 3).
        num_points: number of points P per mesh.
        rng: source of all randomness.

    Returns:
        Points of shape (n, P, 3), and the triangle that each lies on, (n, P).
    """
    corners = vertices[:, faces]
    first, second = corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0]
    face = _choose(np.linalg.norm(np.cross(first, second), axis=-1), num_points, rng)
    # A uniform point of the unit square, folded at its diagonal, is a uniform point of the triangle.
    u, v = rng.random((2, *face.shape, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    mesh = np.arange(len(vertices))[:, None]
    return corners[mesh, face, 0] + u * first[mesh, face] + v * second[mesh, face], face


def _choose(weights: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
    """Choose `num` columns in each row of (n, F) weights, with probabilities in their proportion: shape (n, num)."""
    upper = np.cumsum(weights, axis=1)
    upper /= upper[:, -1:]
    # Row i is moved to [i, i + 1]: the whole table ascends and one search serves all rows.
    row = np.arange(len(weights))[:, None]
    found = np.searchsorted((upper + row).ravel(), rng.random((len(weights), num)) + row, side="right")
    return np.minimum(found - row * weights.shape[1], weights.shape[1] - 1)


def to_unit_ball(vertices: np.ndarray) -> np.ndarray:
    """Move the middle of the bounding box to the origin and the farthest vertex to distance 1, each of (n, V, 3).

    `pointcoc.data.unit_ball` does it for one cloud in torch, which rounds otherwise: the solids of a seed would change.
    """
    centered = vertices - (vertices.min(axis=1, keepdims=True) + vertices.max(axis=1, keepdims=True)) / 2
    return centered / np.linalg.norm(centered, axis=-1).max(axis=1)[:, None, None]


def _place(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rotate each cloud at random, scale it by 0.6 to 1 and move it by up to 0.1 along each axis."""
    scale = rng.uniform(0.6, 1.0, (len(points), 1, 1))
    offset = rng.uniform(-0.1, 0.1, (len(points), 1, 3))
    return points @ random_rotations(len(points), rng) * scale + offset


def add_noise(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Move each point of (n, P, 3) by normal noise, its deviation 0.005 to 0.02 drawn per cloud."""
    deviation = rng.uniform(0.005, 0.02, (len(points), 1, 1))
    return points + deviation * rng.standard_normal(points.shape)


def random_rotations(num: int, rng: np.random.Generator) -> np.ndarray:
    """Draw rotation matrices, uniform over all rotations, from random unit quaternions.

    Args:
        num: number of matrices.
        rng: source of all randomness.

    Returns:
        Matrices of shape (num, 3, 3), orthogonal with determinant 1.
    """
    quaternion = rng.standard_normal((num, 4))
    w, x, y, z = (quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
