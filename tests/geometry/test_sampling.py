"""The canonical order of points and farthest points."""

from __future__ import annotations

import pytest
import torch
from memory import printed_numbers
from set_samples import clouds, pixels, shuffled
from torch import Tensor

from pointcoc import PointSet
from pointcoc.geometry import Segments, canonical_order, farthest_points, sampling, segments, voxel_points
from pointcoc.geometry.neighbors import pad_segments

LINE = torch.tensor([[0.0], [1], [2], [10]], dtype=torch.float64)


def runs(*bounds: int) -> Segments:
    return Segments.from_ptr(torch.tensor(bounds))


def choose(pos: Tensor, num: int) -> list[int]:
    return farthest_points(pos, runs(0, len(pos)), torch.tensor([num])).tolist()


def test_canonical_order_on_paper() -> None:
    pos = torch.tensor([[1.0, 0], [0, 1], [0, 0], [5, 5], [-5, 9]])
    assert canonical_order(pos, runs(0, 3, 3, 5)).tolist() == [2, 1, 0, 4, 3]
    assert canonical_order(pos[:1], runs(0, 1)).tolist() == [0]
    assert canonical_order(torch.zeros(3, 2), runs(0, 3)).tolist() == [0, 1, 2]


@pytest.mark.parametrize("points", [clouds(9, 0, 4), clouds(5, 5), clouds(6, dim=1)])
def test_canonical_order_does_not_depend_on_the_order_of_the_points(points) -> None:
    other, _ = shuffled(points)
    sets = Segments.of(points)
    order, other_order = canonical_order(points.pos, sets), canonical_order(other.pos, sets)
    assert torch.equal(points.pos[order], other.pos[other_order])
    assert torch.equal(points.batch[order], points.batch)


def test_row_order_is_the_canonical_order_of_a_lattice() -> None:
    points = pixels((3, 4), (2, 2), kept=0.7)
    assert torch.equal(canonical_order(points.pos, Segments.of(points)), torch.arange(points.num_points))


@pytest.mark.parametrize("num", [1, 2, 3, 4])
def test_farthest_points_of_a_line(backend: str, num: int) -> None:
    # The mean is 3.25, so 10 is first; then 0 (10 away), 2 (2 from 0) and 1.
    assert choose(LINE, num) == [3, 0, 2, 1][:num]


def test_the_first_wins_a_tie(backend: str) -> None:
    assert choose(torch.tensor([[-1.0], [1]]), 2) == [0, 1]
    assert choose(torch.tensor([[1.0], [-1]]), 1) == [0]


def test_one_number_for_all_sets(backend: str) -> None:
    points = clouds(9, 9, 9)
    sets = Segments.of(points)
    every = farthest_points(points.pos, sets, torch.tensor([4, 4, 4]))
    assert torch.equal(farthest_points(points.pos, sets, 4), every)
    with pytest.raises(ValueError, match=r"num must be in \[1, 9\], got 10"):
        farthest_points(points.pos, sets, 10)
    with pytest.raises(ValueError, match=r"num must be in \[1, 3\], got 4 for set 1"):
        farthest_points(LINE.repeat(2, 1)[:7], runs(0, 4, 7), 4)


def test_the_first_row_as_start(backend: str) -> None:
    assert farthest_points(LINE, runs(0, 4), 3, start="first").tolist() == [0, 3, 2]
    assert farthest_points(LINE, runs(0, 1, 4), torch.tensor([1, 2]), start="first").tolist() == [0, 1, 3]
    with pytest.raises(ValueError, match="unknown start 'random'; choose from mean, first"):
        farthest_points(LINE, runs(0, 4), 3, start="random")


