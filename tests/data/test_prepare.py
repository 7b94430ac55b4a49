"""Clouds become the input of a network: what is chosen, centered, scaled and stacked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from pointcoc import ContextClusterNet
from pointcoc.checks import InputWarning
from pointcoc.data import Cloud, PrepareCloud
from pointcoc.data.prepare import fixed_choice, network_input, place, say_remarks, transform_of
from pointcoc.models import CloudTransform, WeightsInfo

UTM = torch.tensor([5e5, 4e6, 100.0], dtype=torch.float64)
POS = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 4, 0], [0, 0, 4], [2, 4, 4]], dtype=torch.float64)


def cloud(**attributes) -> Data:
    return Data(pos=POS, color=torch.tensor([[1.0, 0.5, 0]] * 5), normal=torch.eye(3)[[0, 1, 2, 0, 1]], **attributes)


def test_center_and_scale_on_paper() -> None:
    assert torch.equal(place(POS, CloudTransform()), POS.float())
    box = place(POS, CloudTransform(center="box"))
    assert torch.equal(box, (POS - torch.tensor([1.0, 2, 2])).float())
    ball = place(POS, CloudTransform(center="box", scale="unit_ball"))
    torch.testing.assert_close(ball, box / 3)
    mean = place(POS, CloudTransform(center="mean"))
    torch.testing.assert_close(mean, (POS - torch.tensor([0.8, 1.6, 1.6])).float())


@pytest.mark.parametrize("center", ["box", "mean"])
def test_an_offset_costs_no_digits(center: str) -> None:
    transform = CloudTransform(center=center, scale="unit_ball")
    near = torch.rand(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(place(1e-3 * near + UTM, transform), place(near, transform), atol=1e-5, rtol=0)
    assert place(near + UTM, CloudTransform(center=center)).dtype == torch.float32


def test_features_stand_side_by_side_in_the_order_of_the_transform() -> None:
    data = PrepareCloud(CloudTransform(features=("normal", "position", "color")))(cloud(y=torch.tensor([3])))
    assert data.x.shape == (5, 9)
    assert torch.equal(data.x[:, :3], cloud().normal)
    assert torch.equal(data.x[:, 3:6], POS.float())
    assert data.x[0, 6:].tolist() == [0.5, 0, -0.5]
    assert data.y.tolist() == [3]
    assert "color" not in data
    assert PrepareCloud(CloudTransform())(cloud()).x is None  # positions are the features of a set without x


def test_what_belongs_to_points_follows_the_chosen_points() -> None:
    data = cloud(y=torch.arange(5), category=torch.tensor([7]))
    few = PrepareCloud(CloudTransform(num_points=3, features=("position", "color")))(data)
    rows = fixed_choice(5, 3)
    assert few.y.tolist() == rows.tolist()
    assert torch.equal(few.pos, POS[rows].float())
    assert few.category.tolist() == [7]


def test_the_same_points_each_time_or_others() -> None:
    transform = CloudTransform(num_points=40)
    data = Data(pos=torch.rand(100, 3))
    fixed = [PrepareCloud(transform)(data).pos for _ in range(2)]
    assert torch.equal(*fixed)
    torch.manual_seed(0)
    drawn = [PrepareCloud(transform, resample=True)(data).pos for _ in range(2)]
    assert not torch.equal(*drawn)
    assert drawn[0].shape == fixed[0].shape == (40, 3)
    assert torch.equal(PrepareCloud(CloudTransform(num_points=200), resample=True)(data).pos, data.pos)


def test_one_point() -> None:
    data = Data(pos=UTM[None], y=torch.tensor([1]))
    one = PrepareCloud(CloudTransform(center="mean", scale="unit_ball", num_points=8), drop_points=0.9)(data)
    assert one.pos.tolist() == [[0, 0, 0]]
    assert one.y.tolist() == [1]


def test_a_missing_feature_is_named_with_what_is_there() -> None:
    with pytest.raises(ValueError, match=r"the cloud has no intensity, which the network reads \(features: position, "):
        PrepareCloud(CloudTransform(features=("position", "intensity")))(cloud())
    with pytest.raises(ValueError, match="it has positions, color, normal"):
        PrepareCloud(CloudTransform(features=("position", "return_number")))(cloud())
    with pytest.raises(ValueError, match=r"color must have shape \(5, 3\), one row a point, got \(4, 3\)"):
        PrepareCloud(CloudTransform(features=("color",)))(Data(pos=POS, color=torch.zeros(4, 3)))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"center": "middle"}, "unknown center 'middle'; choose from none, box, mean"),
        ({"scale": "meters"}, "unknown scale 'meters'; choose from none, unit_ball"),
        ({"scale": "unit_ball"}, "scale 'unit_ball' needs a center: choose center 'box' or 'mean', got 'none'"),
        ({"up": "w"}, "unknown up 'w'; choose from x, y, z"),
        ({"num_points": 0}, "num_points must be an integer of at least 1, got 0"),
        ({"spacing": -1.0}, "spacing must be a positive length, got -1.0"),
        ({"features": ()}, "features is empty; give at least one feature"),
        ({"features": ("position", "colour")}, "unknown feature 'colour'; choose from position, color"),
        ({"features": ("color", "color")}, "features must be named once each, got color, color"),
    ],
)
def test_transforms_that_are_not_allowed(fields: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence.replace("(", r"\(")):
        CloudTransform(**fields)


def network(transform: CloudTransform | None, **settings) -> ContextClusterNet:
    net = ContextClusterNet.from_preset("coc_points_small", num_classes=3, **settings).eval()
    net.weights_info = WeightsInfo(transform=transform)
    return net


def test_a_note_travels_with_the_weights(tmp_path) -> None:
    noted = CloudTransform(
        center="mean", scale="unit_ball", up="y", num_points=64, any_num_points=False, features=("position", "normal"),
        spacing=0.05, ground_radius=2.5, num_neighbors=16, view_points=1000,
    )  # fmt: skip
    net = network(noted, in_channels=6)
    net.weights_info = WeightsInfo(transform=noted, class_names=("a", "b", "c"))
    net.save_pretrained(tmp_path / "net")
    again = ContextClusterNet.from_pretrained(tmp_path / "net")
    assert again.weights_info == net.weights_info
    assert transform_of(again) == noted
    card = (tmp_path / "net" / "README.md").read_text()
    assert "64 points, in views of 1,000, the mean at the origin, scaled to the unit ball, y up, features" in card


def test_weights_without_a_note_say_what_is_assumed() -> None:
    sentence = "assumed: all points, the middle of the box at the origin, scaled to the unit ball, z up, features "
    for channels, features in ((3, "position"), (6, "position, color")):
        with pytest.warns(InputWarning, match=sentence + features):
            assert transform_of(network(None, in_channels=channels)).num_features == channels
    with pytest.raises(ValueError, match="the weights do not say which 5 features of a point the network reads"):
        transform_of(network(None, in_channels=5))
    with pytest.raises(ValueError, match="the network takes images, not clouds"):
        transform_of(ContextClusterNet.from_preset("coc_nano"))


def test_what_a_reader_remarks_and_too_few_points_are_said() -> None:
    read = Cloud(pos=POS, remarks=("1 row of NaN was dropped",))
    with pytest.warns(InputWarning, match="the cloud: 1 row of NaN was dropped"):
        say_remarks(read)
    assert network_input(read, network(CloudTransform()), CloudTransform()).x.dtype == torch.float32
    exact = CloudTransform(num_points=64, any_num_points=False)
    with pytest.warns(InputWarning, match="has 5 points, and the network was trained on 64 a cloud"):
        network_input(Cloud(pos=POS), network(exact), exact)
    network_input(Cloud(pos=POS), network(exact), CloudTransform(num_points=64))  # any number: nothing to say


def test_classes_of_weights_and_data_are_matched_by_name() -> None:
    info = WeightsInfo(class_names=("chair", "lamp"))
    assert info.match_classes(("chair", "lamp"), "the data") == {0: 0, 1: 1}
    assert WeightsInfo().match_classes(("any",), "the data") == {0: 0}
    assert info.match_classes(("lamp", "chair"), "the data") == {0: 1, 1: 0}
    assert info.match_classes({7: "lamp"}, "the data") == {7: 1}
    with pytest.raises(ValueError, match=r"the data has classes .* not know: desk; only the weights have: chair, lamp"):
        info.match_classes(("desk",), "the data")
    with pytest.raises(ValueError, match=r"in different order, and the data names several classes 'lamp'"):
        info.match_classes(("lamp", "lamp"), "the data")


def test_a_choice_depends_on_numbers_alone() -> None:
    assert fixed_choice(10, 4).tolist() == fixed_choice(10, 4).tolist()
    assert len(set(fixed_choice(10, 4).tolist())) == 4
    assert np.all(np.diff(fixed_choice(1000, 300).numpy()) > 0)
