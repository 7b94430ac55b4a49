"""The kernels against the reference; run by test_triton.py in a process of its own, where Triton is a CPU interpreter.

By hand: TRITON_INTERPRET=1 python -m pytest tests/tools/triton_parity.py; on a GPU, without the variable.
"""

from __future__ import annotations

import pytest
import torch
from set_samples import clouds
from torch import Tensor

from pointcoc import ClusterOptions, context_cluster
from pointcoc.geometry import Segments, UniformRegions
from pointcoc.geometry.regions import cloud_regions, grid_regions
from pointcoc.nn import ContextCluster
from pointcoc.ops import triton_operation
from pointcoc.ops.triton_operation import cluster_backward, cluster_forward

CPU = torch.device("cpu")
BY_SIMILARITY, BY_COUNT = ClusterOptions(), ClusterOptions(normalizer="count")
NAMES = ("f", "v", "alpha", "beta")


def table(rows: list[list[list[int]]]) -> UniformRegions:
    """Regions from a table of members."""
    members = torch.tensor(rows, dtype=torch.bool)
    return UniformRegions(Segments.equal(len(rows), members.shape[2], CPU), members)


# Regions, heads, channels of f, channels of v.
CASES: dict[str, tuple[UniformRegions, int, int, int]] = {
    "4 points, one center": (grid_regions((2, 2), 1, (1, 1), 1, CPU), 1, 8, 8),
    "three heads": (grid_regions((4, 6), 1, (2, 1), 2, CPU), 3, 16, 16),
    "49 points, 24 channels": (grid_regions((7, 7), 1, (1, 1), 2, CPU), 2, 24, 24),
    "36 points, 9 centers, 64 channels": (grid_regions((6, 6), 1, (1, 1), 3, CPU), 1, 64, 64),
    "16 points, 40 and 8 channels": (grid_regions((4, 4), 2, (1, 1), 2, CPU), 1, 40, 8),
    "one center, 33 points, 9 and 63 channels": (grid_regions((3, 11), 1, (1, 1), 1, CPU), 1, 9, 63),
    "256 points, 64 centers": (grid_regions((16, 16), 1, (1, 1), 8, CPU), 1, 8, 24),
    "farthest points of clouds": (cloud_regions(clouds(12, 12), 1, None, "fps", 3, 2), 2, 8, 8),
    "proposals without points": (
        table([[[0, 0, 0, 0, 0], [1, 0, 1, 0, 0], [0, 1, 0, 1, 1]], [[1, 1, 1, 1, 1], [0] * 5, [0, 0, 0, 0, 1]]]),
        2,
        8,
        11,
    ),
    "5 points, 3 proposals that share points": (table([[[1, 1, 0, 0, 0], [0, 1, 1, 1, 0], [0] * 5]]), 1, 8, 9),
    "no proposal with points": (table([[[0, 0, 0, 0], [0, 0, 0, 0]]]), 1, 8, 8),
}
all_cases = pytest.mark.parametrize("case", CASES)
both_normalizers = pytest.mark.parametrize("options", [BY_SIMILARITY, BY_COUNT], ids=["similarity", "count"])


@pytest.fixture
def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def inputs(case: str, dtype: torch.dtype, device: torch.device) -> tuple[list[Tensor], UniformRegions]:
    """Features, values, scale and shift that ask for gradients, and regions."""
    regions, heads, df, dv = CASES[case]
    generator = torch.Generator().manual_seed(0)
    points = regions.segments.num * regions.members.shape[2]
    f, v = (torch.randn(points, heads, d, generator=generator).to(device, dtype) for d in (df, dv))
    exact = torch.promote_types(dtype, torch.float32)
    alpha, beta = (torch.tensor([x], dtype=exact, device=device) for x in (1.5, -0.25))
    return [x.requires_grad_() for x in (f, v, alpha, beta)], regions.to(device)


def outputs(arguments: list[Tensor], regions: UniformRegions, options: ClusterOptions, backend: str):
    """Values, assignment, and gradients of a weighted sum of both."""
    y, assignment = context_cluster(*arguments[:2], regions, *arguments[2:], options, backend)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).bfloat16().to(y)
    loss = (y * weight).sum() + (assignment.similarity * weight[..., 0]).sum()
    return y, assignment, torch.autograd.grad(loss, arguments)


def assert_same(one, other, **tolerance: float) -> None:
    assert torch.equal(one[1].center, other[1].center)
    torch.testing.assert_close(one[0], other[0], check_dtype=False, **tolerance)
    torch.testing.assert_close(one[1].similarity, other[1].similarity, check_dtype=False, rtol=1e-4, atol=1e-5)
    for name, a, b in zip(NAMES, one[2], other[2], strict=True):
        torch.testing.assert_close(
            a, b, check_dtype=False, **tolerance, msg=lambda text, name=name: f"gradient of {name}: {text}"
        )


