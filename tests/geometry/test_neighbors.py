"""Neighbors by distance and by windows of a lattice."""

from __future__ import annotations

import pytest
import torch
from scipy.spatial import cKDTree
from set_samples import clouds, pixels, shuffled
from torch import Tensor

from pointcoc import PointSet, concat
from pointcoc.geometry import Segments, gather_neighbors, knn, lattice_reduce, neighbors, segments
from pointcoc.geometry.neighbors import pad_segments

LINE = torch.tensor([[0.0], [1], [3], [7]], dtype=torch.float64)


def bounds(*values: int) -> Tensor:
    return torch.tensor(values)


def lattice(*sites: int, size: int) -> PointSet:
    """Sites of a lattice with one axis."""
    pos = torch.tensor(sites, dtype=torch.float64)[:, None]
    return PointSet(pos[:, :0], pos, bounds(0, len(sites)), torch.tensor([[size]]))


def test_absent_neighbors_are_zero() -> None:
    values = torch.tensor([[1.0, 2], [3, 4]], requires_grad=True)
    gathered = gather_neighbors(values, torch.tensor([[1, -1], [1, 0], [-1, -1]]))
    assert gathered.tolist() == [[[3, 4], [0, 0]], [[3, 4], [1, 2]], [[0, 0], [0, 0]]]
    assert torch.autograd.grad(gathered.sum(), values)[0].tolist() == [[1, 1], [2, 2]]
    assert gather_neighbors(values, torch.zeros(0, 3).long()).shape == (0, 3, 2)


def test_the_nearest_on_a_line(backend: str) -> None:
    query = torch.tensor([[2.9], [8.0]], dtype=torch.float64)
    index = knn(LINE, bounds(0, 4), query, bounds(0, 2), 3)
    assert index.tolist() == [[2, 1, 0], [3, 2, 1]]


def test_a_set_with_fewer_than_k_points(backend: str) -> None:
    query = torch.tensor([[0.1], [6.0], [5.0]], dtype=torch.float64)
    index = knn(LINE, bounds(0, 3, 4, 4), query, bounds(0, 1, 2, 3), 4)
    assert index.tolist() == [[0, 1, 2, -1], [3, -1, -1, -1], [-1] * 4]


def test_no_query(backend: str) -> None:
    assert knn(LINE, bounds(0, 4), LINE[:0], bounds(0, 0), 2).shape == (0, 2)


def test_the_nearest_of_a_tree(backend: str) -> None:
    points, query = clouds(40, 1, 25), clouds(7, 2, 9, seed=1)
    index = knn(points.pos, points.ptr, query.pos, query.ptr, 5)
    for begin, one, rows in zip(
        points.ptr, zip(points.split(), query.split(), strict=True), index.split([7, 2, 9]), strict=False
    ):
        found = torch.from_numpy(cKDTree(one[0].pos.numpy()).query(one[1].pos.numpy(), 5)[1])
        assert torch.equal(rows, torch.where(found < one[0].num_points, found + begin, -1))


def test_one_large_set_does_not_pad_many_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    points, query = clouds(300, 0, 1, 40, 3, 0, 41), clouds(7, 2, 9, 0, 3, 4, 5, seed=1)
    sets, asking = Segments.of(points), Segments.of(query)
    padded, tables = neighbors._knn_torch(points.pos, sets, query.pos, asking, 5), []
    monkeypatch.setattr(segments, "ALWAYS_PADDED", 0)
    monkeypatch.setattr(neighbors, "pad_segments", lambda *given: tables.append(pad_segments(*given)) or tables[-1])
    assert torch.equal(neighbors._knn_torch(points.pos, sets, query.pos, asking, 5), padded)
    assert sum(table.shape[0] * table.shape[1] for table, _ in tables) <= 2 * points.num_points


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_from_the_origin(backend: str, dtype: torch.dtype) -> None:
    points = clouds(60)
    near = (points.pos * 64).round() / 64  # such steps are exact in float32 up to 2 ** 18
    index = knn((near + 1e4).to(dtype), points.ptr, (near + 1e4).to(dtype), points.ptr, 6)
    distance = torch.cdist(near, near, compute_mode="donot_use_mm_for_euclid_dist")
    torch.testing.assert_close(distance.gather(1, index), distance.sort(dim=1)[0][:, :6])
    assert torch.equal(index[:, 0], knn(near, points.ptr, near, points.ptr, 1)[:, 0])


def test_coincident_points_are_taken_once_each(backend: str) -> None:
    pos = torch.zeros(4, 3, dtype=torch.float64)
    index = knn(pos, bounds(0, 4), pos[:1], bounds(0, 1), 4)
    assert index.sort()[0].tolist() == [[0, 1, 2, 3]]


def test_neighbors_do_not_depend_on_the_order_of_the_points(backend: str) -> None:
    points = clouds(12, 7)
    other, rows = shuffled(points)
    index = knn(points.pos, points.ptr, points.pos, points.ptr, 3)
    assert torch.equal(rows[knn(other.pos, other.ptr, points.pos, points.ptr, 3)], index)


