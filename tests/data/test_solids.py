"""Solids: meshes with the right area and volume, points uniform by area, rotations uniform."""

import numpy as np
import pytest

from pointcoc.data.solids import ROUND, SOLIDS, random_rotations, revolve, sample_faces, solid_clouds


def mesh(*corners, sides=ROUND):
    return revolve(np.array([corners], dtype=float), sides)


def middle(low, high):
    """Draw the middle of the bounds for one solid."""
    return np.array([(low + high) / 2])


def area_and_volume(vertices, faces):
    a, b, c = np.moveaxis(vertices[0][faces], 1, 0)
    normal = np.cross(b - a, c - a)
    return np.linalg.norm(normal, axis=1).sum() / 2, (a * normal).sum() / 6


def test_revolved_rectangle_with_four_sides_is_a_box():
    area, volume = area_and_volume(*mesh((0, 0), (np.sqrt(2), 0), (np.sqrt(2), 3), (0, 3), sides=4))
    assert area == pytest.approx(2 * 4 + 4 * 6) and volume == pytest.approx(12)


def test_box_faces_the_axes():
    vertices, _ = mesh((0, 0), (np.sqrt(2), 0), (np.sqrt(2), 3), (0, 3), sides=4)
    assert set(np.round(vertices[0, :, :2].ravel(), 6) + 0.0) == {-1.0, 0.0, 1.0}


def test_revolved_rectangle_with_many_sides_is_a_cylinder():
    area, volume = area_and_volume(*mesh((0, 0), (1, 0), (1, 2), (0, 2)))
    assert area == pytest.approx(6 * np.pi, rel=5e-3) and volume == pytest.approx(2 * np.pi, rel=5e-3)


def test_tube_is_closed_in_itself():
    area, volume = area_and_volume(*mesh((0.5, 0), (1, 0), (1, 2), (0.5, 2), (0.5, 0)))
    assert volume == pytest.approx(1.5 * np.pi, rel=5e-3)
    assert area == pytest.approx(2 * np.pi * 2 * 1.5 + 2 * np.pi * 0.75, rel=5e-3)


def test_points_lie_on_the_surface_and_are_uniform_by_area():
    rng = np.random.default_rng(0)
    points = sample_faces(*mesh((0, 0), (1, 0), (1, 4), (0, 4)), 20000, rng)[0][0]
    radius, height = np.hypot(points[:, 0], points[:, 1]), points[:, 2]
    side = (height > 1e-9) & (height < 4 - 1e-9)
    assert side.mean() == pytest.approx(0.8, abs=0.01)  # 8 pi of 10 pi
    assert radius[side].min() > np.cos(np.pi / ROUND) - 1e-9 and radius.max() < 1 + 1e-9
    assert np.mean(height[side] < 1) == pytest.approx(0.25, abs=0.015)
    assert np.mean(radius[~side] ** 2 < 0.5) == pytest.approx(0.5, abs=0.03)


def test_points_on_a_ball_are_uniform():
    """Archimedes: the height of a uniform point of a sphere is uniform."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, 49)
    points = sample_faces(*mesh(*zip(np.cos(angles), np.sin(angles), strict=True)), 20000, np.random.default_rng(0))[0]
    assert np.histogram(points[0, :, 2], bins=10, range=(-1, 1))[0] / 20000 == pytest.approx(np.full(10, 0.1), abs=0.01)


def test_triangles_without_area_get_no_points():
    vertices = np.array([[[0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 5, 0.0]]])
    points = sample_faces(vertices, np.array([[0, 1, 2], [0, 1, 3], [2, 1, 0]]), 1000, np.random.default_rng(0))[0]
    assert (points[..., 0] <= 1 - points[..., 1] / 5 + 1e-9).all() and points[..., 1].max() > 4


def test_each_mesh_gets_its_own_points():
    vertices, faces = revolve(np.array([[(0, 0), (1, 0), (0, 1)], [(0, 5), (1, 5), (0, 6)]], dtype=float), 4)
    points = sample_faces(vertices, faces, 100, np.random.default_rng(0))[0]
    assert points.shape == (2, 100, 3)
    assert points[0, :, 2].max() < 1 + 1e-9 and points[1, :, 2].min() > 5 - 1e-9


def test_rotations_are_rotations_and_uniform():
    rotation = random_rotations(4000, np.random.default_rng(0))
    assert rotation @ rotation.transpose(0, 2, 1) == pytest.approx(np.broadcast_to(np.eye(3), (4000, 3, 3)))
    assert np.linalg.det(rotation) == pytest.approx(np.ones(4000))
    assert np.abs(rotation.mean(axis=0)).max() < 0.05
    assert (rotation**2).mean(axis=0) == pytest.approx(np.full((3, 3), 1 / 3), abs=0.03)


@pytest.mark.parametrize("name", SOLIDS)
def test_clouds_are_finite_different_and_of_the_size_of_the_unit_ball(name):
    clouds = solid_clouds(name, 5, 200, np.random.default_rng(0))
    assert clouds.shape == (5, 200, 3) and np.isfinite(clouds).all()
    reach = np.linalg.norm(clouds, axis=-1).max(axis=1)
    assert (reach > 0.4).all() and (reach < 1.3).all()
    assert np.abs(clouds[0] - clouds[1]).max() > 0.1


@pytest.mark.parametrize("name", SOLIDS)
def test_surfaces_are_closed(name):
    """Every edge of a closed surface belongs to two triangles, once in each direction."""
    profile = np.array([[np.broadcast_to(v, 1)[0] for v in corner] for corner in SOLIDS[name].profile(middle)])
    vertices, faces = revolve(profile[None], SOLIDS[name].sides)
    _, merged = np.unique(vertices[0].round(9) + 0.0, axis=0, return_inverse=True)
    triangles = [t for t in merged[faces] if len(set(t)) == 3]
    edges = {(t[i], t[(i + 1) % 3]) for t in triangles for i in range(3)}
    assert len(edges) == 3 * len(triangles) and all((b, a) in edges for a, b in edges)
