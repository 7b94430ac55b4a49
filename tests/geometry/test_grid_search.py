"""The search in a grid against the comparison of all points: the same rows in the same order, ties included."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pointcoc.geometry import Segments, grid_search, knn, neighbors
from pointcoc.geometry.grid_search import knn_grid
from pointcoc.pointset import counts_to_ptr


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def walls(n: int) -> Tensor:
    """The walls of a room, a little rough."""
    pos = rand(n, 3) * torch.tensor([10, 8, 3])
    rows = torch.arange(n)
    pos[rows, rows % 3] = torch.where(rows % 2 == 0, 0.0, 3.0).double() + 0.01 * rand(n, seed=1)
    return pos


def clusters(n: int) -> Tensor:
    """Heaps of which the widest is 10,000 times as wide as the narrowest."""
    heap = torch.arange(n) % 12
    return rand(12, 3, seed=2)[heap] + 10.0 ** (-heap[:, None] / 3) * rand(n, 3)


def lattice(n: int) -> Tensor:
    """Full of equal distances."""
    return torch.cartesian_prod(*[torch.arange(12, dtype=torch.float64)] * 3)[:n] * 0.1


def coincident(n: int) -> Tensor:
    """A tenth of all points at one place, the others in pairs."""
    pos = rand(n, 3)
    pos[1::2] = pos[: n - 1 : 2]
    return torch.where(torch.arange(n)[:, None] % 10 == 0, pos[:1], pos)


def outliers(n: int) -> Tensor:
    """Two points so far away that the others share the smallest cell."""
    pos = rand(n, 3)
    pos[[0, n // 2]] = torch.tensor([[1e9, 0, 0], [0, -1e8, 5]], dtype=torch.float64)
    return pos


SHAPES = {
    "room": walls,
    "clusters": clusters,
    "lattice": lattice,
    "coincident": coincident,
    "outliers": outliers,
    "one place": lambda n: torch.full((n, 3), 0.3, dtype=torch.float64),
    "plane": lambda n: rand(n, 2),
    "line": lambda n: rand(n, 1),
}


def split(num: int, *shares: float) -> Segments:
    counts = [int(num * share) for share in shares]
    return Segments.from_ptr(counts_to_ptr(torch.tensor([*counts, num - sum(counts)])))


def assert_same(pos: Tensor, sets: Segments, query: Tensor, query_sets: Segments, k: int) -> None:
    expected = neighbors._knn_torch(pos, sets, query, query_sets, k)
    assert torch.equal(knn_grid(pos, sets, query, query_sets, k), expected)


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_result_of_comparing_all(shape: str, dtype: torch.dtype, offset: float) -> None:
    pos = (SHAPES[shape](1200) + offset).to(dtype)
    query = torch.cat([pos[::7], pos[::31] + 0.013, pos[:5] + 3])
    sets, query_sets = split(len(pos), 0.6, 0.002, 0.0), split(len(query), 0.5, 0.2, 0.1)
    for k in (1, 6, 24):
        assert_same(pos, sets, query, query_sets, k)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_sets_of_few_points(k: int) -> None:
    pos, counts = rand(40, 3), torch.tensor([1, 0, 2, 7, 3, 0, 27])
    sets = Segments.from_ptr(counts_to_ptr(counts))
    assert_same(pos, sets, pos, sets, k)
    every = Segments.from_ptr(counts_to_ptr(torch.tensor([2] * 7)))
    assert_same(pos, sets, rand(14, 3, seed=4), every, k)


def test_no_query_and_no_point() -> None:
    pos = rand(9, 3)
    assert knn_grid(pos[:0], split(0), pos, split(9), 2).tolist() == [[-1, -1]] * 9
    assert knn_grid(pos, split(9), pos[:0], split(0), 4).shape == (0, 4)


def test_pieces_do_not_matter(monkeypatch) -> None:
    pos = coincident(700)
    whole = knn_grid(pos, split(700), pos, split(700), 5)
    monkeypatch.setattr(grid_search, "MOST_QUERIES", 100)
    monkeypatch.setattr(grid_search, "MOST_PAIRS", 333)
    assert torch.equal(knn_grid(pos, split(700), pos, split(700), 5), whole)


def test_many_sets_have_larger_cells() -> None:
    pos = rand(3000, 3)
    sets = Segments.equal(300, 10, pos.device)
    assert_same(pos, sets, pos, sets, 4)


def test_large_sets_are_searched_in_a_grid(monkeypatch) -> None:
    monkeypatch.setenv("POINTCOC_DISABLE_EXTENSIONS", "1")
    pos, ptr = rand(5000, 3), torch.tensor([0, 600, 5000])
    query, query_ptr = pos[::50], torch.tensor([0, 12, 100])
    expected = knn(pos, ptr, query, query_ptr, 9)
    monkeypatch.setattr(neighbors, "knn_grid", None)
    monkeypatch.setattr(neighbors, "LARGE", 5000)
    assert torch.equal(knn(pos, ptr, query, query_ptr, 9), expected)


def test_nothing_compares_all_points_of_large_sets(monkeypatch) -> None:
    monkeypatch.setenv("POINTCOC_DISABLE_EXTENSIONS", "1")
    monkeypatch.setattr(neighbors, "_knn_torch", None)
    pos, ptr = rand(4097, 3), torch.tensor([0, 4097])
    assert knn(pos, ptr, pos, ptr, 1).squeeze(1).tolist() == list(range(4097))