@pytest.mark.parametrize("num", [0, 5, -1])
def test_num_out_of_range_is_named(num: int) -> None:
    with pytest.raises(ValueError, match=rf"num must be in \[1, 4\], got {num} for set 0"):
        choose(LINE, num)
    with pytest.raises(ValueError, match=r"num must be in \[1, 3\], got 4 for set 1"):
        farthest_points(LINE, runs(0, 1, 4), torch.tensor([1, 4]))
    with pytest.raises(ValueError, match=r"num must be in \[1, 0\], got 1 for set 1"):
        farthest_points(LINE, runs(0, 4, 4), torch.tensor([1, 1]))


@pytest.mark.parametrize("num", [torch.tensor([8, 1, 17, 13]), 1])
@pytest.mark.parametrize("start", ["mean", "first"])
def test_torch_cluster_chooses_the_same(num: Tensor | int, start: str) -> None:
    pytest.importorskip("torch_cluster", reason="torch_cluster is not installed")
    points = clouds(30, 1, 17, 64)
    sets = Segments.of(points)
    first = sampling._start_points(points.pos, sets) if start == "mean" else sets.ptr[:-1]
    chosen = sampling._fps_torch_cluster(points.pos, sets, num, first)
    assert torch.equal(chosen, sampling._fps_torch(points.pos, sets, num, first))


def test_each_set_is_sampled_alone(backend: str) -> None:
    points, num = clouds(30, 1, 17, 64), torch.tensor([8, 1, 17, 13])
    together = farthest_points(points.pos, Segments.of(points), num)
    for begin, one, n, rows in zip(points.ptr, points.split(), num, together.split(num.tolist()), strict=False):
        assert torch.equal(rows, farthest_points(one.pos, Segments.of(one), n[None]) + begin)
        assert len(rows.unique()) == n


def test_memory_does_not_grow_with_the_number_chosen() -> None:
    few, many = printed_numbers("""
from pointcoc.geometry import Segments, farthest_points
pos, sets = torch.rand(50_000, 3), Segments.equal(1, 50_000, torch.device("cpu"))
for num in (100, 1_000):
    print(grown(lambda: farthest_points(pos, sets, num)))
""")
    assert few + many < 40  # a table of distances for each chosen point would take 400


def test_one_large_set_does_not_pad_many_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    points, num = clouds(300, 1, 2, 40, 3, 3, 41), torch.tensor([30, 1, 2, 7, 3, 1, 9])
    sets = Segments.of(points)
    padded, tables = sampling.farthest_points(points.pos, sets, num), []
    monkeypatch.setattr(segments, "ALWAYS_PADDED", 0)
    monkeypatch.setattr(sampling, "pad_segments", lambda *given: tables.append(pad_segments(*given)) or tables[-1])
    assert torch.equal(sampling._fps_torch(points.pos, sets, num, sampling._start_points(points.pos, sets)), padded)
    one = sampling._fps_torch(points.pos, sets, 1, sampling._start_points(points.pos, sets))
    assert torch.equal(one, padded[num.cumsum(0) - num])
    assert sum(table.shape[0] * table.shape[1] for table, _ in tables) <= 2 * 2 * points.num_points


def test_positions_with_gradients_are_sampled() -> None:
    pos = LINE.clone().requires_grad_()
    assert choose(pos, 3) == choose(LINE, 3)


def test_the_choice_does_not_depend_on_the_order_of_the_points(backend: str) -> None:
    points = clouds(20, 9)
    other, rows = shuffled(points)
    num = torch.tensor([7, 4])
    one = farthest_points(points.pos, Segments.of(points), num)
    assert torch.equal(rows[farthest_points(other.pos, Segments.of(other), num)], one)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_from_the_origin(backend: str, dtype: torch.dtype) -> None:
    points = clouds(50)
    near = (points.pos * 64).round() / 64
    chosen = farthest_points((near + 1e4).to(dtype), Segments.of(points), torch.tensor([10]))
    distance = torch.cdist(near, near[chosen], compute_mode="donot_use_mm_for_euclid_dist")
    for i in range(1, 10):  # each is as far as any point can be from those before
        to_chosen = distance[:, :i].amin(1)
        torch.testing.assert_close(to_chosen[chosen[i]], to_chosen.max())


