"""torch.compile reads functions of point sets and image networks as one graph."""

from __future__ import annotations

import pytest
import torch
from set_samples import clouds
from torch import Tensor
from torch._dynamo.testing import CompileCounter

from pointcoc import ContextClusterNet, PointSet, image_to_points
from pointcoc.geometry import Segments, segment_mean

BACKENDS = ("eager", "aot_eager")
SMALL = {
    "depths": (1, 1),
    "dims": 8,
    "heads": 2,
    "head_dims": 4,
    "mlp_ratios": 2,
    "strides": 2,
    "regions": (2, 1),
    "neighbors": 3,
    "centers": 2,
    "center_neighbors": 8,
}


@pytest.fixture(autouse=True)
def _fresh_graphs():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def rebuild(x: Tensor, pos: Tensor, ptr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    points = PointSet(x, pos, ptr)
    points = points.with_x(points.x * 2).to(dtype=torch.float64)
    return points.x + points.pos.sum(1, keepdim=True), points.counts, points.batch


def image_means(images: Tensor) -> Tensor:
    points = image_to_points(images)
    return segment_mean(points.x, Segments.of(points)) + points.to_maps().mean((2, 3))


@pytest.mark.parametrize("backend", BACKENDS)
def test_point_sets_are_built_and_taken_apart(backend: str) -> None:
    points = clouds(2, 0, 3)
    compiled = torch.compile(rebuild, fullgraph=True, backend=backend)
    for one, other in zip(
        compiled(points.x, points.pos, points.ptr), rebuild(points.x, points.pos, points.ptr), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_point_sets_go_in_and_out() -> None:
    points = clouds(2, 0, 3)
    compiled = torch.compile(lambda one: one.with_x(one.x + 1), fullgraph=True, backend="eager")
    shifted = compiled(points)
    assert isinstance(shifted, PointSet)
    assert torch.equal(shifted.x, points.x + 1)
    assert torch.equal(shifted.pos, points.pos)


@pytest.mark.parametrize("backend", BACKENDS)
def test_images_become_points(backend: str) -> None:
    images = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    compiled = torch.compile(image_means, fullgraph=True, backend=backend)
    torch.testing.assert_close(compiled(images), image_means(images))


@pytest.mark.parametrize(("backend", "size"), [("eager", 8), ("aot_eager", 7), ("aot_eager", 11)])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_an_image_network_is_one_graph(backend: str, size: int, checkpointing: bool) -> None:
    torch.manual_seed(0)
    net = ContextClusterNet.from_preset("coc_nano", num_classes=3, in_channels=1, **SMALL).double()
    net.set_grad_checkpointing(checkpointing)
    images = torch.rand(2, 1, size, size, dtype=torch.float64)
    logits = net(images)
    expected = torch.autograd.grad(logits.square().sum(), list(net.parameters()))
    compiled = torch.compile(net, fullgraph=True, backend=backend)(images)
    torch.testing.assert_close(compiled, logits)
    for one, other in zip(torch.autograd.grad(compiled.square().sum(), list(net.parameters())), expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("is_folded", [False, True])
def test_a_size_is_compiled_once_and_batches_share_its_graph(is_folded: bool) -> None:
    net = ContextClusterNet.from_preset("coc_nano", **SMALL, num_classes=3).eval()
    counter = CompileCounter()
    compiled = torch.compile(net.fuse() if is_folded else net, fullgraph=True, backend=counter)  # without options
    found = []
    with torch.no_grad():
        for num, height, width in ((2, 24, 24), (2, 17, 24), (2, 24, 24), (3, 17, 24), (5, 17, 24), (2, 17, 24)):
            images = torch.rand(num, 3, height, width)
            torch.testing.assert_close(compiled(images), net(images), rtol=0, atol=1e-4)
            found.append(counter.frame_count)
    assert found == [1, 2, 2, 3, 3, 3]


def test_graphs_hold_no_formulas_of_image_sides() -> None:
    """Regions of symbolic sides take minutes to trace."""
    net = ContextClusterNet.from_preset("coc_nano", **SMALL, num_classes=3).eval()
    graphs: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, _: list) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    compiled = torch.compile(net, fullgraph=True, backend=keep)
    with torch.no_grad():
        for size in (24, 17, 19):
            compiled(torch.rand(2, 3, size, size))
    symbols = [
        side.node.expr.free_symbols
        for graph in graphs
        for node in graph.graph.nodes
        if isinstance(value := node.meta.get("example_value"), Tensor)
        for side in value.shape
        if isinstance(side, torch.SymInt)
    ]
    assert len(graphs) == 3
    assert not any(symbols)


def test_a_list_of_images_is_one_graph() -> None:
    net = ContextClusterNet.from_preset("coc_nano", **SMALL, num_classes=3).eval()
    images = [torch.rand(3, 9, 12), torch.rand(3, 17, 8)]
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(net, fullgraph=True, backend="eager")(images), net(images))
