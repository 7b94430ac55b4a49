"""The cluster operation: every backend against loops over regions, heads, centers and points."""

from __future__ import annotations

import itertools

import pytest
import torch
from set_samples import clouds, pixels, shuffled
from torch import Tensor

from pointcoc import ClusterOptions, concat, context_cluster
from pointcoc.geometry import RaggedRegions, Segments
from pointcoc.geometry.regions import Regions, cell_regions, cloud_regions, grid_regions, lattice_regions
from pointcoc.ops.operators import OPERATIONS

CPU = torch.device("cpu")
OPTIONS = [
    ClusterOptions(normalizer=normalizer, assignment=assignment, iterations=iterations)
    for normalizer, assignment, iterations in itertools.product(("similarity", "count"), ("hard", "soft"), (1, 3))
]
NAMES = ("f", "v", "alpha", "beta")
eager_backends = pytest.mark.parametrize("backend", ["reference", "ragged"])
all_options = pytest.mark.parametrize(
    "options", OPTIONS, ids=lambda one: f"{one.normalizer}-{one.assignment}-{one.iterations}"
)


def lists(bounds: list[int], pairs: list[tuple[int, int]], num_centers: int) -> RaggedRegions:
    """Regions from bounds and pairs (row, number of the proposal)."""
    point, center = torch.tensor(pairs).T
    return RaggedRegions(Segments.from_ptr(torch.tensor(bounds)), point, center, num_centers)


CASES: dict[str, Regions] = {
    "one point": lists([0, 1], [(0, 0)], 1),
    "one point, three proposals": lists([0, 1, 2], [(0, 0), (1, 3)], 3),
    "tiles": grid_regions((4, 6), 2, (2, 2), 2, CPU),
    "tiles that share sites": grid_regions((5, 5), 1, (1, 1), 2, CPU),
    "tiles smaller than their proposals": grid_regions((4, 4), 2, (2, 2), 3, CPU),
    "cells that differ by a site": cell_regions(pixels((5, 7), (3, 3)), 2, None, 2),
    "holes": lattice_regions(pixels((6, 5), (3, 4), kept=0.6), 2, None, 2),
    "cells of clouds": cloud_regions(clouds(20, 1, 33), 2, None, "cells", 2, 1),
    "equal clouds, farthest points": cloud_regions(clouds(12, 12), 1, None, "fps", 3, 2),
    "clouds, farthest points": cloud_regions(clouds(9, 1, 14), 2, None, "fps", 3, 2),
    "proposals without points": lists([0, 3, 7], [(0, 1), (2, 1), (1, 2), (3, 3), (6, 3), (5, 3)], 3),
}
SMALL = {name: regions for name, regions in CASES.items() if regions.segments.num <= 12}  # for slow loops
all_cases = pytest.mark.parametrize("regions", CASES.values(), ids=CASES.keys())