def test_torch_cluster_is_used_where_it_is_there(monkeypatch) -> None:
    monkeypatch.setattr(neighbors, "_knn_torch_cluster", lambda *given: "torch_cluster")
    monkeypatch.setattr(neighbors, "_knn_torch", lambda *given: "torch")
    monkeypatch.setenv("POINTCOC_DISABLE_EXTENSIONS", "torch_cluster")
    assert knn(LINE, bounds(0, 4), LINE, bounds(0, 4), 1) == "torch"
    monkeypatch.delenv("POINTCOC_DISABLE_EXTENSIONS")
    pytest.importorskip("torch_cluster", reason="torch_cluster is not installed")
    assert knn(LINE, bounds(0, 4), LINE, bounds(0, 4), 1) == "torch_cluster"


def test_a_wrong_number_is_named() -> None:
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        knn(LINE, bounds(0, 4), LINE, bounds(0, 4), 0)


def test_segments_side_by_side() -> None:
    padded, present = pad_segments(LINE, Segments.from_ptr(bounds(0, 1, 1, 4)))
    assert padded.squeeze(2).tolist() == [[0, 0, 0], [0, 0, 0], [1, 3, 7]]
    assert present.tolist() == [[True, False, False], [False] * 3, [True] * 3]


@pytest.mark.parametrize(
    ("sites", "size", "window", "stride", "anchors", "rows"),
    [
        ((0, 1, 2, 3), 4, 3, 2, [0, 1], [[-1, 0, 1], [1, 2, 3]]),
        ((0, 1, 3), 4, 3, 2, [0, 1], [[-1, 0, 1], [1, -1, 2]]),
        ((0, 1, 2, 3, 4), 5, 3, 2, [0, 1, 2], [[-1, 0, 1], [1, 2, 3], [3, 4, -1]]),
        ((0, 1, 2, 3), 4, 2, 2, [0, 1], [[0, 1], [2, 3]]),
        ((0, 1, 2, 3, 4), 5, 4, 4, [0, 1], [[0, 1, 2, 3], [4, -1, -1, -1]]),
        ((5,), 8, 3, 2, [2], [[-1, -1, 0]]),
        ((4,), 8, 3, 2, [2], [[-1, 0, -1]]),
        ((0, 2), 3, 3, 1, [0, 2], [[-1, 0, -1], [-1, 1, -1]]),
        ((0,), 1, 3, 2, [0], [[-1, 0, -1]]),
    ],
)
def test_windows_on_a_line(sites, size, window, stride, anchors, rows) -> None:
    points, index = lattice_reduce(lattice(*sites, size=size), window, stride)
    assert points.pos.squeeze(1).tolist() == anchors
    assert points.sizes.tolist() == [[-(-size // stride)]]
    assert index.tolist() == rows


@pytest.mark.parametrize(("window", "stride"), [(4, 4), (3, 2)])
@pytest.mark.parametrize("height", [12, 13])
def test_interior_windows_are_the_nearest_of_their_centers(backend: str, window: int, stride: int, height: int) -> None:
    points = concat([pixels((height, 16)), pixels((9, 8))])
    anchors, index = lattice_reduce(points, window, stride)
    center = anchors.pos * stride - (window - stride + 1) // 2 + (window - 1) / 2
    nearest = knn(points.pos, points.ptr, center, anchors.ptr, window**2)
    inside = (index >= 0).all(1)
    assert inside.sum() > anchors.num_points // 3
    assert torch.equal(index[inside].sort(1)[0], nearest[inside].sort(1)[0])


def test_lattices_of_a_batch_are_reduced_alone() -> None:
    points = pixels((5, 4), (1, 7), (6, 6), kept=0.5)
    anchors, index = lattice_reduce(points, 3, 2)
    begin = 0
    for one, before in zip(points.split(), points.ptr, strict=False):
        alone, rows = lattice_reduce(one, 3, 2)
        part = slice(begin, begin := begin + alone.num_points)
        assert torch.equal(anchors.pos[part], alone.pos)
        assert torch.equal(index[part], torch.where(rows < 0, -1, rows + before))
    assert anchors.sizes.tolist() == [[3, 2], [1, 4], [3, 3]]


def test_windows_as_wide_as_the_stride_take_each_point_once() -> None:
    points = pixels((5, 7), (3, 3), kept=0.6)
    index = lattice_reduce(points, 2, 2)[1]
    assert torch.equal(index[index >= 0].sort()[0], torch.arange(points.num_points))


def test_windows_in_three_dimensions() -> None:
    sites = torch.cartesian_prod(*[torch.arange(4.0)] * 3)
    points = PointSet(sites[:, :0], sites, bounds(0, 64), torch.tensor([[4, 4, 4]]))
    anchors, index = lattice_reduce(points, 2, 2)
    assert (anchors.num_points, index.shape) == (8, (8, 8))
    assert index[0].tolist() == [0, 1, 4, 5, 16, 17, 20, 21]
