"""Sums over runs of rows, with and without torch-scatter."""

from __future__ import annotations

import pytest
import torch
from set_samples import clouds, pixels

from pointcoc.geometry import Segments, segment_mean, segment_sum, spread
from pointcoc.geometry.segments import scatter_sum, segment_extreme

UNEVEN = Segments.from_ptr(torch.tensor([0, 2, 2, 5]))
EVEN = Segments.from_ptr(torch.tensor([0, 2, 4]))
COLUMN = torch.arange(1.0, 6, dtype=torch.float64)[:, None]


@pytest.fixture(params=["torch_scatter", "torch"])
def _sums(request, monkeypatch) -> None:
    """Run a test with torch-scatter and without it."""
    if request.param == "torch":
        monkeypatch.setenv("POINTCOC_DISABLE_EXTENSIONS", "1")
    else:
        monkeypatch.delenv("POINTCOC_DISABLE_EXTENSIONS", raising=False)
        pytest.importorskip("torch_scatter", reason="torch_scatter is not installed")


def test_segments_of_bounds() -> None:
    assert (UNEVEN.num, UNEVEN.size, UNEVEN.counts.tolist()) == (3, None, [2, 0, 3])
    assert UNEVEN.index.tolist() == [0, 0, 2, 2, 2]
    assert (EVEN.num, EVEN.size, EVEN.index.tolist()) == (2, 2, [0, 0, 1, 1])
    none = Segments.from_ptr(torch.tensor([0]))
    assert (none.num, none.size, none.index.tolist()) == (0, None, [])


@pytest.mark.parametrize(("num", "size"), [(3, 2), (1, 1), (2, 0), (0, 3)])
def test_equal_segments(num: int, size: int) -> None:
    equal, bounds = Segments.equal(num, size, torch.device("cpu")), torch.arange(num + 1) * size
    assert torch.equal(equal.ptr, bounds)
    assert torch.equal(equal.index, Segments.from_ptr(bounds).index)
    assert (equal.num, equal.size) == (num, size)


def test_segments_of_points() -> None:
    complete = Segments.of(pixels((2, 3), (2, 3)))
    assert (complete.size, complete.ptr.tolist()) == (6, [0, 6, 12])
    assert Segments.of(clouds(1, 0, 2)).ptr.tolist() == [0, 1, 1, 3]


def test_segments_move() -> None:
    moved = UNEVEN.to("meta")
    assert (moved.ptr.device.type, moved.index.device.type, moved.size) == ("meta", "meta", None)


@pytest.mark.usefixtures("_sums")
def test_sums_and_means_on_paper() -> None:
    assert segment_sum(COLUMN, UNEVEN).tolist() == [[3], [0], [12]]
    assert segment_mean(COLUMN, UNEVEN).tolist() == [[1.5], [0], [4]]
    assert segment_sum(COLUMN[:4], EVEN).tolist() == [[3], [7]]
    assert segment_mean(COLUMN[:4], EVEN).tolist() == [[1.5], [3.5]]


@pytest.mark.usefixtures("_sums")
@pytest.mark.parametrize("shape", [(5,), (5, 2), (5, 2, 3)])
def test_sums_of_any_shape_and_their_gradients(shape: tuple[int, ...]) -> None:
    values = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    total = segment_sum(values, UNEVEN)
    torch.testing.assert_close(total, scatter_sum(values, UNEVEN.index, 3))
    weight = torch.randn_like(total)
    torch.testing.assert_close(torch.autograd.grad(total, values, weight)[0], weight[UNEVEN.index])
    assert torch.autograd.gradcheck(lambda rows: segment_mean(rows, UNEVEN), values)


def test_spread_is_the_adjoint_of_the_sum() -> None:
    table = torch.randn(3, 2, dtype=torch.float64)
    assert torch.equal(spread(table, UNEVEN), table[[0, 0, 2, 2, 2]])
    assert torch.equal(spread(table[:2], EVEN), table[[0, 0, 1, 1]])


def test_extremes_on_paper() -> None:
    values = torch.tensor([[1.0, -1], [3, -5], [2, 2], [-4, 0], [0, 7]])
    assert segment_extreme(values, UNEVEN, "amin").tolist() == [[1, -5], [0, 0], [-4, 0]]
    assert segment_extreme(values, UNEVEN, "amax").tolist() == [[3, -1], [0, 0], [2, 7]]
    assert segment_extreme(torch.tensor([[5], [3]]), Segments.from_ptr(torch.tensor([0, 2])), "amin").tolist() == [[3]]


def test_means_of_many_rows_in_half_precision() -> None:
    values = torch.ones(140_000, 1, dtype=torch.float16)
    mean = segment_mean(values, Segments.from_ptr(torch.tensor([0, 70_000, 140_000])))
    assert mean.dtype == torch.float16
    assert mean.tolist() == [[1], [1]]
    assert segment_mean(values, Segments.from_ptr(torch.tensor([0, 100_000, 140_000]))).tolist() == [[1], [1]]
