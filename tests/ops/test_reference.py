"""The reference backend a few regions at a time, and what its scores are computed in."""

from __future__ import annotations

import pytest
import torch
from kept import kept_for_backward, num_bytes
from set_samples import clouds
from torch import Tensor

from pointcoc import ClusterOptions, context_cluster
from pointcoc.geometry.regions import Regions, cloud_regions, grid_regions
from pointcoc.ops import reference as module

REGIONS = {
    "alike": grid_regions((4, 6), 2, (2, 2), 2, torch.device("cpu")),
    "equal clouds": cloud_regions(clouds(12, 12, 12), 1, None, "fps", 3, 4),
    "ragged": cloud_regions(clouds(9, 1, 14), 2, None, "fps", 3, 2),
}


def outputs(regions: Regions, options: ClusterOptions) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    num = regions.segments.index.shape[0]
    sizes = [(num, 2, 3), (num, 2, 4), (1,), (1,)]
    given = [torch.randn(size, generator=generator, dtype=torch.float64, requires_grad=True) for size in sizes]
    f, v, alpha, beta = given
    y, assignment = context_cluster(f, v, regions, alpha, beta, options, "reference")
    loss = (y.cumsum(0) * y).sum() + assignment.similarity.square().sum()
    return [y, assignment.center, assignment.similarity, *torch.autograd.grad(loss, given)]


@pytest.mark.parametrize("num_bytes", [1, 500])
@pytest.mark.parametrize("options", [ClusterOptions(), ClusterOptions(assignment="soft", iterations=2)])
@pytest.mark.parametrize("regions", REGIONS.values(), ids=REGIONS)
def test_few_regions_at_a_time_change_nothing(
    regions: Regions, options: ClusterOptions, num_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = outputs(regions, options)
    monkeypatch.setitem(module.SCORE_BYTES, "cpu", num_bytes)
    assert len(module._parts(torch.empty(3, 2, 12, 3, dtype=torch.float64), 3)) == 3
    for one, other in zip(outputs(regions, options), at_once, strict=True):
        torch.testing.assert_close(one, other)


def test_scores_of_large_inputs_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """49 centers: scores of all points would take more memory than f and v together."""
    regions = grid_regions((56, 56), 1, (4, 4), 7, torch.device("cpu"))
    f, v = (torch.randn(3136, 1, 24, requires_grad=True) for _ in range(2))
    alpha, beta = torch.ones(1), torch.zeros(1)
    monkeypatch.setitem(module.SCORE_BYTES, "cpu", 196 * 49 * 4)
    kept = kept_for_backward(lambda: context_cluster(f, v, regions, alpha, beta, backend="reference"))
    assert num_bytes(kept) < 1.5 * num_bytes([f, v])


def test_autocast_leaves_scores_in_float32() -> None:
    regions = REGIONS["alike"]
    f, v = (torch.randn(48, 2, 8, generator=torch.Generator().manual_seed(0)) for _ in range(2))
    alpha, beta = torch.ones(1), torch.zeros(1)
    _, expected = context_cluster(f, v, regions, alpha, beta, backend="reference")
    with torch.autocast("cpu", torch.bfloat16):
        _, assignment = context_cluster(f, v, regions, alpha, beta, backend="reference")
    assert torch.equal(assignment.similarity, expected.similarity)
