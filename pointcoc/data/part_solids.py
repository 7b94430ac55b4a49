"""Random objects of named parts: the geometry behind the data set `part_shapes`.

An object is a list of pieces: solids turned around the axis z (see `pointcoc.data.solids`), each stretched, laid along
an axis and moved to its place. The proportions of every object are its own.

Shapes: n objects, V vertices, F triangles, P points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pointcoc.data.solids import Draw, add_noise, sample_faces, to_unit_ball, turned

ROUND = 24
Number = float | np.ndarray
Triple = tuple[Number, Number, Number]
Mesh = tuple[np.ndarray, np.ndarray]
AXES = {"x": (2, 1, 0), "y": (0, 2, 1), "z": (0, 1, 2)}
COLUMN = ((0.0, -0.5), (1.0, -0.5), (1.0, 0.5), (0.0, 0.5))
CONE = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
CUP = ((0.0, -0.5), (1.0, -0.5), (1.0, 0.5), (0.9, 0.5), (0.9, -0.45), (0.0, -0.45))


@dataclass(frozen=True)
class Piece:
    """A part of an object, or one of its copies.

    Attributes:
        part: name of the part.
        mesh: vertices (n, V, 3) and triangles (F, 3).
    """

    part: str
    mesh: Mesh


def _put(mesh: Mesh, size: Triple, place: Triple, axis: str = "z") -> Mesh:
    """Stretch a mesh by `size`, lay its axis z along another, and move it to `place`."""
    num = len(mesh[0])
    scale, offset = (np.stack([np.broadcast_to(one, num) for one in each], axis=1)[:, None] for each in (size, place))
    return (mesh[0] * scale)[..., AXES[axis]] + offset, mesh[1]


def _box(size: Triple, place: Triple, num: int) -> Mesh:
    # Four sides turned at radius 1 have edges of the square root of 2.
    width, depth, height = size
    return _put(turned(COLUMN, 4, num), (width / 2**0.5, depth / 2**0.5, height), place)


def _rod(radius: Number, length: Number, place: Triple, num: int) -> Mesh:
    return _put(turned(COLUMN, ROUND, num), (radius, radius, length), place)


def _legs(draw: Draw, width: Number, depth: Number, height: Number, num: int) -> list[Piece]:
    """Four legs below the height 0, under the corners of a board."""
    thick = draw(0.08, 0.16)
    places = [(x * (width - thick) / 2, y * (depth - thick) / 2, -height / 2) for x in (-1, 1) for y in (-1, 1)]
    return [Piece("legs", _box((thick, thick, height), place, num)) for place in places]


def _chair(draw: Draw, num: int) -> list[Piece]:
    width, depth, thick, high = draw(0.8, 1.1), draw(0.8, 1.1), draw(0.08, 0.16), draw(0.8, 1.3)
    seat = Piece("seat", _box((width, depth, thick), (0.0, 0.0, thick / 2), num))
    back = Piece("back", _box((width, thick, high), (0.0, (depth - thick) / 2, thick + high / 2), num))
    return [back, seat, *_legs(draw, width, depth, draw(0.6, 1.0), num)]


def _hammer(draw: Draw, num: int) -> list[Piece]:
    length, radius = draw(1.6, 2.4), draw(0.07, 0.12)
    wide, thick = draw(0.7, 1.1), draw(0.16, 0.26)
    head = Piece("head", _put(turned(COLUMN, ROUND, num), (thick, thick, wide), (0.0, 0.0, length / 2), "x"))
    return [Piece("grip", _rod(radius, length, (0.0, 0.0, 0.0), num)), head]


def _lamp(draw: Draw, num: int) -> list[Piece]:
    height, radius, wide, high = draw(1.2, 2.0), draw(0.05, 0.1), draw(0.45, 0.75), draw(0.4, 0.7)
    top = draw(0.4, 0.8)
    foot, thick = draw(0.35, 0.6), draw(0.08, 0.16)
    screen = ((1.0, -0.5), (top, 0.5), (0.95 * top, 0.5), (0.95, -0.5), (1.0, -0.5))
    return [
        Piece("base", _rod(foot, thick, (0.0, 0.0, thick / 2), num)),
        Piece("pole", _rod(radius, height, (0.0, 0.0, thick + height / 2), num)),
        Piece("shade", _put(turned(screen, ROUND, num), (wide, wide, high), (0.0, 0.0, thick + height), "z")),
    ]


def _mug(draw: Draw, num: int) -> list[Piece]:
    radius, height = draw(0.5, 0.8), draw(1.0, 1.6)
    ring, thin = height * draw(0.28, 0.4), draw(0.12, 0.2)
    arc = [(1 + thin * np.cos(angle), thin * np.sin(angle)) for angle in np.linspace(-np.pi, np.pi, 13)]
    whole, faces = turned(arc, ROUND, num)
    outer = faces[(whole[0, faces, 0] > -1e-9).all(1)]  # half of the ring, outside of the body
    handle = _put((whole, outer), (ring, ring, ring), (radius, 0.0, 0.0), "y")
    return [
        Piece("body", _put(turned(CUP, ROUND, num), (radius, radius, height), (0.0, 0.0, 0.0))),
        Piece("handle", handle),
    ]


def _rocket(draw: Draw, num: int) -> list[Piece]:
    radius, height, tip = draw(0.25, 0.4), draw(1.2, 2.0), draw(0.5, 0.9)
    reach, high = draw(0.3, 0.5), draw(0.4, 0.7)
    away, low = radius + reach / 2, -height / 2 + high / 2
    fins: list[tuple[Triple, Triple]] = [
        *(((reach, 0.06, high), (side * away, 0.0, low)) for side in (-1, 1)),
        *(((0.06, reach, high), (0.0, side * away, low)) for side in (-1, 1)),
    ]
    return [
        Piece("body", _rod(radius, height, (0.0, 0.0, 0.0), num)),
        *(Piece("fins", _box(size, place, num)) for size, place in fins),
        Piece("nose", _put(turned(CONE, ROUND, num), (radius, radius, tip), (0.0, 0.0, height / 2))),
    ]


def _table(draw: Draw, num: int) -> list[Piece]:
    width, depth, thick = draw(1.2, 2.0), draw(0.8, 1.4), draw(0.08, 0.16)
    top = Piece("top", _box((width, depth, thick), (0.0, 0.0, thick / 2), num))
    return [*_legs(draw, width, depth, draw(0.7, 1.1), num), top]


OBJECTS: dict[str, Callable[[Draw, int], list[Piece]]] = {
    "chair": _chair,
    "hammer": _hammer,
    "lamp": _lamp,
    "mug": _mug,
    "rocket": _rocket,
    "table": _table,
}
PARTS: dict[str, tuple[str, ...]] = {
    "chair": ("back", "legs", "seat"),
    "hammer": ("grip", "head"),
    "lamp": ("base", "pole", "shade"),
    "mug": ("body", "handle"),
    "rocket": ("body", "fins", "nose"),
    "table": ("legs", "top"),
}
"""Names of the parts of each category; over all categories in this order they are the classes 0 to 14."""


def part_clouds(name: str, num: int, num_points: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Sample clouds of random objects of one category: upright, turned about the axis z, with scale and noise.

    Args:
        name: one of `OBJECTS`.
        num: number of objects n.
        num_points: number of points P of each.
        rng: source of all randomness.

    Returns:
        Clouds (n, P, 3), float64, about as large as the unit ball, and the row of each point in `PARTS[name]`, (n, P).
    """
    pieces = OBJECTS[name](lambda low, high: rng.uniform(low, high, num), num)
    starts = np.cumsum([0, *(piece.mesh[0].shape[1] for piece in pieces[:-1])])
    vertices = np.concatenate([piece.mesh[0] for piece in pieces], axis=1)
    faces = np.concatenate([piece.mesh[1] + start for piece, start in zip(pieces, starts, strict=True)])
    part = np.repeat([PARTS[name].index(piece.part) for piece in pieces], [len(piece.mesh[1]) for piece in pieces])
    points, face = sample_faces(to_unit_ball(vertices), faces, num_points, rng)
    return add_noise(_turn(points, rng), rng), part[face]


def _turn(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn each cloud about the axis z by any angle and scale it by 0.7 to 1."""
    angle, scale = rng.uniform(0, 2 * np.pi, len(points)), rng.uniform(0.7, 1.0, (len(points), 1, 1))
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    x, y, z = np.moveaxis(points, -1, 0)
    return np.stack([cos * x - sin * y, sin * x + cos * y, z], axis=-1) * scale