def inputs(regions: Regions, heads: int = 2, dim: int = 3, seed: int = 0) -> list[Tensor]:
    """Features, values, scale and shift that ask for gradients."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(regions.segments.index), heads, dim)
    sizes = [shape, (*shape[:2], dim + 1), (1,), (1,)]
    return [torch.randn(size, generator=generator, dtype=torch.float64, requires_grad=True) for size in sizes]


def outputs(arguments: list[Tensor], regions: Regions, options: ClusterOptions, backend: str):
    """Values, assignment, and gradients of a weighted sum of both."""
    f, v, alpha, beta = arguments
    y, assignment = context_cluster(f, v, regions, alpha, beta, options, backend)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    loss = (y * weight).sum() + (assignment.similarity * weight[..., 0]).sum()
    return y, assignment, torch.autograd.grad(loss, arguments)


def assert_same(one, other) -> None:
    assert torch.equal(one[1].center, other[1].center)
    torch.testing.assert_close(one[0], other[0])
    torch.testing.assert_close(one[1].similarity, other[1].similarity)
    for name, a, b in zip(NAMES, one[2], other[2], strict=True):
        torch.testing.assert_close(a, b, msg=lambda text, name=name: f"gradient of {name}: {text}")


def by_loops(arguments: list[Tensor], regions: Regions, options: ClusterOptions) -> tuple[Tensor, Tensor]:
    """The equations written as loops."""
    f, v, alpha, beta = (one.detach() for one in arguments)
    members, m = regions.ragged(), regions.num_centers
    y, chosen = torch.zeros_like(v), torch.zeros(f.shape[:2], dtype=torch.int64)
    for region, head in itertools.product(range(regions.segments.num), range(f.shape[1])):
        rows = (regions.segments.index == region).nonzero().flatten().tolist()
        own = [members.member_point[members.member_center == region * m + i].tolist() for i in range(m)]
        there = [i for i in range(m) if own[i]]
        center_f, center_v = ({i: x[own[i], head].mean(0) for i in there} for x in (f, v))
        for step in range(options.iterations):
            s = {
                (i, j): torch.sigmoid(beta + alpha * torch.cosine_similarity(center_f[i], f[j, head], dim=0, eps=1e-12))
                for i in there
                for j in rows
            }
            best = {j: max(there, key=lambda i: (s[i, j].item() if alpha != 0 else 0, -i)) for j in rows}
            pairs = [(i, j) for i, j in s if options.assignment == "soft" or best[j] == i]
            if step + 1 < options.iterations:
                center_f = {i: blend(center_f[i], i, pairs, s, f[:, head], "similarity") for i in there}
        for i, j in pairs:
            y[j, head] += s[i, j] * blend(center_v[i], i, pairs, s, v[:, head], options.normalizer)
        for j in rows:
            chosen[j, head] = best[j]
    return y, chosen


def blend(center: Tensor, i: int, pairs, s, x: Tensor, normalizer: str) -> Tensor:
    """(c_i + sum_j s_ij x_j) / (1 + sum_j s_ij), or over 1 + number of points."""
    own = [j for k, j in pairs if k == i]
    total = sum(s[i, j] if normalizer == "similarity" else 1 for j in own)
    return (center + sum(s[i, j] * x[j] for j in own)) / (1 + total)


@eager_backends
def test_two_points_and_their_mean(backend: str) -> None:
    one = lists([0, 2], [(0, 0), (1, 0)], 1)
    f = torch.tensor([1.0, -1], dtype=torch.float64).view(2, 1, 1)
    v = torch.tensor([3.0, 5], dtype=torch.float64).view(2, 1, 1)
    # The center is (1 - 1) / 2 = 0: all cosines are 0, all similarities 1/2, g = (4 + 8/2) / (1 + 1) = 4, y = 2.
    y, assignment = context_cluster(f, v, one, torch.ones(1), torch.zeros(1), backend=backend)
    assert y.flatten().tolist() == [2, 2]
    assert assignment.similarity.flatten().tolist() == [0.5, 0.5]
    # Normalized by count: g = (4 + 8/2) / (1 + 2) = 8/3, y = 4/3.
    y, _ = context_cluster(f, v, one, torch.ones(1), torch.zeros(1), ClusterOptions(normalizer="count"), backend)
    torch.testing.assert_close(y.flatten(), torch.full((2,), 4 / 3, dtype=torch.float64))


@eager_backends
def test_two_points_that_are_their_own_centers(backend: str) -> None:
    f = torch.tensor([1.0, -1], dtype=torch.float64).view(2, 1, 1)
    v = torch.tensor([3.0, 5], dtype=torch.float64).view(2, 1, 1)
    y, assignment = context_cluster(
        f, v, lists([0, 2], [(0, 0), (1, 1)], 2), torch.ones(1), torch.zeros(1), backend=backend
    )
    # g_0 = (3 + 3 s) / (1 + s) = 3 with s = sigmoid(1).
    s = torch.sigmoid(torch.ones(2, dtype=torch.float64))
    assert assignment.center.flatten().tolist() == [0, 1]
    torch.testing.assert_close(assignment.similarity.flatten(), s)
    torch.testing.assert_close(y.flatten(), s * v.flatten())


@all_options
@pytest.mark.parametrize("regions", SMALL.values(), ids=SMALL.keys())
@eager_backends
def test_backends_are_the_loops(backend: str, regions: Regions, options: ClusterOptions) -> None:
    arguments = inputs(regions)
    y, chosen = by_loops(arguments, regions, options)
    found, assignment = context_cluster(*arguments[:2], regions, *arguments[2:], options, backend)
    torch.testing.assert_close(found.detach(), y)
    assert torch.equal(assignment.center, chosen)


@all_options
@all_cases
def test_backends_agree_in_values_and_gradients(regions: Regions, options: ClusterOptions) -> None:
    arguments = inputs(regions)
    expected = outputs(arguments, regions, options, "reference")
    for backend in ("ragged", "auto"):
        assert_same(outputs(arguments, regions, options, backend), expected)


@all_options
@eager_backends
def test_gradients_are_those_of_differences(backend: str, options: ClusterOptions) -> None:
    regions = CASES["proposals without points"]
    assert torch.autograd.gradcheck(
        lambda f, v, alpha, beta: context_cluster(f, v, regions, alpha, beta, options, backend)[0],
        inputs(regions, heads=1, dim=2),
    )


@all_options
@pytest.mark.parametrize("name", ["clouds, farthest points", "cells of clouds", "holes"])
def test_with_and_without_torch_scatter(monkeypatch, name: str, options: ClusterOptions) -> None:
    monkeypatch.delenv("POINTCOC_DISABLE_EXTENSIONS", raising=False)
    pytest.importorskip("torch_scatter", reason="torch_scatter is not installed")
    arguments = inputs(CASES[name])
    compiled = outputs(arguments, CASES[name], options, "ragged")
    monkeypatch.setenv("POINTCOC_DISABLE_EXTENSIONS", "1")
    assert_same(outputs(arguments, CASES[name], options, "ragged"), compiled)


@pytest.mark.parametrize("proposals", ["cells", "fps"])
@all_options
@eager_backends
def test_the_order_of_the_points_does_not_matter(backend: str, options: ClusterOptions, proposals: str) -> None:
    points = clouds(17, 9)
    other, rows = shuffled(points)
    results = []
    for sets, own in ((points, slice(None)), (other, rows)):
        regions = cloud_regions(sets, 2, None, proposals, 2, 3)
        f, v, alpha, beta = inputs(regions)
        f, v = (regions.order.enter(one[own]) for one in (f, v))
        y, assignment = context_cluster(f, v, regions, alpha, beta, options, backend)
        results.append([regions.order.leave(one) for one in (y, assignment.center, assignment.similarity)])
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(two, one[rows])


@all_options
@eager_backends
def test_other_sets_of_the_batch_do_not_matter(backend: str, options: ClusterOptions) -> None:
    parts = [clouds(17), clouds(1), clouds(30, seed=1)]
    regions = [cloud_regions(one, 2, None, "fps", 3, 3) for one in parts]
    arguments = [inputs(one, seed=i) for i, one in enumerate(regions)]
    alpha, beta = arguments[0][2:]
    alone = [
        one.order.leave(context_cluster(f, v, one, alpha, beta, options, backend)[0])
        for one, (f, v, *_) in zip(regions, arguments, strict=True)
    ]
    together = cloud_regions(concat(parts), 2, None, "fps", 3, 3)
    f, v = (
        together.order.enter(torch.cat([r.order.leave(a[i]) for r, a in zip(regions, arguments, strict=True)]))
        for i in range(2)
    )
    y, _ = context_cluster(f, v, together, alpha, beta, options, backend)
    torch.testing.assert_close(together.order.leave(y), torch.cat(alone))


@eager_backends
@pytest.mark.parametrize("assignment", ["hard", "soft"])
def test_points_without_features_have_finite_gradients(backend: str, assignment: str) -> None:
    regions = CASES["proposals without points"]
    arguments = inputs(regions)
    arguments[0] = torch.zeros_like(arguments[0], requires_grad=True)
    y, found, gradients = outputs(arguments, regions, ClusterOptions(assignment=assignment, iterations=2), backend)
    assert all(torch.isfinite(one).all() for one in (y, found.similarity, *gradients))
    # All cosines are 0, and the first proposal with points wins.
    assert found.center.tolist() == [[1, 1]] * 3 + [[0, 0]] * 4


@eager_backends
@pytest.mark.parametrize("name", ["tiles", "clouds, farthest points"])
def test_features_of_half_precision(backend: str, name: str) -> None:
    f, v, alpha, beta = (one.detach().bfloat16() for one in inputs(CASES[name]))
    y, assignment = context_cluster(f, v, CASES[name], alpha, beta, backend=backend)
    exact, _ = context_cluster(f.double(), v.double(), CASES[name], alpha.double(), beta.double(), backend=backend)
    assert (y.dtype, assignment.similarity.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(y.double(), exact, rtol=0.05, atol=0.05)


def test_the_operation_is_one_graph() -> None:
    torch._dynamo.reset()
    f, v, alpha, beta = inputs(CASES["tiles"])

    def cluster(f: Tensor, v: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        regions = grid_regions((4, 6), 2, (2, 2), 2, CPU)
        return context_cluster(f, v, regions, alpha, beta, backend="reference")[0]

    compiled = torch.compile(cluster, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(f, v, alpha, beta), cluster(f, v, alpha, beta))


def test_wrong_requests_are_named(monkeypatch) -> None:
    regions = CASES["tiles"]
    f, v, alpha, beta = inputs(regions)
    with pytest.raises(ValueError, match="unknown backend 'cuda'; choose from auto, triton, ragged, reference"):
        context_cluster(f, v, regions, alpha, beta, backend="cuda")
    monkeypatch.setitem(OPERATIONS, "ragged", OPERATIONS["ragged"]._replace(why_not=lambda *given: "it rains"))
    with pytest.raises(ValueError, match="backend 'ragged' cannot be used: it rains"):
        context_cluster(f, v, regions, alpha, beta, backend="ragged")


@pytest.mark.parametrize(
    ("f_shape", "v_shape", "sentence"),
    [
        ((48, 3), (48, 2, 3), r"f and v must have shape \(N, heads, d\), got \(48, 3\) and \(48, 2, 3\)"),
        ((48, 2, 3), (48, 3), r"f and v must have shape \(N, heads, d\), got \(48, 2, 3\) and \(48, 3\)"),
        ((48, 2, 3), (48, 1, 3), r"f and v must have shape \(N, heads, d\), got \(48, 2, 3\) and \(48, 1, 3\)"),
        ((47, 2, 3), (47, 2, 3), "f has 47 points but regions describe 48"),
    ],
)
def test_shapes_that_do_not_fit_are_named(f_shape, v_shape, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        context_cluster(torch.zeros(f_shape), torch.zeros(v_shape), CASES["tiles"], torch.ones(1), torch.zeros(1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "options", [ClusterOptions(), ClusterOptions(normalizer="count"), ClusterOptions(assignment="soft")]
)
def test_half_precision_sums_over_many_points(dtype: torch.dtype, options: ClusterOptions) -> None:
    regions = lists([0, 9000], [(0, 0), (8999, 1)], 2)
    f, v, alpha, beta = (one.detach() for one in inputs(regions, heads=1))
    v = v.abs() + 1
    exact = context_cluster(f, v, regions, alpha, beta, options, "reference")[0]
    half = context_cluster(f.to(dtype), v.to(dtype), regions, alpha.to(dtype), beta.to(dtype), options, "ragged")[0]
    assert half.dtype == dtype
    torch.testing.assert_close(half.double().mean(0), exact.mean(0), rtol=0.03, atol=0)
