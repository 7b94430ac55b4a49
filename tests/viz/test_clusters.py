"""Pictures of clusters, tested on values."""

import numpy as np
import pytest
import torch

from pointcoc import ContextClusterNet, PointSet, concat, image_to_points
from pointcoc.viz import cluster_colors, cluster_map, draw_clusters


@pytest.fixture(scope="module")
def image_net() -> ContextClusterNet:
    torch.manual_seed(0)
    return ContextClusterNet.from_preset("coc_nano", num_classes=3, in_channels=1)


@pytest.fixture(scope="module")
def cloud_net() -> ContextClusterNet:
    torch.manual_seed(0)
    return ContextClusterNet.from_preset("coc_points_small", num_classes=3)


def cloud(num_points: int) -> PointSet:
    pos = torch.randn(num_points, 3, generator=torch.Generator().manual_seed(num_points))
    return PointSet(pos, pos, torch.tensor([0, num_points]))


def test_equal_clusters_share_a_color_and_others_differ() -> None:
    colors = cluster_colors(torch.tensor([0, 1, 2, 1, 0, 63]))
    assert colors.shape == (6, 3)
    assert torch.equal(colors[0], colors[4])
    assert torch.equal(colors[1], colors[3])
    assert len(cluster_colors(torch.arange(64)).unique(dim=0)) == 64
    assert 0 <= float(colors.min()) < float(colors.max()) <= 1


def test_cluster_map_holds_the_color_of_every_site(image_net: ContextClusterNet) -> None:
    stage = image_net.eval().assignments(torch.rand(1, 1, 24, 40))[0]
    picture = cluster_map(stage, head=1)
    assert picture.shape == (12, 20, 3)
    expected = cluster_colors(stage.cluster(-1, 1))
    for (row, column), color in zip(stage.points.pos.long().tolist(), expected, strict=True):
        assert torch.equal(picture[row, column], color)


def test_cluster_map_leaves_holes_white(image_net: ContextClusterNet) -> None:
    mask = torch.zeros(1, 32, 32, dtype=torch.bool)
    mask[0, :8, :8] = True
    stage = image_net.eval().assignments(image_to_points(torch.rand(1, 1, 32, 32), mask))[0]
    picture = cluster_map(stage)
    assert (picture[4:] == 1).all()
    assert not (picture[:4, :4] == 1).all(-1).any()


def test_clusters_are_numbered_over_regions(image_net: ContextClusterNet) -> None:
    stage = image_net.eval().assignments(torch.rand(1, 1, 32, 32))[0]
    row, column = stage.points.pos.long().unbind(1)
    assert torch.equal(stage.region, row // 4 * 4 + column // 4)  # 4 x 4 regions of 4 x 4 sites
    assert torch.equal(stage.cluster() // stage.num_centers, stage.region)


def test_cluster_map_refuses_clouds_and_batches(cloud_net: ContextClusterNet, image_net: ContextClusterNet) -> None:
    with pytest.raises(ValueError, match="one set on a lattice"):
        cluster_map(cloud_net.eval().assignments(cloud(50))[0])
    with pytest.raises(ValueError, match="got 2 sets"):
        cluster_map(image_net.eval().assignments(torch.rand(2, 1, 8, 8))[0])


def test_one_row_an_example_one_column_a_stage(image_net: ContextClusterNet, cloud_net: ContextClusterNet) -> None:
    ink = image_to_points(torch.rand(1, 1, 20, 32), torch.rand(1, 20, 32) > 0.3)
    image = torch.rand(1, 1, 16, 16)
    examples = [("image", image_net, image), ("ink", image_net, ink), ("cloud", cloud_net, cloud(70))]
    figure = draw_clusters(examples)
    titles = [axes.get_title() for axes in figure.axes]
    assert len(titles) == 12
    assert [titles[i] for i in (0, 4, 8)] == ["image", "ink", "cloud"]
    stage = image_net.eval().assignments(image)[0]
    assert titles[1] == f"stage 1: {len(stage.cluster().unique())} clusters"
    shown = figure.axes[1].images[0].get_array()
    assert np.array_equal(shown, cluster_map(stage).numpy())


def test_every_point_of_a_cloud_is_drawn(cloud_net: ContextClusterNet) -> None:
    figure = draw_clusters([("cloud", cloud_net, cloud(70))])
    drawn = [torch.tensor(np.array(axes.collections[0]._offsets3d)).T for axes in figure.axes]
    stages = cloud_net.eval().assignments(cloud(70))
    expected = [cloud(70).pos, *(stage.points.pos for stage in stages)]
    for one, pos in zip(drawn, expected, strict=True):
        assert torch.allclose(one, pos.double())


def test_a_training_network_stays_in_training(image_net: ContextClusterNet) -> None:
    image_net.train()
    draw_clusters([("image", image_net, torch.rand(1, 1, 8, 8))])
    assert image_net.training


def test_no_example_is_an_error() -> None:
    with pytest.raises(ValueError, match="examples is empty"):
        draw_clusters([])


def test_sets_of_a_batch_are_drawn_one_by_one(cloud_net: ContextClusterNet) -> None:
    both = concat([cloud(30), cloud(40)])
    figure = draw_clusters([(str(i), cloud_net, one) for i, one in enumerate(both.split())])
    assert len(figure.axes) == 8
