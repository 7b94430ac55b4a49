"""Cells counted from the least coordinate, and their numbers along curves."""

from __future__ import annotations

import pytest
import torch
from set_samples import clouds, shuffled
from torch import Tensor

from pointcoc.geometry import Segments, canonical_order, hilbert_keys, hilbert_order
from pointcoc.geometry.curves import cell_keys, cells_from_low, interleave


def runs(*bounds: int) -> Segments:
    return Segments.from_ptr(torch.tensor(bounds))


def cells(bits: int, dim: int) -> Tensor:
    """All cells of a cube, in row order."""
    return torch.cartesian_prod(*[torch.arange(2**bits)] * dim).view(-1, dim)


def along_curve(bits: int, dim: int) -> list[tuple[int, ...]]:
    every = cells(bits, dim)
    return [tuple(cell) for cell in every[hilbert_keys(every, bits).argsort()].tolist()]


def test_cells_on_paper() -> None:
    pos = torch.tensor([[-1.0, 7], [0.4, 9], [0.5, 7], [3, 3], [4, 4]])
    cell, place = cells_from_low(pos, runs(0, 3, 5), 1.5)
    assert cell.tolist() == [[0, 0], [0, 1], [1, 0], [0, 0], [0, 0]]
    assert place[1].tolist() == pytest.approx([1.4 / 1.5, 2 / 1.5])
    assert place.dtype == torch.float64


def test_rounding_does_not_decide_the_cell() -> None:
    steps = torch.arange(50, dtype=torch.float64)[:, None]
    for offset in (0.0, 1e4, -123.4):
        cell = cells_from_low(0.1 * steps + offset, runs(0, 50), 0.1)[0]
        assert torch.equal(cell, steps.long())


def test_keys_of_cells_rise_by_set_and_row_order() -> None:
    cell = torch.tensor([[0, 2], [1, 0], [1, 1], [0, 0], [0, 0], [3, 0]])
    assert cell_keys(cell, runs(0, 3, 6)).tolist() == [2, 3, 4, 12, 12, 21]
    assert cell_keys(cell[:0], runs(0, 0)).tolist() == []


def test_keys_of_many_cells_do_not_overflow() -> None:
    cell = torch.tensor([[0, 5, 1], [2**39, 5, 0], [0, 2**39, 0], [0, 5, 2**39], [0, 5, 1]])
    key = cell_keys(cell, runs(0, 5))
    assert key.argsort(stable=True).tolist() == [0, 4, 3, 2, 1]
    assert key[0] == key[4]
    assert (key >= 0).all()


def test_interleaved_bits_on_paper() -> None:
    assert interleave(torch.tensor([[0b101, 0b011]])).tolist() == [0b100111]
    assert interleave(torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [2, 0, 1]])).tolist() == [4, 2, 1, 33]
    assert interleave(torch.tensor([[2**20 - 1] * 3])).tolist() == [2**60 - 1]
    assert interleave(cells(4, 1)).tolist() == list(range(16))


def test_the_curve_of_4_and_of_16_squares_on_paper() -> None:
    assert along_curve(1, 2) == [(0, 0), (0, 1), (1, 1), (1, 0)]
    # Four curves of 2 x 2: the first and the last are mirrored at a diagonal, so that ends meet.
    first, last = [(0, 0), (1, 0), (1, 1), (0, 1)], [(3, 1), (2, 1), (2, 0), (3, 0)]
    between = [(0, 2), (0, 3), (1, 3), (1, 2), (2, 2), (2, 3), (3, 3), (3, 2)]
    assert along_curve(2, 2) == [*first, *between, *last]


def test_the_curve_of_8_cubes_on_paper() -> None:
    lower = [(0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0)]
    assert along_curve(1, 3) == [*lower, (1, 1, 0), (1, 1, 1), (1, 0, 1), (1, 0, 0)]


@pytest.mark.parametrize(("bits", "dim"), [(0, 2), (1, 1), (5, 1), (2, 2), (6, 2), (2, 3), (4, 3)])
def test_consecutive_cells_are_neighbors(bits: int, dim: int) -> None:
    every = cells(bits, dim)
    key = hilbert_keys(every, bits)
    assert sorted(key.tolist()) == list(range(2 ** (bits * dim)))
    steps = every[key.argsort()].diff(dim=0).abs().sum(1)
    assert (steps == 1).all()


@pytest.mark.parametrize(("bits", "dim"), [(3, 2), (2, 3)])
def test_a_larger_cell_is_one_part_of_the_curve(bits: int, dim: int) -> None:
    every = cells(bits, dim)
    parts = hilbert_keys(every, bits) >> dim
    for cell in cells(bits - 1, dim):
        assert len(parts[(every >> 1 == cell).all(1)].unique()) == 1


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_points_follow_the_curve_set_by_set(dim: int) -> None:
    points = clouds(40, 0, 1, 25, dim=dim)
    sets = Segments.of(points)
    order = hilbert_order(points.pos, sets)
    assert torch.equal(points.batch[order], points.batch)
    for begin, one, rows in zip(points.ptr, points.split(), order.split([40, 0, 1, 25]), strict=False):
        assert torch.equal(rows, hilbert_order(one.pos, Segments.of(one)) + begin)


def test_the_curve_does_not_depend_on_order_unit_or_place() -> None:
    points = clouds(50, 30)
    other, rows = shuffled(points)
    order = hilbert_order(points.pos, Segments.of(points))
    assert torch.equal(rows[hilbert_order(other.pos, Segments.of(other))], order)
    assert torch.equal(hilbert_order(points.pos + 1e4, Segments.of(points)), order)
    assert torch.equal(hilbert_order(points.pos * 1e-3, Segments.of(points)), order)


def test_a_flat_set_keeps_its_shape() -> None:
    """The curve goes through a cube: the first half of a long set is the half with the lower coordinates."""
    pos = torch.rand(64, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([100.0, 1, 1])
    half = pos[hilbert_order(pos, runs(0, 64))][:, 0] < (pos[:, 0].min() + pos[:, 0].max()) / 2
    assert (half.int().diff() != 0).sum() == 1


def test_ties_keep_their_order() -> None:
    pos = torch.tensor([[1.0, 1], [0, 0], [1, 1], [1e-9, 0], [0, 0]])
    assert hilbert_order(pos, runs(0, 5)).tolist() == [1, 3, 4, 0, 2]
    assert hilbert_order(torch.ones(4, 2), runs(0, 4)).tolist() == [0, 1, 2, 3]
    assert hilbert_order(pos[:0], runs(0, 0)).tolist() == []
    assert canonical_order(pos[:0], runs(0, 0)).tolist() == []