@both_normalizers
@all_cases
def test_values_and_gradients(case: str, options: ClusterOptions, device: torch.device) -> None:
    arguments, regions = inputs(case, torch.float64, device)
    found, expected = (outputs(arguments, regions, options, backend) for backend in ("triton", "reference"))
    assert_same(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("case", ["49 points, 24 channels", "16 points, 40 and 8 channels", "proposals without points"])
def test_precisions(case: str, dtype: torch.dtype, device: torch.device) -> None:
    arguments, regions = inputs(case, dtype, device)
    found = outputs(arguments, regions, BY_SIMILARITY, "triton")
    assert [found[0].dtype, *(one.dtype for one in found[2])] == [dtype, dtype, dtype, torch.float32, torch.float32]
    assert (found[1].similarity.dtype, found[1].center.dtype) == (torch.float32, torch.int64)
    exact = [one.detach().double().requires_grad_() for one in arguments]
    # Sums are float32 in each precision, so only what is stored in it is rounded, by half a unit in the last place;
    # to bfloat16, the interpreter does not round but truncates.
    tolerance = {torch.float32: 1e-5, torch.float16: 2**-10, torch.bfloat16: 2**-7}[dtype]
    assert_same(found, outputs(exact, regions, BY_SIMILARITY, "reference"), rtol=tolerance, atol=tolerance / 10)


def test_3136_points(device: torch.device, monkeypatch) -> None:
    if device.type == "cpu":  # the time of the interpreter goes by the number of blocks
        monkeypatch.setattr(triton_operation, "_largest_block", lambda dtype, table_size: 512)
    monkeypatch.setitem(CASES, "large", (grid_regions((56, 56), 1, (1, 1), 2, CPU), 2, 24, 24))
    arguments, regions = inputs("large", torch.float32, device)
    exact = [one.detach().double().requires_grad_() for one in arguments]
    found, expected = (
        outputs(arguments, regions, BY_SIMILARITY, "triton"),
        outputs(exact, regions, BY_SIMILARITY, "reference"),
    )
    assert_same(found, expected, rtol=1e-4, atol=1e-4)


@both_normalizers
def test_gradients_are_those_of_differences(options: ClusterOptions, device: torch.device) -> None:
    arguments, regions = inputs("5 points, 3 proposals that share points", torch.float64, device)

    def cluster(f: Tensor, v: Tensor, alpha: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
        y, assignment = context_cluster(f, v, regions, alpha, beta, options, "triton")
        return y, assignment.similarity

    assert torch.autograd.gradcheck(cluster, arguments, fast_mode=True)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")  # torch's own
def test_the_operators_keep_the_contract_of_torch(device: torch.device) -> None:
    arguments, regions = inputs("three heads", torch.float32, device)
    f, v, alpha, beta = arguments
    torch.library.opcheck(cluster_forward, (f, v, regions.members, alpha, beta, False))
    f, v, alpha, beta = (one.detach() for one in arguments)
    y, *rest = cluster_forward(f, v, regions.members, alpha, beta, True)
    for grad_similarity in (None, rest[1]):
        given = (y, grad_similarity, f, v, regions.members, alpha, *rest, True)
        torch.library.opcheck(cluster_backward, given, test_utils=("test_schema", "test_faketensor"))


def test_compiled_and_exported_programs_see_one_operator(device: torch.device) -> None:
    torch._dynamo.reset()
    arguments, regions = inputs("three heads", torch.float32, device)

    class Cluster(torch.nn.Module):
        def forward(self, f: Tensor, v: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
            return context_cluster(f, v, regions, alpha, beta, backend="triton")[0]

    expected = Cluster()(*arguments)
    compiled = torch.compile(Cluster(), fullgraph=True, backend="aot_eager")(*arguments)
    torch.testing.assert_close(compiled, expected)
    for found, one in zip(*(torch.autograd.grad(y.sum(), arguments) for y in (compiled, expected)), strict=True):
        torch.testing.assert_close(found, one)
    program = torch.export.export(Cluster(), tuple(one.detach() for one in arguments))
    names = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert names.count("pointcoc.context_cluster.default") == 1
    assert not any("argmax" in name or "matmul" in name for name in names)


def test_slices_of_one_projection_are_read_as_they_lie(device: torch.device) -> None:
    (f, v, *rest), regions = inputs("three heads", torch.float64, device)
    expected = outputs([f, v, *rest], regions, BY_SIMILARITY, "triton")
    joined = torch.cat([f, v], dim=2).detach()
    slices = [one.requires_grad_() for one in joined.split(16, dim=2)]
    channels_first = [one.detach().permute(2, 0, 1).contiguous().permute(1, 2, 0).requires_grad_() for one in (f, v)]
    for given in (slices, channels_first):
        assert not given[0].is_contiguous()
        assert_same(outputs([*given, *rest], regions, BY_SIMILARITY, "triton"), expected)


@pytest.mark.parametrize("which", ["y", "similarity"])
def test_one_output_may_be_left_unused(which: str, device: torch.device) -> None:
    arguments, regions = inputs("three heads", torch.float64, device)
    gradients = []
    for backend in ("triton", "reference"):
        y, assignment = context_cluster(*arguments[:2], regions, *arguments[2:], backend=backend)
        loss = (y if which == "y" else assignment.similarity).square().sum()
        gradients.append(torch.autograd.grad(loss, arguments, allow_unused=True))
    for name, found, expected in zip(NAMES, *gradients, strict=True):
        expected = torch.zeros_like(found) if expected is None else expected
        torch.testing.assert_close(found, expected, msg=lambda text, name=name: f"gradient of {name}: {text}")


def test_a_point_stores_five_bytes_beyond_its_features(device: torch.device) -> None:
    arguments, regions = inputs("256 points, 64 centers", torch.bfloat16, device)
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: (saved.append(one), one)[1], lambda one: one):
        context_cluster(*arguments[:2], regions, *arguments[2:], backend="triton")
    mine = {one.data_ptr(): one.nbytes for one in saved}
    for one in (*arguments, regions.members):
        mine.pop(one.data_ptr(), None)
    assert sum(mine.values()) == 256 * (1 + 4) + 64 * (24 + 1) * 4


def test_second_derivatives_are_refused(device: torch.device) -> None:
    arguments, regions = inputs("4 points, one center", torch.float64, device)
    y, _ = context_cluster(*arguments[:2], regions, *arguments[2:], backend="triton")
    first = torch.autograd.grad(y.square().sum(), arguments[0], create_graph=True)[0]
    with pytest.raises(RuntimeError, match="no autograd formula was registered"):
        first.sum().backward()


def test_points_without_features_have_finite_gradients(device: torch.device) -> None:
    (f, *rest), regions = inputs("proposals without points", torch.float32, device)
    arguments = [torch.zeros_like(f).requires_grad_(), *rest]
    y, found, gradients = outputs(arguments, regions, BY_SIMILARITY, "triton")
    assert all(torch.isfinite(one).all() for one in (y, found.similarity, *gradients))
    # All cosines are 0, and the first proposal with points wins.
    assert found.center.tolist() == [[1, 1]] * 5 + [[0, 0]] * 5


def test_what_is_not_a_number_stays_so(device: torch.device) -> None:
    (f, *rest), regions = inputs("proposals without points", torch.float64, device)
    broken = f.detach().clone()
    broken[0, 0, 0] = torch.nan
    found, expected = (
        context_cluster(broken, rest[0].detach(), regions, *(one.detach() for one in rest[1:]), backend=backend)
        for backend in ("triton", "reference")
    )
    assert torch.equal(found[1].center, expected[1].center)
    torch.testing.assert_close(found[0], expected[0], equal_nan=True)
    assert found[0][:5, 0].isnan().all() and not found[0][:, 1].isnan().any()


def test_no_points(device: torch.device) -> None:
    regions = UniformRegions(Segments.equal(0, 4, device), torch.ones(1, 1, 4, dtype=torch.bool, device=device))
    f = torch.zeros(0, 2, 8, device=device, requires_grad=True)
    alpha, beta = (torch.ones(1, device=device, requires_grad=True) for _ in range(2))
    y, assignment = context_cluster(f, f, regions, alpha, beta, backend="triton")
    assert y.shape == (0, 2, 8) and assignment.center.shape == (0, 2)
    assert [one.tolist() for one in torch.autograd.grad(y.sum(), [f, alpha, beta])] == [[], [0], [0]]


def test_the_layer(device: torch.device) -> None:
    torch.manual_seed(0)
    layers = [ContextCluster(6, 2, 8, BY_SIMILARITY, backend).to(device) for backend in ("triton", "reference")]
    layers[1].load_state_dict(layers[0].state_dict())
    _, regions = inputs("three heads", torch.float32, device)
    x = torch.randn(24, 6, device=device)
    results = []
    for layer in layers:
        y, _ = layer(x, regions)
        results.append([y, *torch.autograd.grad(y.square().sum(), list(layer.parameters()))])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
