"""Maps, tested on values: the color of every pixel and point, borders, sizes."""

from __future__ import annotations

import pytest
import torch

from pointcoc import ContextClusterNet, image_to_points
from pointcoc.viz import center_colors, cluster_colors, cluster_map, cluster_sizes, overlay, point_colors, trace
from pointcoc.viz.maps import borders, dimmed, input_colors, lay_out


def test_cluster_map_holds_the_color_of_every_site(image_net: ContextClusterNet) -> None:
    stage = image_net.assignments(torch.rand(1, 1, 24, 40))[0]
    picture = cluster_map(stage, head=1)
    assert picture.shape == (12, 20, 3)
    expected = cluster_colors(stage, -1, 1)
    for (row, column), color in zip(stage.points.pos.long().tolist(), expected, strict=True):
        assert torch.equal(picture[row, column], color)


def test_cluster_map_leaves_holes_white(image_net: ContextClusterNet) -> None:
    mask = torch.zeros(1, 32, 32, dtype=torch.bool)
    mask[0, :8, :8] = True
    picture = cluster_map(image_net.assignments(image_to_points(torch.rand(1, 1, 32, 32), mask))[0])
    assert (picture[4:] == 1).all()
    assert not (picture[:4, :4] == 1).all(-1).any()


def test_cluster_map_refuses_clouds_and_batches(
    cloud_net: ContextClusterNet, image_net: ContextClusterNet, make_cloud
) -> None:
    with pytest.raises(ValueError, match="one set on a lattice"):
        cluster_map(cloud_net.assignments(make_cloud(50))[0])
    with pytest.raises(ValueError, match="got 2 sets"):
        cluster_map(image_net.assignments(torch.rand(2, 1, 8, 8))[0])


@pytest.mark.parametrize("centers", [5, 7])
def test_points_have_the_color_of_their_cluster(centers: int) -> None:
    torch.manual_seed(0)
    net = ContextClusterNet.from_preset("coc_nano", num_classes=3, centers=centers).eval()
    (one,) = trace(net, torch.rand(1, 3, 56, 33))
    for s in range(3):
        colors = center_colors(one.stages[s].center_pos)
        assert torch.equal(point_colors(one, s, head=1), colors[one.cluster(s, head=1)])
        assert point_colors(one, s).shape == (56 * 33, 3)
        sizes = cluster_sizes(one, s)
        assert sizes.shape == (len(colors),)
        assert int(sizes.sum()) == 56 * 33


def test_similarity_runs_from_dark_to_yellow(image_net: ContextClusterNet) -> None:
    (one,) = trace(image_net, torch.rand(1, 1, 16, 24))
    colors, similarity = point_colors(one, 0, kind="similarity"), one.similarity(0)
    assert colors[similarity.argmin()].tolist() == pytest.approx([0, 0.135112, 0.304751], abs=1e-3)
    assert colors[similarity.argmax()].tolist() == pytest.approx([0.995737, 0.909344, 0.217772], abs=1e-3)


def test_overlay_blends_and_draws_borders(color_net: ContextClusterNet) -> None:
    picture = torch.rand(18, 26, 3, dtype=torch.float64)
    (one,) = trace(color_net, picture.float().permute(2, 0, 1)[None], picture)
    drawn = overlay(one, 1, opacity=0.25)
    blend = 0.25 * point_colors(one, 1).view(18, 26, 3) + 0.75 * picture
    edge = borders(one.cluster(1).view(18, 26))
    torch.testing.assert_close(drawn[~edge], blend[~edge])
    torch.testing.assert_close(drawn[edge], 0.35 * blend[edge])
    assert edge.any()


def test_borders_by_hand() -> None:
    numbers = torch.tensor([[0, 0, 1], [0, 0, 1], [2, 2, 2]])
    assert borders(numbers).long().tolist() == [[0, 1, 0], [1, 1, 1], [0, 0, 0]]


def test_input_colors(image_net: ContextClusterNet, cloud_net: ContextClusterNet, make_cloud) -> None:
    image = torch.tensor([[0.0, 1.0], [3.0, 4.0]])[None, None]
    (gray,) = trace(image_net, image)
    assert input_colors(gray)[:, 0].tolist() == [1, 0.75, 0.25, 0]
    (points,) = trace(cloud_net, make_cloud(9))
    assert input_colors(points).shape == (9, 3)
    faded = dimmed(gray, torch.tensor([True, False, False, True]))
    assert faded[:, 1].tolist() == [1, 0.9375, 0.8125, 0]
    with pytest.raises(ValueError, match="lay_out needs an image, got a cloud"):
        lay_out(points, torch.zeros(9), 0)


def test_mistakes(image_net: ContextClusterNet) -> None:
    (one,) = trace(image_net, torch.rand(1, 1, 8, 8))
    with pytest.raises(ValueError, match="unknown kind 'heat'; choose from clusters, similarity"):
        point_colors(one, kind="heat")
    with pytest.raises(ValueError, match=r"opacity must be in \[0, 1\], got 2"):
        overlay(one, opacity=2)
