"""Corruptions of clouds keep what each promises: counts, bounds, angles, and the same result for the same seed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from pointcoc.robustness import CLOUD_CORRUPTIONS, STRENGTHS, corrupt_cloud
from pointcoc.robustness.cloud_density import visible
from pointcoc.robustness.cloud_transforms import free_form, inverse_radial, radial
from pointcoc.robustness.drawing import generator

GROWING = (
    "uniform_noise", "gaussian_noise", "impulse_noise", "rotation", "shear", "free_form", "radial", "inverse_radial",
)  # fmt: skip


def sphere(num_points: int = 1024) -> Tensor:
    """Points on the unit sphere, evenly spread on a spiral; the box is the cube [-1, 1] but for less than 0.01."""
    height = 1 - 2 * (torch.arange(num_points, dtype=torch.float64) + 0.5) / num_points
    angle = math.pi * (3 - math.sqrt(5)) * torch.arange(num_points)
    flat = (1 - height**2).sqrt()
    return torch.stack([flat * angle.cos(), height, flat * angle.sin()], dim=1)


def boxed(cloud: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Middle and half of the longest side of the box, and the cloud in these terms."""
    low, high = cloud.amin(0), cloud.amax(0)
    middle, half = (low + high) / 2, (high - low).max() / 2
    return middle, half, (cloud - middle) / half


def is_among(points: Tensor, cloud: Tensor) -> Tensor:
    return (torch.cdist(points, cloud, compute_mode="donot_use_mm_for_euclid_dist") < 1e-9).any(1)


@pytest.mark.parametrize("kind", CLOUD_CORRUPTIONS)
def test_the_same_seed_gives_the_same_cloud_and_others_differ(kind: str) -> None:
    cloud = sphere(256)
    first = corrupt_cloud(cloud, kind, 3, seed=5, index=7)
    assert torch.equal(first, corrupt_cloud(cloud, kind, 3, seed=5, index=7))
    assert first.dtype == torch.float64
    assert first.isfinite().all()
    for other in (corrupt_cloud(cloud, kind, 3, seed=6, index=7), corrupt_cloud(cloud, kind, 3, seed=5, index=8)):
        assert first.shape != other.shape or not torch.equal(first, other)


