"""Classes of the points of files: objects in parts, scenes in views, written back with the codes of their classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pointcoc import ContextClusterNet
from pointcoc.checks import InputWarning
from pointcoc.cli import main
from pointcoc.data import PrepareCloud, SceneInput, read_cloud
from pointcoc.models import CloudTransform, WeightsInfo
from pointcoc.segmentation import PointSegmenter, label_cloud, point_segmentation, scene_scores

NARROW = {"dims": (8, 12, 16), "heads": 2, "head_dims": 4, "num_classes": 0, "dense": True}
OBJECT = CloudTransform(center="mean", scale="unit_ball", num_points=100)
SCENE = CloudTransform(features=("height", "shape"), spacing=0.1, view_points=400)


def segmenter(transform: CloudTransform, preset: str = "coc_points_small", **notes) -> PointSegmenter:
    torch.manual_seed(0)
    settings = {"voxels": (0.2, 0.4, 0.8, 1.6), "dims": (8, 12, 16, 16)} if preset == "coc_scene" else {}
    net = ContextClusterNet.from_preset(preset, **{**NARROW, "in_channels": transform.num_features, **settings})
    model = point_segmentation(net, num_classes=3).eval()
    model.weights_info = WeightsInfo(transform=transform, class_names=("a", "b", "c"), notes=notes)
    return model


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A floor of 10 by 10 meters with a box on it, 1,500 points, in map coordinates."""
    rng = np.random.default_rng(0)
    pos = rng.uniform(0, 3.5, (1500, 3)) * [1, 1, 0.01]
    pos[:300] = rng.uniform(1, 2, (300, 3))
    file = tmp_path_factory.mktemp("scene") / "scan.npy"
    np.save(file, pos + np.array([5e5, 4e6, 100]))
    return file


def test_every_point_of_a_large_object_is_answered_at_the_density_of_training(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(250, 3)))
    model, passes = segmenter(OBJECT), []
    found = label_cloud(model, tmp_path / "a.npy", progress=lambda done, total: passes.append((done, total)))
    assert passes == [(1, 3), (2, 3), (3, 3)]
    assert found.classes.shape == (250,)
    assert found.scores is not None
    assert bool(((found.scores > 1 / 3) & (found.scores <= 1)).all())
    again = label_cloud(model, tmp_path / "a.npy")
    assert torch.equal(found.classes, again.classes)
    np.save(tmp_path / "b.npy", np.load(tmp_path / "a.npy")[:100])
    small = label_cloud(model, tmp_path / "b.npy")
    with torch.no_grad():
        logits = model(PrepareCloud(OBJECT)(read_cloud(tmp_path / "b.npy")))
    assert torch.equal(small.classes, logits.argmax(1))


def test_a_category_may_have_all_parts_or_one(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(60, 3)))
    torch.manual_seed(0)
    net = ContextClusterNet.from_preset("coc_points_small", **NARROW, in_channels=3)
    model = point_segmentation(net, num_classes=3, num_categories=2).eval()
    model.weights_info = WeightsInfo(transform=OBJECT)
    free = label_cloud(model, tmp_path / "a.npy", 0)
    assert torch.equal(label_cloud(model, tmp_path / "a.npy", 0, ((0, 1, 2), (1,))).classes, free.classes)
    assert set(label_cloud(model, tmp_path / "a.npy", 1, ((0, 1, 2), (1,))).classes.tolist()) == {1}


def test_scenes_are_read_in_views(scene: Path) -> None:
    model, views = segmenter(SCENE, "coc_scene"), []
    found = label_cloud(model, scene, progress=lambda done, total: views.append((done, total)))
    inputs = SceneInput(SCENE)
    scores, num_views = scene_scores(model, inputs.describe(read_cloud(scene)), inputs)
    assert views[-1] == (num_views, num_views)
    assert num_views > 1
    assert torch.equal(found.classes, scores.argmax(1))
    torch.testing.assert_close(found.scores, scores.amax(1))


def test_units_that_cannot_be_those_of_the_training_are_said(scene: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "millimeters.npy", 1000 * np.load(scene))
    with pytest.warns(InputWarning, match=r"the network was trained on points 0.1 apart: is it in other units"):
        label_cloud(segmenter(SCENE, "coc_scene"), tmp_path / "millimeters.npy")


def test_lidar_gets_the_codes_of_its_classes_back(scene: Path, tmp_path: Path, capsys) -> None:
    laspy = pytest.importorskip("laspy")
    header = laspy.LasHeader(point_format=1, version="1.2")
    header.scales, header.offsets = [0.001] * 3, [5e5, 4e6, 0]
    las = laspy.LasData(header)
    las.x, las.y, las.z = np.load(scene).T
    las.gps_time = np.arange(1500) / 7
    las.write(tmp_path / "scan.las")
    segmenter(SCENE, "coc_scene", codes=(2, 5, 6)).save_pretrained(tmp_path / "net")
    out = tmp_path / "out"
    assert main(["predict", str(tmp_path / "scan.las"), "--weights", str(tmp_path / "net"), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"{tmp_path / 'scan.las'}: 1,500 points, " in said
    assert f" s, {out / 'scan.las'}" in said
    written = laspy.read(out / "scan.las")
    assert set(np.asarray(written.classification).tolist()) <= {2, 5, 6}
    np.testing.assert_array_equal(written.gps_time, las.gps_time)
