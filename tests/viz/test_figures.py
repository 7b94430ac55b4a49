"""Figures, tested on what they show."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pointcoc import ContextClusterNet, concat, image_to_points
from pointcoc.viz import (
    Trace,
    center_colors,
    cluster_sizes,
    draw_clusters,
    draw_grid,
    draw_hierarchy,
    draw_sizes,
    draw_stages,
    overlay,
    point_colors,
    trace,
)
from pointcoc.viz.maps import input_colors, lay_out


def shown(axes) -> np.ndarray:
    return axes.images[0].get_array()


def test_one_row_an_example_one_column_a_stage(
    image_net: ContextClusterNet, cloud_net: ContextClusterNet, make_cloud
) -> None:
    ink = image_to_points(torch.rand(1, 1, 20, 32), torch.rand(1, 20, 32) > 0.3)
    image = torch.rand(1, 1, 16, 16)
    figure = draw_clusters([("image", image_net, image), ("ink", image_net, ink), ("cloud", cloud_net, make_cloud(70))])
    titles = [axes.get_title() for axes in figure.axes]
    assert len(titles) == 12
    assert [titles[i] for i in (0, 4, 8)] == ["image", "ink", "cloud"]
    (one,) = trace(image_net, image)
    assert titles[1] == f"stage 1, block 1, head 1: {len(one.cluster(0).unique())} clusters"
    assert np.array_equal(shown(figure.axes[1]), overlay(one, 0).numpy())


def test_every_point_of_a_cloud_is_drawn_in_its_color(cloud_net: ContextClusterNet, make_cloud) -> None:
    points = make_cloud(70)
    (one,) = trace(cloud_net, points)
    figure = draw_stages(one)
    assert len(figure.axes) == 4
    for s, axes in enumerate(figure.axes[1:]):
        drawn = torch.tensor(np.array(axes.collections[0]._offsets3d)).T
        torch.testing.assert_close(drawn, points.pos.double())
        assert np.allclose(axes.collections[0]._original_facecolor[:, :3], point_colors(one, s).numpy())


def test_grids_over_two_of_stage_block_head(image_net: ContextClusterNet) -> None:
    (one,) = trace(image_net, torch.rand(1, 1, 24, 16))
    assert len(draw_grid(one).axes) == 3 * 4
    assert len(draw_grid(one, "similarity", "block", "head", stage=1).axes) == 2 * 4
    ragged = draw_grid(one, "clusters", "stage", "block", head=2)  # 1, 2 and 2 blocks
    names = [axes.get_title().split(":")[0] for axes in ragged.axes]
    assert names == [f"stage {s}, block {b}, head 3" for s, b in ((1, 1), (2, 1), (2, 2), (3, 1), (3, 2))]
    assert np.array_equal(shown(ragged.axes[2]), overlay(one, 1, 1, 2).numpy())
    assert len(draw_grid(one, rows="head", columns="stage").axes) == 12


def test_hierarchy_shows_all_that_a_cluster_covers(image_net: ContextClusterNet) -> None:
    (one,) = trace(image_net, torch.rand(1, 1, 32, 48))
    figure = draw_hierarchy(one)
    sizes = cluster_sizes(one)
    largest = int(sizes.argmax())
    assert len(figure.axes) == 5
    assert figure.axes[2].get_title() == f"cluster {largest}: {int(sizes[largest]):,} of 1,536 points"
    inside = one.members(largest).view(32, 48)
    part = torch.from_numpy(np.array(shown(figure.axes[3])))
    assert torch.equal(part[inside], point_colors(one, 0).view(32, 48, 3)[inside])
    assert (part[~inside] >= 0.75).all()
    assert len(draw_hierarchy(one, stage=0, cluster=int(one.cluster(0)[0])).axes) == 3


def test_bars_are_sizes_in_order_and_color(image_net: ContextClusterNet) -> None:
    (one,) = trace(image_net, torch.rand(1, 1, 20, 30))
    (axes,) = draw_sizes(one, 1, 0, 2).axes
    sizes = cluster_sizes(one, 1, 0, 2)
    assert [bar.get_height() for bar in axes.patches] == sizes.sort(descending=True).values.tolist()
    expected = center_colors(one.stages[1].center_pos)[sizes.argmax()]
    assert axes.patches[0].get_facecolor()[:3] == pytest.approx(expected.tolist())


def test_mistakes(image_net: ContextClusterNet) -> None:
    (one,) = trace(image_net, torch.rand(1, 1, 8, 8))
    with pytest.raises(ValueError, match="examples is empty"):
        draw_clusters([])
    with pytest.raises(ValueError, match="unknown rows 'layer'; choose from stage, block, head"):
        draw_grid(one, rows="layer")
    with pytest.raises(ValueError, match="rows and columns must differ, got 'head' for both"):
        draw_grid(one, rows="head")
    with pytest.raises(ValueError, match=r"head must be in \[0, 3\]"):
        draw_grid(one, rows="stage", columns="block", head=9)
    with pytest.raises(ValueError, match="cluster must be one that has points"):
        draw_hierarchy(one, cluster=4)


@pytest.mark.parametrize(("side", "num_centers"), [(5, 25), (7, 49)])
def test_every_figure_of_many_centers_on_an_image_of_odd_sides(side: int, num_centers: int) -> None:
    torch.manual_seed(0)
    net = ContextClusterNet.from_preset("coc_nano", num_classes=3, in_channels=1, centers=side).eval()
    (one,) = trace(net, torch.rand(1, 1, 57, 33))
    assert [stage.num_centers for stage in one.stages] == [num_centers] * 3
    for s, axes in enumerate(draw_stages(one).axes[1:]):
        assert np.array_equal(shown(axes), overlay(one, s).numpy())
    for number, axes in enumerate(draw_grid(one).axes):
        assert np.array_equal(shown(axes), overlay(one, number // 4, -1, number % 4).numpy())
    for number, axes in enumerate(draw_grid(one, "similarity").axes):
        expected = point_colors(one, number // 4, -1, number % 4, "similarity").view(57, 33, 3)
        assert np.array_equal(shown(axes), expected.numpy())
    check_bars(one)
    check_hierarchy(one)


def check_bars(one: Trace) -> None:
    """One bar a center, in its color; together they count every input point once."""
    for s, stage in enumerate(one.stages):
        bars, sizes = draw_sizes(one, s).axes[0].patches, cluster_sizes(one, s)
        order = sizes.argsort(descending=True, stable=True)
        assert [bar.get_height() for bar in bars] == sizes[order].tolist()
        assert sum(bar.get_height() for bar in bars) == one.points.num_points
        colors = torch.tensor([bar.get_facecolor()[:3] for bar in bars])
        torch.testing.assert_close(colors.double(), center_colors(stage.center_pos)[order], atol=1e-6, rtol=0)


def check_hierarchy(one: Trace) -> None:
    """Inside the cluster the colors are those of the earlier stage, outside the input is faded."""
    figure, largest = draw_hierarchy(one), int(cluster_sizes(one).argmax())
    inside = one.members(largest)
    for s, axes in enumerate(figure.axes[3:]):
        expected = torch.where(inside[:, None], point_colors(one, s), 1 - 0.25 * (1 - input_colors(one)))
        assert np.array_equal(shown(axes), lay_out(one, expected, 1.0).numpy())


def test_sets_of_any_size_are_drawn_whole(
    image_net: ContextClusterNet, cloud_net: ContextClusterNet, make_cloud
) -> None:
    mask = torch.rand(1, 30, 22, generator=torch.Generator().manual_seed(0)) > 0.6
    holed = image_to_points(torch.rand(1, 1, 30, 22), mask)
    images = concat([image_to_points(torch.rand(1, 1, 9, 41)), holed, image_to_points(torch.rand(1, 1, 1, 1))])
    for one, (height, width) in zip(trace(image_net, images), ((9, 41), (30, 22), (1, 1)), strict=True):
        row, column = one.points.pos.long().unbind(1)
        for s, axes in enumerate(draw_stages(one, kind="similarity").axes[1:]):
            picture = torch.from_numpy(np.array(shown(axes)))
            assert picture.shape == (height, width, 3)
            assert torch.equal(picture[row, column], point_colors(one, s, kind="similarity"))
            assert int((picture == 1).all(2).sum()) == height * width - one.points.num_points  # white: no point
        check_bars(one)
        check_hierarchy(one)
    sizes = (70, 1, 200)
    for one, size in zip(trace(cloud_net, concat([make_cloud(size) for size in sizes])), sizes, strict=True):
        for s, axes in enumerate(draw_stages(one).axes[1:]):
            assert len(axes.collections[0]._offsets3d[0]) == size
            assert np.allclose(axes.collections[0]._original_facecolor[:, :3], point_colors(one, s).numpy())
        check_bars(one)
