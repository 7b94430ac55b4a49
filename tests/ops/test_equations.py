"""Each equation of Context Clusters on numbers a reader can check."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pointcoc.ops import Assignment, aggregate, assign, dispatch, score, unit, weights
from pointcoc.ops.equations import exact


def tensor(*values) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


ONE, ZERO = tensor(1.0), tensor(0.0)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_half_precision_becomes_single(given: torch.dtype, found: torch.dtype) -> None:
    assert exact(torch.ones(2, dtype=given)).dtype == found


def test_unit_vectors() -> None:
    torch.testing.assert_close(unit(tensor([3.0, 4.0], [0.0, -2.0])), tensor([0.6, 0.8], [0.0, -1.0]))


def test_the_zero_vector_has_no_direction() -> None:
    x = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    y = unit(x)
    assert torch.equal(y, torch.zeros_like(x))
    assert torch.isfinite(torch.autograd.grad(y.sum(), x)[0]).all()


def test_score_is_a_scaled_and_shifted_cosine() -> None:
    center, point = tensor([1.0, 0.0], [0.0, 5.0]), tensor([2.0, 0.0], [3.0, 4.0], [-1.0, 0.0])
    expected = 0.5 + 2 * tensor([1.0, 0.6, -1.0], [0.0, 0.8, 0.0])
    torch.testing.assert_close(score(center, point, tensor(2.0), tensor(0.5)), expected)
    exists = torch.tensor([[True], [False]])
    assert score(center, point, ONE, ZERO, exists)[1].tolist() == [-math.inf] * 3


def test_assign_takes_the_highest_and_the_first_on_ties() -> None:
    assignment = assign(tensor([0.0, 1.0, 2.0], [1.0, 1.0, 0.0], [-1.0, 1.0, -torch.inf]))
    assert assignment.center.tolist() == [1, 0, 0]
    torch.testing.assert_close(assignment.similarity, torch.sigmoid(tensor(1.0, 1.0, 2.0)))


def test_weights_are_similarities_at_the_center() -> None:
    assignment = Assignment(torch.tensor([1, 0]), tensor(0.25, 0.75))
    assert weights(assignment, 3).tolist() == [[0, 0.75], [0.25, 0], [0, 0]]


def test_aggregate_on_paper() -> None:
    value, center, weight = tensor([2.0], [3.0]), tensor([1.0], [7.0]), tensor([0.5, 0.5], [0.0, 0.0])
    # (1 + 0.5 * 2 + 0.5 * 3) / (1 + 0.5 + 0.5), or over 1 + 2 points; a center without points keeps its value.
    assert aggregate(value, center, weight).tolist() == [[1.75], [7.0]]
    torch.testing.assert_close(aggregate(value, center, weight, "count"), tensor([3.5 / 3], [7.0]))


def test_dispatch_on_paper() -> None:
    center, weight = tensor([1.0, 2.0], [10.0, 20.0]), tensor([0.5, 0.0], [0.0, 0.25])
    assert dispatch(center, weight).tolist() == [[0.5, 1.0], [2.5, 5.0]]


@pytest.mark.parametrize(("m", "n"), [(1, 1), (3, 1), (1, 4), (3, 5)])
def test_gradients_of_the_composition(m: int, n: int) -> None:
    generator = torch.Generator().manual_seed(0)

    def cluster(center: Tensor, point: Tensor, value: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        weight = weights(assign(score(center, point, alpha, beta)), m)
        return dispatch(aggregate(value, center, weight), weight)

    sizes = [(2, m, 3), (2, n, 3), (2, n, 3), (1,), (1,)]
    inputs = [torch.randn(size, generator=generator, dtype=torch.float64, requires_grad=True) for size in sizes]
    assert torch.autograd.gradcheck(cluster, inputs)
    assert cluster(*inputs).shape == (2, n, 3)
