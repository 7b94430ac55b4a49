"""Scenes become the input of a network by one function, whatever their offset, extent and up axis."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Data

from pointcoc.data import Cloud, DescribedScenes, RandomScene, SceneInput, survey_scenes
from pointcoc.models import CloudTransform

FEATURES = ("height", "normal", "position", "color", "shape", "intensity")
UTM = torch.tensor([5e5, 4e6, 300.0], dtype=torch.float64)


def transform(**fields) -> CloudTransform:
    return CloudTransform(**{"features": FEATURES, "spacing": 0.5, "view_points": 64, **fields})


def scene(count: int = 300) -> Data:
    random = torch.Generator().manual_seed(count)
    pos = torch.rand(count, 3, generator=random, dtype=torch.float64) * torch.tensor([20, 20, 4]) + UTM
    normal = torch.nn.functional.normalize(torch.randn(count, 3, generator=random), dim=1)
    color, intensity = torch.rand(count, 3, generator=random), torch.rand(count, 1, generator=random)
    return Data(pos=pos, y=torch.arange(count) % 3, color=color, intensity=intensity, normal=normal)


class Scenes:
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Data:
        return scene(100 + 200 * index)

    def source(self, index: int) -> str:
        return f"scene {index}"


def test_features_stand_in_the_order_of_the_transform() -> None:
    inputs, one = SceneInput(transform()), scene()
    described = inputs.describe(one)
    assert described.x.shape == (300, transform().num_features)
    rows = torch.arange(50, 114)
    view = inputs.view(described, rows)
    torch.testing.assert_close(view.x[:, inputs.columns["color"]], one.color[rows] - 0.5)
    torch.testing.assert_close(view.x[:, inputs.columns["intensity"]], one.intensity[rows])
    torch.testing.assert_close(view.x[:, inputs.columns["position"]], view.pos / 20)
    torch.testing.assert_close(view.pos[:, :2].mean(0), torch.zeros(2), rtol=0, atol=1e-5)
    assert float(view.pos[:, 2].min()) == 0
    torch.testing.assert_close(torch.pdist(view.pos), torch.pdist(one.pos[rows]).float())
    assert torch.equal(view.y, one.y[rows])
    assert bool((described.x[:, inputs.columns["position"]] == 0).all())  # a view is a copy


def test_a_view_does_not_depend_on_the_offset_or_the_rest_of_the_scene() -> None:
    inputs, one = SceneInput(transform(features=("position", "color"))), scene()
    near = Data(pos=one.pos - UTM, color=one.color)
    rows = torch.arange(64)
    torch.testing.assert_close(inputs.view(inputs.describe(one), rows).x, inputs.view(inputs.describe(near), rows).x)
    part = Data(pos=one.pos[:64], color=one.color[:64])
    assert torch.equal(inputs.view(inputs.describe(part), rows).x, inputs.view(inputs.describe(one), rows).x)


def test_up_may_be_another_axis() -> None:
    one, names = scene(), ("height", "shape", "normal", "position")
    expected = SceneInput(transform(features=names)).describe(one)
    for up, axes in (("y", [1, 2, 0]), ("x", [2, 0, 1])):
        turned = Data(pos=one.pos[:, axes], normal=one.normal[:, axes])
        found = SceneInput(transform(features=names, up=up)).describe(turned)
        assert torch.equal(found.pos, expected.pos)
        torch.testing.assert_close(found.x, expected.x)


def test_a_cloud_is_a_scene_and_what_lacks_is_named() -> None:
    one = scene()
    cloud = Cloud(pos=one.pos, features={"color": one.color})
    inputs = SceneInput(transform(features=("color",)))
    assert torch.equal(inputs.describe(cloud).x, inputs.describe(one).x)
    with pytest.raises(ValueError, match="the scene has no intensity"):
        SceneInput(transform(features=("color", "intensity"))).describe(cloud)
    for fields, sentence in (
        ({"spacing": None}, "must have spacing and view_points, got None and 64"),
        ({"view_points": None}, "must have spacing and view_points"),
        ({"center": "mean", "scale": "unit_ball"}, "must have center and scale 'none', got 'mean' and 'unit_ball'"),
    ):
        with pytest.raises(ValueError, match=sentence):
            SceneInput(transform(**fields))


def test_random_views_are_near_points_turned_about_the_up_axis() -> None:
    torch.manual_seed(0)
    inputs = SceneInput(transform())
    described = inputs.describe(scene())
    described.y = torch.arange(300)
    view = RandomScene(inputs, scale=(2.0, 2.0), drop_color=1.0)(described)
    assert view.x.shape == (64, transform().num_features)
    original = described.pos[view.y]
    torch.testing.assert_close(torch.pdist(view.pos), 2 * torch.pdist(original).float(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(view.pos[:, 2].diff(), 2 * original[:, 2].diff().float(), rtol=1e-4, atol=1e-4)
    assert torch.pdist(original[:, :2]).max() < 20
    assert bool((view.x[:, inputs.columns["color"]] == 0).all())
    normals = view.x[:, inputs.columns["normal"]]
    torch.testing.assert_close(normals.norm(dim=1), torch.ones(64))
    torch.testing.assert_close(normals[:, 2], described.x[view.y][:, inputs.columns["normal"]][:, 2])
    shape = inputs.columns["shape"]
    assert torch.equal(view.x[:, shape], described.x[view.y][:, shape])
    plain = RandomScene(SceneInput(transform(view_points=300)), turn=False, scale=(1.0, 1.0), drop_color=0.0)
    torch.testing.assert_close(plain(described).x, inputs.view(described, torch.arange(300)).x)
    for words, sentence in (
        ({"scale": (1.1, 0.9)}, "two positive factors, the lower first"),
        ({"drop_color": 1.5}, r"drop_color must be in \[0, 1\], got 1.5"),
    ):
        with pytest.raises(ValueError, match=sentence):
            RandomScene(inputs, **words)


def test_what_is_computed_is_kept(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, calls = SceneInput(transform()), []
    compute = SceneInput.compute
    monkeypatch.setattr(SceneInput, "compute", lambda self, pos: (calls.append(len(pos)), compute(self, pos))[1])
    kept = DescribedScenes(Scenes(), inputs, visits=[1, 0, 1])
    assert [len(one.pos) for one in (kept[0], kept[1], kept[2])] == [300, 100, 300]
    assert calls == [300, 100]
    assert kept.source(0) == "scene 1"
    on_disk = [DescribedScenes(Scenes(), inputs, cache=tmp_path)[1].x for _ in range(2)]
    assert calls == [300, 100, 300]
    assert torch.equal(on_disk[0], on_disk[1])
    assert torch.equal(on_disk[0], kept[0].x)
    other = SceneInput(transform(ground_radius=3.0))
    assert not torch.equal(DescribedScenes(Scenes(), other, cache=tmp_path)[1].x, on_disk[0])


def test_survey_of_a_training_set() -> None:
    survey = survey_scenes(Scenes())
    assert survey.sizes == (100, 300)
    assert 0 < survey.spacing < 3
    assert survey.visits(64) == [0, 0, 1, 1, 1, 1, 1]
    assert survey.visits(1000) == [0, 1]


def test_a_scene_that_cannot_be_read_is_surveyed_and_visited_by_nobody() -> None:
    class Damaged(Scenes):
        def __getitem__(self, index: int) -> Data:
            if index == 0:
                raise ValueError("room 0 is damaged")
            return super().__getitem__(index)

    with pytest.raises(ValueError, match="room 0 is damaged"):
        survey_scenes(Damaged())
    survey = survey_scenes(Damaged(), max_bad=1)
    assert survey.sizes == (0, 300)
    assert survey.visits(64) == [1, 1, 1, 1, 1]
