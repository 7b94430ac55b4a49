"""Height above the ground, shape and spacing of points: planes and lines by hand, far from the origin, few points."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pointcoc.data import auto_voxels, height_above_ground, local_normals, local_shape, median_spacing
from pointcoc.data.scene_features import SHAPE_NAMES

UTM = torch.tensor([5e5, 4e6, 300.0], dtype=torch.float64)


def plane(side: int = 40, slope: float = 0.0) -> Tensor:
    """Grid of a spacing of 1, with noise in its places that keeps its spacing."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    place = torch.stack([rows, columns], -1).flatten(0, 1).double()
    return torch.cat([place, slope * place[:, :1]], 1)


def test_height_of_a_house_on_flat_ground_and_far_from_the_origin() -> None:
    ground = plane()
    house = ground[((ground[:, :2] - 20).abs() <= 4).all(1)] + torch.tensor([0, 0, 7.5])
    pos = torch.cat([ground, house])
    height = height_above_ground(pos, 12.0)
    torch.testing.assert_close(height[: len(ground)], torch.zeros(len(ground)), rtol=0, atol=1e-6)
    torch.testing.assert_close(height[len(ground) :], torch.full((len(house),), 7.5), rtol=0, atol=1e-6)
    assert torch.equal(height_above_ground(pos + UTM, 12.0), height)
    assert height.dtype == torch.float32


def test_the_ground_under_a_roof_is_that_around_it_if_the_radius_reaches() -> None:
    ground = plane()
    is_under = ((ground[:, :2] - 20).abs() <= 4).all(1)
    pos = ground + torch.where(is_under, 5.0, 0.0)[:, None] * torch.tensor([0, 0, 1.0])
    torch.testing.assert_close(height_above_ground(pos, 12.0)[is_under], torch.full((81,), 5.0), rtol=0, atol=1e-6)
    assert float(height_above_ground(pos, 1.0)[is_under].max()) == 0


def test_the_ground_follows_a_slope() -> None:
    pos = plane(80, slope=0.5)
    height = height_above_ground(pos, 8.0)
    is_inside = ((pos[:, :2] > 20) & (pos[:, :2] < 60)).all(1)
    assert float(height[is_inside].abs().max()) < 0.5 * 4 * 1.01  # of a cell of 4 the lowest point is the ground


def test_one_point_far_below_is_no_ground() -> None:
    ground = plane()
    pos = torch.cat([ground, torch.tensor([[20.5, 20.5, -30.0]], dtype=torch.float64)])
    height = height_above_ground(pos, 10.0)
    torch.testing.assert_close(height[:-1], torch.zeros(len(ground)), rtol=0, atol=1e-6)
    assert float(height[-1]) == -30


def test_height_does_not_depend_on_the_order_and_memory_not_on_the_extent() -> None:
    torch.manual_seed(0)
    pos = torch.rand(500, 3, dtype=torch.float64) * 20
    order = torch.randperm(500)
    assert torch.equal(height_above_ground(pos[order], 3.0), height_above_ground(pos, 3.0)[order])
    far = torch.cat([pos, pos + 1e6])
    torch.testing.assert_close(height_above_ground(far, 3.0)[:500], height_above_ground(pos, 3.0), rtol=0, atol=1e-4)
    assert height_above_ground(pos[:1], 3.0).tolist() == [0]


def test_shapes_by_hand() -> None:
    flat = dict(zip(SHAPE_NAMES, local_shape(plane(21))[10 * 21 + 10], strict=True))
    assert float(flat["planarity"]) == pytest.approx(1 - float(flat["linearity"]), abs=1e-6)
    assert max(abs(float(flat[name])) for name in ("scattering", "change_of_curvature", "verticality")) < 1e-6
    upright = local_shape(plane(21)[:, [2, 0, 1]])[10 * 21 + 10]
    assert float(upright[SHAPE_NAMES.index("verticality")]) == pytest.approx(1)
    line = torch.zeros(30, 3)
    line[:, 1] = torch.arange(30)
    torch.testing.assert_close(local_shape(line)[:, 0], torch.ones(30), rtol=0, atol=1e-4)
    # The six neighbors on the axes and the point itself: the same spread along each axis.
    star = torch.cat([torch.zeros(1, 3), torch.eye(3), -torch.eye(3)])
    torch.testing.assert_close(local_shape(star, 7)[0, :4], torch.tensor([0, 0, 1, 1 / 3]), rtol=0, atol=1e-6)
    assert local_shape(torch.ones(5, 3)).tolist() == [[0.0] * 5] * 5
    assert local_shape(torch.ones(1, 3)).tolist() == [[0.0] * 5]


def test_shapes_far_from_the_origin_in_chunks_and_turned(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    pos = torch.rand(300, 3, dtype=torch.float64)
    shape = local_shape(pos)
    torch.testing.assert_close(local_shape(pos + UTM), shape, rtol=0, atol=1e-5)
    turn = torch.tensor([[math.cos(1), math.sin(1), 0], [-math.sin(1), math.cos(1), 0], [0, 0, 1]], dtype=pos.dtype)
    torch.testing.assert_close(local_shape(pos @ turn), shape, rtol=0, atol=1e-5)
    torch.testing.assert_close(local_shape(pos, (16, 40)), torch.cat([shape, local_shape(pos, 40)], 1))
    monkeypatch.setattr("pointcoc.data.scene_features.CHUNK", 7)
    monkeypatch.setattr("pointcoc.data.scene_features.MOST_PAIRS", 200)
    torch.testing.assert_close(local_shape(pos), shape, rtol=0, atol=1e-6)


def test_normals_point_up() -> None:
    pos = plane(21, slope=1.0)
    expected = torch.tensor([-1, 0, 1]).float().div(math.sqrt(2)).expand(441, 3)
    torch.testing.assert_close(local_normals(pos + UTM), expected, rtol=0, atol=1e-5)


def test_spacing_and_voxels() -> None:
    assert median_spacing(0.02 * plane() + UTM) == pytest.approx(0.02, rel=1e-5)
    twice = torch.cat([plane(), plane()])  # points that are there twice have another one at a distance
    assert median_spacing(twice) == pytest.approx(1)
    assert auto_voxels(0.02) == (0.05, 0.1, 0.2, 0.4)
    assert auto_voxels(0.811, 2) == (2.03, 4.06)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: height_above_ground(torch.zeros(4, 2), 1.0),
            r"pos must have shape \(N, 3\), N at least 1, got \(4, 2\)",
        ),
        (lambda: height_above_ground(torch.zeros(0, 3), 1.0), "N at least 1"),
        (lambda: height_above_ground(torch.zeros(4, 3), 0.0), "radius must be positive, got 0"),
        (lambda: local_shape(torch.zeros(4, 3), 2), "num_neighbors must be at least 3, got 2"),
        (lambda: median_spacing(torch.ones(4, 3)), "points at more than one place, got 4 at"),
    ],
)
def test_what_is_refused(call, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()
