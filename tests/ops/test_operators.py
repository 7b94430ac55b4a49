"""The table of operators: every row gives what the reference gives, and "auto" takes the row that the docs name."""

from __future__ import annotations

import dataclasses
import itertools
import re
from pathlib import Path

import pytest
import torch
from order_one import order_one_network
from set_samples import clouds, pixels
from torch import Tensor

from pointcoc import ClusterOptions, ContextClusterNet, NetworkConfig, PointSet, image_to_points
from pointcoc.geometry.regions import Regions, cell_regions, cloud_regions, grid_regions, lattice_regions
from pointcoc.models.weights.policy import read_settings
from pointcoc.nn import ClusterBlock
from pointcoc.ops import OPERATORS, Case, ClusterWeights, cluster_layer, operators
from pointcoc.ops.operators import choose, why_not
from pointcoc.ops.options import DEFAULTS, why_not_options

CPU = torch.device("cpu")
PAGE = Path(__file__).parents[2] / "docs" / "operators.md"
DIM, HEADS, HEAD_DIM = 5, 2, 3
REGIONS: dict[str, Regions] = {
    "tiles": grid_regions((4, 6), 2, (2, 2), 2, CPU),
    "cells that differ by a site": cell_regions(pixels((5, 7), (3, 3)), 2, None, 2),
    "holes": lattice_regions(pixels((6, 5), (3, 4), kept=0.6), 2, None, 2),
    "equal clouds": cloud_regions(clouds(12, 12), 1, None, "fps", 3, 4),
    "clouds": cloud_regions(clouds(9, 1, 14), 2, None, "fps", 3, 2),
}
OPTIONS = [
    ClusterOptions(normalizer=normalizer, assignment=assignment, iterations=iterations)
    for normalizer, assignment, iterations in itertools.product(("similarity", "count"), ("hard", "soft"), (1, 2))
]


def case(regions: Regions, options: ClusterOptions = OPTIONS[0]) -> Case:
    return Case(regions, options, CPU, (torch.float64, torch.float64), (HEAD_DIM, HEAD_DIM), DIM)


def weights() -> ClusterWeights:
    generator, width = torch.Generator().manual_seed(0), HEADS * HEAD_DIM
    shapes = ((2 * width, DIM), (2 * width,), (DIM, width), (DIM,), (1,), (1,))
    return ClusterWeights(
        *(torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes)
    )


def outputs(backend: str, regions: Regions, options: ClusterOptions) -> list[Tensor]:
    """Rows, assignment and the gradients of the input and of every weight."""
    num = len(regions.segments.index)
    x = torch.randn(num, DIM, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    w = weights()
    y, assignment = cluster_layer(x, regions, w, HEADS, options, backend)
    loss = (y * torch.arange(DIM)).sum() + assignment.rows().similarity.square().sum()
    return [y, assignment.rows().center, assignment.rows().similarity, *torch.autograd.grad(loss, [x, *w])]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda one: f"{one.normalizer}-{one.assignment}-{one.iterations}")
@pytest.mark.parametrize("regions", REGIONS.values(), ids=REGIONS)
@pytest.mark.parametrize("name", [name for name in OPERATORS if name not in ("reference", "triton")])
def test_every_row_is_the_reference(name: str, regions: Regions, options: ClusterOptions) -> None:
    """Triton's row runs in a process of its own: test_triton.py."""
    if why_not(OPERATORS[name], case(regions, options)) is not None:
        with pytest.raises(ValueError, match=f"backend '{name}' cannot be used: "):
            outputs(name, regions, options)
        return
    for found, expected in zip(outputs(name, regions, options), outputs("reference", regions, options), strict=True):
        torch.testing.assert_close(found, expected)


def test_the_last_row_can_always_run() -> None:
    *_, last = OPERATORS.values()
    for regions, options in itertools.product(REGIONS.values(), OPTIONS):
        assert why_not(last, case(regions, options)) is None
        assert last.why_later(case(regions, options)) is None


def test_an_option_that_a_row_does_not_list_is_refused_until_it_does(monkeypatch) -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Newer(ClusterOptions):
        similarity: str = "cosine"

    monkeypatch.setitem(DEFAULTS, "similarity", "cosine")
    asked = Newer(similarity="euclidean")
    assert why_not_options(asked, ("normalizer",)) == "similarity must be 'cosine', got 'euclidean'"
    assert why_not_options(asked, ("normalizer", "similarity")) is None
    assert all(why_not(one, case(REGIONS["tiles"], asked)) for one in OPERATORS.values())