def test_coincident_points_share_a_place(backend: str) -> None:
    pos = torch.tensor([[0.0], [0], [4], [4]], dtype=torch.float64)
    assert pos[choose(pos, 2)].sort(0)[0].tolist() == [[0], [4]]
    assert len(choose(torch.ones(3, 2), 3)) == 3


def test_voxels_of_a_line_on_paper() -> None:
    # Cells of 3 from 0: (0, 1, 2) with mean 1, and (10).
    assert voxel_points(LINE, runs(0, 4), 3.0).tolist() == [1, 3]
    assert voxel_points(LINE, runs(0, 4), 0.5).tolist() == [0, 1, 2, 3]
    # The mean of all is 3.25, and 2 is nearest.
    assert voxel_points(LINE, runs(0, 4), 100.0).tolist() == [2]
    # Each set counts from its own least coordinate: (1), then (2) and (10) from 2.
    assert voxel_points(LINE, runs(0, 2, 2, 4), 1.5).tolist() == [0, 2, 3]


def test_voxels_of_a_plane_on_paper() -> None:
    pos = torch.tensor([[0.0, 0], [0, 0.9], [0.2, 0.6], [0.9, 0.9], [1.0, 0], [1.5, 0.5]])
    # Cell (0, 0) holds four points with mean (0.275, 0.6); of the two of cell (1, 0), equally far, the first.
    assert voxel_points(pos, runs(0, 6), 1.0).tolist() == [2, 4]


def test_rounding_does_not_choose_the_point_of_a_voxel() -> None:
    pos = 0.1 * torch.cartesian_prod(*[torch.arange(4, dtype=torch.float64)] * 3)
    expected = [0, 2, 8, 10, 32, 34, 40, 42]  # of 8 corners of a cell, all equally far, the first
    for offset in (0.0, 1.0, -77.7, 1e4):
        assert voxel_points(pos + offset, runs(0, 64), 0.2).tolist() == expected


def test_coincident_points_share_a_voxel() -> None:
    assert voxel_points(torch.full((5, 3), 7.0), runs(0, 1, 5), 0.1).tolist() == [0, 1]
    assert voxel_points(torch.zeros(0, 3), runs(0, 0), 0.1).tolist() == []


@pytest.mark.parametrize("edge", [0.05, 0.3, 2.0])
def test_each_set_has_its_voxels(edge: float) -> None:
    points = clouds(60, 1, 17, 200)
    order = canonical_order(points.pos, Segments.of(points))
    points = PointSet(points.x[order], points.pos[order], points.ptr)
    together = voxel_points(points.pos, Segments.of(points), edge)
    assert torch.equal(together, together.unique())
    alone = [voxel_points(one.pos, Segments.of(one), edge) for one in points.split()]
    assert torch.equal(together, torch.cat([rows + b for rows, b in zip(alone, points.ptr, strict=False)]))
    far = voxel_points(points.pos + 1e4, Segments.of(points), edge)
    assert torch.equal(far, together)


def test_every_occupied_voxel_has_one_point() -> None:
    points = clouds(500)
    rows = voxel_points(points.pos, Segments.of(points), 0.25)
    cell = ((points.pos - points.pos.amin(0)) / 0.25).floor()
    assert len(rows) == len(cell.unique(dim=0)) == len(cell[rows].unique(dim=0))


@pytest.mark.parametrize("edge", [0.0, -1.0, float("nan"), float("inf")])
def test_edges_of_voxels_are_positive(edge: float) -> None:
    with pytest.raises(ValueError, match=f"edge must be positive, got {edge}"):
        voxel_points(LINE, runs(0, 4), edge)


def test_too_many_voxels_are_named() -> None:
    with pytest.raises(ValueError, match=r"edge 1e-13 is too small for sets that extend over 1e\+14 cells"):
        voxel_points(LINE, runs(0, 4), 1e-13)
    assert voxel_points(LINE, runs(0, 4), 1e-10).tolist() == [0, 1, 2, 3]