@pytest.mark.parametrize("kind", CLOUD_CORRUPTIONS)
def test_scale_and_place_of_a_cloud_do_not_matter(kind: str) -> None:
    cloud, offset = sphere(200), torch.tensor([5.0, -2.0, 0.5], dtype=torch.float64)
    expected = 4 * corrupt_cloud(cloud, kind, 2) + offset
    torch.testing.assert_close(corrupt_cloud(4 * cloud + offset, kind, 2), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("kind", CLOUD_CORRUPTIONS)
@pytest.mark.parametrize("num_points", [1, 2, 3, 5, 12])
def test_few_points(kind: str, num_points: int) -> None:
    corrupted = corrupt_cloud(sphere(num_points).float(), kind, 5)
    assert len(corrupted) >= 1
    assert corrupted.isfinite().all()
    assert corrupted.dtype == torch.float32


@pytest.mark.parametrize("kind", ["occlusion", "lidar"])
def test_flat_and_coincident_points(kind: str) -> None:
    flat = sphere(100) * torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    assert len(corrupt_cloud(flat, kind, 1)) > 50
    assert len(corrupt_cloud(torch.ones(9, 3), kind, 1)) >= 1


@pytest.mark.parametrize(
    ("kind", "counts"),
    [
        ("density_increase", [1024] * 5),
        ("density_decrease", [1024 - 75 * strength for strength in STRENGTHS]),
        ("cutout", [1024 - 30 * patches for patches in (2, 3, 5, 7, 10)]),
        ("uniform_noise", [1024] * 5),
        ("gaussian_noise", [1024] * 5),
        ("impulse_noise", [1024] * 5),
        ("upsampling", [1024 + 1024 // part for part in (5, 4, 3, 2, 1)]),
        ("background_noise", [1024 + 1024 // part for part in (45, 40, 35, 30, 20)]),
        ("rotation", [1024] * 5),
        ("free_form", [1024] * 5),
    ],
)
def test_numbers_of_points(kind: str, counts: list[int]) -> None:
    assert [len(corrupt_cloud(sphere(), kind, strength)) for strength in STRENGTHS] == counts


@pytest.mark.parametrize("kind", GROWING)
def test_movement_grows_with_strength(kind: str) -> None:
    cloud = sphere(300)
    moved = [
        sum(float((corrupt_cloud(cloud, kind, strength, index=i) - cloud).norm(dim=1).mean()) for i in range(12))
        for strength in STRENGTHS
    ]
    assert moved == sorted(moved)
    assert moved[0] < 0.6 * moved[4]


@pytest.mark.parametrize("strength", STRENGTHS)
def test_noise_is_within_its_bounds(strength: int) -> None:
    _, half, cloud = boxed(sphere())
    uniform = (corrupt_cloud(sphere(), "uniform_noise", strength) - sphere()).abs() / half
    assert 0.0099 * strength < uniform.max() <= 0.01 * strength + 1e-12
    gaussian = corrupt_cloud(sphere(), "gaussian_noise", strength)
    assert boxed(sphere())[2].abs().max() <= 1
    clipped = (gaussian - boxed(sphere())[0]) / half
    assert clipped.abs().max() <= 1 + 1e-12
    inside = cloud.abs().amax(1) < 0.8
    deviation = (clipped - cloud)[inside].std()
    assert deviation == pytest.approx((0.01, 0.015, 0.02, 0.025, 0.03)[strength - 1], rel=0.06)


@pytest.mark.parametrize(("strength", "part"), [*zip(STRENGTHS, (30, 25, 20, 15, 10))])
def test_impulses_hit_their_share_by_a_tenth(strength: int, part: int) -> None:
    _, half, _ = boxed(sphere())
    moved = (corrupt_cloud(sphere(), "impulse_noise", strength) - sphere()) / half
    hit = moved.abs().amax(1) > 1e-9
    assert int(hit.sum()) == 1024 // part
    torch.testing.assert_close(moved[hit].abs(), torch.full_like(moved[hit], 0.1), rtol=0, atol=1e-9)


def test_added_points_are_near_the_cloud_or_anywhere_in_its_cube() -> None:
    middle, half, _ = boxed(sphere())
    more = corrupt_cloud(sphere(), "upsampling", 5)
    torch.testing.assert_close(more[:1024], sphere(), rtol=0, atol=1e-12)
    assert torch.cdist(more[1024:] / half, sphere() / half).amin(1).max() <= 0.05 * math.sqrt(3)
    background = (corrupt_cloud(sphere(), "background_noise", 5)[1024:] - middle) / half
    assert background.abs().max() <= 1
    assert (background.norm(dim=1) < 0.8).any()
    assert (background.norm(dim=1) > 1.2).any()


@pytest.mark.parametrize(
    ("strength", "degrees"), [*zip(STRENGTHS, [(0, 5), (2.5, 7.5), (5, 10), (7.5, 12.5), (12.5, 17.5)])]
)
def test_rotations_are_rotations_within_their_angles(strength: int, degrees: tuple[float, float]) -> None:
    middle, _, _ = boxed(sphere())
    cloud = sphere() - middle
    matrix = torch.linalg.lstsq(cloud, corrupt_cloud(sphere(), "rotation", strength) - middle).solution
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-9)
    assert torch.linalg.det(matrix) == pytest.approx(1)
    # What is left of a turn about x, then y, then z: entries that hold one angle each.
    angles = torch.stack(
        [
            torch.atan2(-matrix[1, 2], matrix[2, 2]),
            torch.asin(matrix[0, 2]),
            torch.atan2(-matrix[0, 1], matrix[0, 0]),
        ]
    )
    low, high = degrees
    assert ((angles.rad2deg().abs() >= low - 1e-6) & (angles.rad2deg().abs() <= high + 1e-6)).all()


@pytest.mark.parametrize("strength", STRENGTHS)
def test_shear_leaves_the_upright_and_is_within_its_bounds(strength: int) -> None:
    middle, _, _ = boxed(sphere())
    sheared = corrupt_cloud(sphere(), "shear", strength)
    torch.testing.assert_close(sheared[:, 1], sphere()[:, 1], rtol=0, atol=1e-12)
    matrix = torch.linalg.lstsq(sphere() - middle, sheared - middle).solution
    torch.testing.assert_close(matrix.diagonal(), torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-9)
    parts = torch.stack([matrix[0, 2], matrix[1, 0], matrix[1, 2], matrix[2, 0]]).abs()
    assert ((parts > 0.05 * (strength - 1) - 1e-9) & (parts < 0.05 * (strength + 1) + 1e-9)).all()


@pytest.mark.parametrize("corruption", [radial, inverse_radial])
def test_splines_move_their_control_points_by_exactly_what_they_promise(corruption) -> None:
    axis = np.linspace(-1, 1, 5)
    control = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    for strength in STRENGTHS:
        moved = np.linalg.norm(corruption(control, strength, generator(0, "x", strength, 0)) - control, axis=1)
        np.testing.assert_allclose(moved, 0.025 * strength, atol=1e-9)


def test_free_form_moves_corners_with_their_control_points_and_the_middle_with_the_weighted_mean() -> None:
    cloud = np.array([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    moved = free_form(cloud, 2, generator(3, "free_form", 2, 0)) - cloud
    movements = generator(3, "free_form", 2, 0).uniform(-0.4, 0.4, (5, 5, 5, 3))
    weights = np.array([1, 4, 6, 4, 1]) / 16
    middle = np.einsum("a,b,c,abcd->d", weights, weights, weights, movements)
    np.testing.assert_allclose(moved, [movements[0, 0, 0], movements[-1, -1, -1], middle], atol=1e-12)


@pytest.mark.parametrize("kind", ["density_decrease", "cutout", "occlusion"])
def test_removed_points_are_removed_and_no_others_change(kind: str) -> None:
    assert is_among(corrupt_cloud(sphere(), kind, 4), sphere()).all()


def test_a_cutout_is_a_hole() -> None:
    left = corrupt_cloud(sphere(), "cutout", 1)
    gone = sphere()[~is_among(sphere(), left)]
    assert len(gone) == 60
    spacing = torch.cdist(sphere(), sphere()).topk(2, largest=False).values[:, 1].max()
    assert torch.cdist(gone, left).amin(1).max() > 2 * spacing


def test_denser_patches_have_twice_the_points_and_the_rest_pays_for_them() -> None:
    dense = corrupt_cloud(sphere(), "density_increase", 5)
    kept = is_among(dense, sphere())
    assert int((~kept).sum()) == 5 * 50
    assert (dense[~kept].norm(dim=1) > 0.95).all()  # between neighbors on the sphere
    assert len(torch.unique(dense, dim=0)) == 1024


@pytest.mark.parametrize("distance", [3.0, 5.0])
def test_of_a_sphere_the_cap_before_the_horizon_is_visible(distance: float) -> None:
    cloud = sphere().numpy()
    seen = visible(cloud, np.array([0.0, 0.0, distance]))
    is_seen = np.isin(np.arange(len(cloud)), seen)
    assert is_seen[cloud[:, 2] > 1 / distance].all()
    assert not is_seen[cloud[:, 2] < 1 / distance - 0.15].any()


def test_a_wall_hides_what_is_behind_it() -> None:
    axis = np.linspace(-1, 1, 21)
    x, y = (values.ravel() for values in np.meshgrid(axis, axis))
    wall = np.stack([x, y, np.zeros_like(x)], axis=1)
    behind = np.stack([x, y, np.full_like(x, -0.6)], axis=1) * (0.5, 0.5, 1)
    seen = visible(np.concatenate([wall, behind]), np.array([0.0, 0.0, 3.0]))
    assert (seen < len(wall)).all()
    assert len(seen) > 0.95 * len(wall)


def test_strengths_of_occlusion_look_from_all_around_above() -> None:
    middles = torch.stack([corrupt_cloud(sphere(), "occlusion", strength).mean(0) for strength in STRENGTHS])
    assert (middles[:, 1] > 0.2).all()
    azimuth = torch.atan2(middles[:, 2], middles[:, 0]).rad2deg() % 360
    expected = torch.tensor([72.0, 144.0, 216.0, 288.0, 360.0], dtype=torch.float64)
    assert (((azimuth - expected + 180) % 360 - 180).abs() < 45).all()


def test_lidar_points_lie_on_scan_lines_and_near_where_they_were() -> None:
    middle, half, cloud = boxed(sphere())
    scan = (corrupt_cloud(sphere(), "lidar", 2) - middle) / half
    draw = generator(0, "lidar", 2, 0)
    azimuth = 2 * math.pi * 2 / 5 + draw.uniform(-math.pi / 5, math.pi / 5)
    up = math.radians(22.5)
    sensor = 5 * torch.tensor(
        [math.cos(up) * math.cos(azimuth), math.sin(up), math.cos(up) * math.sin(azimuth)], dtype=torch.float64
    )
    ray = scan - sensor
    degrees = torch.asin(ray[:, 1] / ray.norm(dim=1)).rad2deg()
    assert (degrees - degrees.round()).abs().max() < 1e-6
    assert 15 < len(degrees.round().unique()) < 30
    assert torch.cdist(scan, cloud).amin(1).max() < 6 * math.radians(0.5)
    assert 0.3 < len(scan) / 1024 < 0.5


@pytest.mark.parametrize(
    ("pos", "kind", "strength", "sentence"),
    [
        (torch.zeros(4, 3), "rain", 1, "unknown kind 'rain'; choose from occlusion, lidar, density_increase, "),
        (torch.zeros(4, 3), "shear", 6, "strength must be one of 1, 2, 3, 4, 5, got 6"),
        (torch.zeros(4, 2), "shear", 1, r"pos must have shape \(N, 3\) with N > 0, got \(4, 2\)"),
        (torch.zeros(0, 3), "shear", 1, r"got \(0, 3\)"),
    ],
)
def test_mistakes(pos: Tensor, kind: str, strength: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        corrupt_cloud(pos, kind, strength)