def test_old_names_are_read_with_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match="backend 'fused' is now called 'triton'"):
        assert operators.current_name("fused") == "triton"


@pytest.mark.parametrize("norm", ["set", "batch"])
def test_a_mixer_may_be_any_module_of_the_same_interface(norm: str) -> None:
    class Half(torch.nn.Module):
        def forward(self, x, regions):
            assignment = torch.zeros(len(x), 1, dtype=torch.int64)
            return x / 2, operators.Assignment(assignment, assignment.double())

    block = ClusterBlock(5, 1, 3, 1.0, ClusterOptions(), layer_scale=1.0, norm=norm).double().eval()
    block.cluster = Half()
    torch.nn.init.zeros_(block.scale2)
    regions = REGIONS["equal clouds"]
    sets, x = regions.segments, torch.randn(24, 5, dtype=torch.float64)
    y, _ = block(x, sets, regions)
    torch.testing.assert_close(y, x + block.norm1(x, sets) / 2)


# ------------------------------------------------------------------ the page


def ran(net: ContextClusterNet, given: Tensor | PointSet, monkeypatch) -> list[str]:
    """The operator of each stage of a network with one block a stage."""
    used: list[str] = []
    with monkeypatch.context() as patch:
        for name, one in OPERATORS.items():

            def run(*arguments, name=name, run=one.run):
                used.append(name)
                return run(*arguments)

            patch.setitem(OPERATORS, name, one._replace(run=run))
        with torch.inference_mode():
            net(given)
    return used


def images(side: int) -> Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def inputs_of(kind: str) -> Tensor | PointSet:
    """What stands in the second column of the page."""
    if kind.startswith("tensor of images, "):
        return images(int(re.findall(r"\d+", kind)[0]))
    if kind == "pixels in any order":
        return image_to_points(images(224)).take(torch.randperm(2 * 224 * 224, generator=torch.Generator()))
    if kind == "one pixel in a thousand":
        kept = torch.randperm(2 * 224 * 224, generator=torch.Generator().manual_seed(0))[:100]
        return image_to_points(images(224)).take(kept)
    if kind == "clouds of one size":
        return torch.randn(2, 1024, 3, generator=torch.Generator().manual_seed(0))
    assert kind == "clouds of several sizes", kind
    points = clouds(300, 700, channels=3)
    return PointSet(points.pos.float() * 4, points.pos.float() * 4, points.ptr)


def rows_of(page: str, begin: str) -> list[list[str]]:
    table = page[page.index(begin) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in table]


@pytest.mark.parametrize("row", rows_of(PAGE.read_text(), "| network |"), ids=lambda row: f"{row[0]}, {row[1]}")
def test_the_page_says_which_operator_runs(row: list[str], monkeypatch) -> None:
    name, kind, *expected = row
    expected = [cell for cell in expected if cell]
    net = order_one_network(name, torch.float32, num_classes=2, depths=1)
    assert ran(net, inputs_of(kind), monkeypatch) == expected
    assert ran(net.fuse(), inputs_of(kind), monkeypatch) == expected


def test_the_page_lists_the_rows_in_their_order() -> None:
    page = PAGE.read_text()
    rows = rows_of(page, "| operator |")
    assert [row[0] for row in rows] == list(OPERATORS)
    for name, _, computes, *_ in rows:
        assert computes.split(", ") == list(OPERATORS[name].computes)


def test_choosing_names_what_is_there() -> None:
    with pytest.raises(ValueError, match="unknown backend 'cuda'; choose from auto, center_side, triton, ragged, refe"):
        choose("cuda", case(REGIONS["tiles"]))


def test_an_old_name_in_a_config_is_read() -> None:
    with pytest.warns(DeprecationWarning, match="backend 'fused' is now called 'triton'"):
        assert NetworkConfig(backend="fused").backend == "triton"
    assert read_settings(NetworkConfig, {"backend": "fused"}, "a file").backend == "triton"


def test_an_option_of_the_operation_is_a_setting_of_a_network() -> None:
    assert {*DEFAULTS} <= {field.name for field in dataclasses.fields(NetworkConfig)}
    assert NetworkConfig(iterations=2).options == ClusterOptions(iterations=2)
