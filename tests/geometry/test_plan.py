"""Plans: the geometry of all stages from positions alone."""

from __future__ import annotations

import pytest
import torch
from set_samples import (
    BACKENDS,
    cloud_stage,
    clouds,
    members,
    pixels,
    scene_stage,
    shuffled,
    stage,
    use_backend,
    without_promise,
)

from pointcoc import PointSet, concat
from pointcoc.geometry import NetworkPlan, make_plan

LATTICE = (stage(), stage(regions=1))
HOLES = pixels((8, 5), (3, 3), kept=0.6)
CLOUD = (cloud_stage(), cloud_stage(stride=3, regions=2, neighbors=3))
SCENE = (scene_stage(), scene_stage(voxel=0.5, proposals="fps"))


def assert_same(one: NetworkPlan, other: NetworkPlan, begin: int = 0) -> None:
    """Compare anchors and regions of all stages."""
    for a, b in zip(one.stages, other.stages, strict=True):
        assert torch.equal(a.anchors.pos, b.anchors.pos)
        assert torch.equal(a.anchors.ptr, b.anchors.ptr)
        assert torch.equal(members(a.regions), members(b.regions))


@pytest.mark.parametrize("size", [(8, 8), (7, 8), (5, 1), (1, 1), (9, 6)])
@pytest.mark.parametrize("window", [None, 2.0])
def test_complete_lattices_have_the_plan_of_their_points(size: tuple[int, int], window: float | None) -> None:
    stages = [stage(window=window), stage(regions=1, window=window)]
    points = pixels(size, size)
    fast, general = make_plan(points, stages), make_plan(without_promise(points), stages)
    assert_same(fast, general)
    assert fast.order is None
    assert [one.neighbors for one in fast.stages] == [None, None]
    assert [one.source_grid for one in fast.stages] == [size, tuple(-(-n // 2) for n in size)]
    assert [one.anchors.sizes.tolist() for one in fast.stages] == [one.anchors.sizes.tolist() for one in general.stages]


@pytest.mark.parametrize("window", [None, 2.0])
def test_complete_lattices_of_several_sizes_have_the_plan_of_their_points(window: float | None, monkeypatch) -> None:
    stages = [stage(window=window), stage(regions=1, window=window)]
    points = pixels((8, 8), (1, 9), (6, 5))
    general = make_plan(without_promise(points), stages)
    monkeypatch.setattr("pointcoc.geometry.plan.lattice_reduce", None)  # nothing is searched
    monkeypatch.setattr("pointcoc.geometry.plan.lattice_regions", None)
    fast = make_plan(points, stages)
    assert_same(fast, general)
    assert fast.order is None
    assert [one.canvas.grid for one in fast.stages] == [(8, 9), (4, 5)]
    assert [one.neighbors for one in fast.stages] == [one.source_grid for one in fast.stages] == [None, None]
    assert make_plan(points, stages) is not fast  # sizes of a mixed batch hardly come again


def test_plans_of_complete_lattices_are_kept() -> None:
    assert make_plan(pixels((6, 4)), LATTICE) is make_plan(pixels((6, 4), seed=1), LATTICE)
    assert make_plan(pixels((6, 4)), LATTICE) is not make_plan(pixels((4, 6)), LATTICE)


def test_plans_made_by_tracing_tools_are_not_kept() -> None:
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

    points = pixels((12, 6))
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert isinstance(make_plan(points, LATTICE).stages[0].anchors.pos, FakeTensor)
    assert not isinstance(make_plan(points, LATTICE).stages[0].anchors.pos, FakeTensor)


@pytest.mark.parametrize("points", [clouds(9, 9), clouds(9, 4), HOLES], ids=["equal", "cloud", "holes"])
def test_a_plan_of_unordered_points_made_in_inference_serves_training(points: PointSet) -> None:
    with torch.inference_mode():
        plan = make_plan(points.with_x(points.x.clone()), LATTICE if points.sizes is not None else CLOUD)
    tensors = [plan.order, plan.stages[1].neighbors, plan.stages[1].sets.index, plan.stages[1].regions.segments.index]
    assert not any(one.is_inference() for one in tensors)


def test_a_plan_of_other_points_is_refused() -> None:
    points, other = pixels((4, 4), (4, 4)), pixels((2, 8), (2, 8))
    plan = make_plan(points, LATTICE)
    plan.check(points)
    for wrong in (other, without_promise(points), pixels((4, 4))):
        with pytest.raises(ValueError, match=r"plan was made for other points: for 2 complete lattices \(4, 4\)"):
            plan.check(wrong)
    with pytest.raises(ValueError, match="plan was made for other points: for 14 points in 2 sets, got 13 points"):
        make_plan(clouds(9, 5), CLOUD).check(clouds(9, 4))
    mixed = make_plan(pixels((4, 4), (2, 2)), LATTICE)
    mixed.check(pixels((4, 4), (2, 2)))
    with pytest.raises(ValueError, match="plan was made for other points: for 20 sites of lattices of several sizes"):
        mixed.check(without_promise(pixels((4, 4), (2, 2))))


def test_a_plan_made_in_inference_serves_training() -> None:
    with torch.inference_mode():
        plan = make_plan(pixels((10, 14)), LATTICE)
    assert not plan.stages[0].anchors.pos.is_inference()
    assert not plan.stages[1].regions.members.is_inference()


def test_anchors_and_neighbors_of_clouds() -> None:
    points = clouds(11, 1, 24)
    plan = make_plan(points, CLOUD)
    assert [one.anchors.counts.tolist() for one in plan.stages] == [[6, 1, 12], [2, 1, 4]]
    first = plan.stages[0]
    assert torch.equal((first.neighbors >= 0).sum(1), torch.tensor([4] * 6 + [1] + [4] * 12))
    present = first.neighbors >= 0
    ordered = points.batch[plan.order]
    assert torch.equal(ordered[first.neighbors][present], first.anchors.batch[:, None].expand(-1, 4)[present])
    # An anchor is its own nearest neighbor.
    assert torch.equal(points.pos[plan.order][first.neighbors[:, 0]], first.anchors.pos)


def test_anchors_of_voxels_are_points_and_gather_their_nearest() -> None:
    points = clouds(200, 1, 90)
    plan = make_plan(points, SCENE)
    level = points.pos[plan.order]
    for one, edge in zip(plan.stages, (0.25, 0.5), strict=True):
        places = {tuple(place) for place in level.tolist()}
        assert all(tuple(place) in places for place in one.anchors.pos.tolist())
        assert torch.equal(level[one.neighbors[:, 0]], one.anchors.pos)
        for part in one.anchors.split():
            cell = ((part.pos - part.pos.amin(0)) / edge).floor()
            assert len(part.pos) <= 2 * len(cell.unique(dim=0))  # cells count from the points before
        level = one.anchors.pos
    assert plan.stages[1].anchors.counts.tolist()[1] == 1
    assert plan.stages[0].anchors.num_points < 291


def test_offsets_have_root_mean_square_one() -> None:
    plan = make_plan(clouds(11, 24), CLOUD)
    for one in plan.stages:
        for b in range(2):
            rows = one.anchors.batch == b
            square = one.offsets[rows].square().sum(-1)[one.neighbors[rows] >= 0].mean()
            torch.testing.assert_close(square, torch.ones_like(square))
        assert (one.offsets[one.neighbors < 0] == 0).all()


def test_one_point_and_coincident_points_have_zero_offsets() -> None:
    points = PointSet(torch.zeros(4, 3), torch.full((4, 3), 5.0), torch.tensor([0, 1, 4]))
    for one in make_plan(points, CLOUD).stages:
        assert (one.offsets == 0).all()


def test_units_and_places_do_not_matter() -> None:
    points = clouds(16, 30)
    near = PointSet(points.x, (points.pos * 2**20).round() / 2**20, points.ptr)
    far = PointSet(points.x, near.pos * 1024 + 2.0**14, points.ptr)
    one, other = make_plan(near, CLOUD), make_plan(far, CLOUD)
    assert torch.equal(one.order, other.order)
    for a, b in zip(one.stages, other.stages, strict=True):
        assert torch.equal(a.neighbors, b.neighbors)
        torch.testing.assert_close(a.offsets, b.offsets)
        assert torch.equal(members(a.regions), members(b.regions))


@pytest.mark.parametrize(
    ("points", "stages"),
    [(clouds(16, 1, 30), CLOUD), (clouds(50, 1, 90), SCENE), (HOLES, LATTICE)],
    ids=["cloud", "scene", "lattice"],
)
def test_plans_do_not_depend_on_the_order_of_the_points(points: PointSet, stages) -> None:
    other, rows = shuffled(points)
    one, two = make_plan(points, stages), make_plan(other, stages)
    assert torch.equal(rows[two.order], one.order)
    assert_same(one, two)
    for a, b in zip(one.stages, two.stages, strict=True):
        assert torch.equal(a.neighbors, b.neighbors)


@pytest.mark.parametrize(
    ("points", "stages"),
    [(clouds(16, 1, 30), CLOUD), (clouds(50, 1, 90), SCENE), (HOLES, LATTICE)],
    ids=["cloud", "scene", "lattice"],
)
def test_each_set_is_planned_alone(points: PointSet, stages) -> None:
    together = make_plan(points, stages)
    alone = [make_plan(one, stages) for one in points.split()]
    for s, one in enumerate(together.stages):
        assert torch.equal(one.anchors.pos, concat([plan.stages[s].anchors for plan in alone]).pos)
        begin = points.ptr if s == 0 else together.stages[s - 1].anchors.ptr
        shifted = [
            torch.where(plan.stages[s].neighbors < 0, -1, plan.stages[s].neighbors + b)
            for plan, b in zip(alone, begin, strict=False)
        ]
        assert torch.equal(one.neighbors, torch.cat(shifted))


@pytest.mark.parametrize("disabled", ["", "1"])
def test_backends_agree(monkeypatch, disabled: str) -> None:
    pytest.importorskip("torch_cluster", reason="torch_cluster is not installed")
    points, plans = clouds(40, 3, 25), []
    for backend in BACKENDS:
        with monkeypatch.context() as patch:
            use_backend(backend, patch)
            plans.append(make_plan(points, CLOUD))
    one, two = plans
    assert_same(one, two)
    for a, b in zip(one.stages, two.stages, strict=True):
        assert torch.equal(a.neighbors, b.neighbors)
        torch.testing.assert_close(a.offsets, b.offsets)
    monkeypatch.setenv("POINTCOC_DISABLE_EXTENSIONS", disabled)
    assert_same(one, make_plan(points, CLOUD))


@pytest.mark.parametrize(
    ("points", "stages"),
    [
        (clouds(9, 4), CLOUD),
        (clouds(40, 9), SCENE),
        (pixels((8, 8)), LATTICE),
        (pixels((8, 5), (3, 3)), LATTICE),
        (HOLES, LATTICE),
    ],
    ids=["cloud", "scene", "complete", "sizes", "holes"],
)
def test_plans_move(points: PointSet, stages) -> None:
    plan = make_plan(points, stages)
    moved = plan.to("cpu")
    assert_same(plan, moved)
    assert plan.to("meta").stages[0].anchors.pos.is_meta
    assert (moved.order is None) == (plan.order is None)


@pytest.mark.parametrize(
    ("points", "stages", "sentence"),
    [
        (clouds(3, dim=2), LATTICE, "this network reduces lattices but the points have no `sizes`"),
        (clouds(3, 0, 2), CLOUD, "set 1 of the batch has no points; every set needs at least one"),
        (pixels((2, 2), (2, 2)).take(torch.arange(4)), LATTICE, "set 1 of the batch has no points"),
        (PointSet(torch.zeros(1, 1), torch.full((1, 3), torch.nan), torch.tensor([0, 1])), CLOUD, "pos must be finite"),
        (PointSet(torch.zeros(0, 1), torch.zeros(0, 3), torch.tensor([0])), CLOUD, "the batch is empty"),
        (PointSet(torch.zeros(2, 1), torch.zeros(2, 3), torch.tensor([0, 1])), CLOUD, "ptr must run from 0 to"),
    ],
)
def test_points_that_do_not_fit_are_named(points: PointSet, stages, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make_plan(points, stages)
