"""Clouds: files with and without colors, and PLY that is read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pointcoc import ContextClusterNet
from pointcoc.checks import InputWarning
from pointcoc.models import CloudTransform, WeightsInfo
from pointcoc.predict import Labeled, class_colors, read_points, write_ply
from pointcoc.segmentation import PointSegmenter, label_cloud, point_segmentation

NARROW = {"dims": (8, 12, 16), "heads": 2, "head_dims": 4, "num_classes": 0, "dense": True}
POINTS = np.array([[0.0, 1, 2, 255, 0, 51], [3, 4, 5, 0, 255, 0], [6, 7, 8, 1, 2, 3]])


UNIT_BALL = CloudTransform(center="box", scale="unit_ball")


def segmenter(noted: CloudTransform | None = UNIT_BALL, **settings) -> PointSegmenter:
    torch.manual_seed(0)
    net = ContextClusterNet.from_preset("coc_points_small", **NARROW, **settings)
    model = point_segmentation(net, num_classes=5, num_categories=2).eval()
    model.weights_info = WeightsInfo(transform=noted)
    return model


def test_a_ply_file_is_read_back_with_its_colors(tmp_path: Path) -> None:
    classes = torch.tensor([4, 0, 1])
    write_ply(tmp_path / "a.ply", Labeled(torch.from_numpy(POINTS[:, :3]), classes), 5)
    table = read_points(tmp_path / "a.ply")
    assert np.array_equal(table[:, :3], POINTS[:, :3])
    assert np.array_equal(table[:, 3:], class_colors(5)[classes].numpy())
    content = (tmp_path / "a.ply").read_bytes()
    body = content.partition(b"end_header\n")[2]
    assert len(body) == 3 * (3 * 8 + 3 + 4)
    assert [int.from_bytes(body[31 * row + 27 : 31 * row + 31], "little") for row in range(3)] == [4, 0, 1]


def test_points_of_text_and_arrays_with_and_without_colors(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.column_stack([POINTS, np.ones(3)]))
    np.savetxt(tmp_path / "b.txt", POINTS)
    np.savetxt(tmp_path / "c.xyz", POINTS[:, :4])
    assert np.array_equal(read_points(tmp_path / "a.npy"), POINTS)
    assert np.array_equal(read_points(tmp_path / "b.txt"), POINTS)
    assert np.array_equal(read_points(tmp_path / "b.txt", colors=False), POINTS[:, :3])
    assert np.array_equal(read_points(tmp_path / "c.xyz"), POINTS[:, :3])


def test_place_and_scale_of_an_object_do_not_matter_and_parts_are_of_its_category(tmp_path: Path) -> None:
    model, pos = segmenter(), np.random.default_rng(0).normal(size=(50, 3))
    np.save(tmp_path / "a.npy", pos)
    np.save(tmp_path / "b.npy", 7 * pos + 100)
    parts = ((0, 1), (2, 3, 4))
    first, second = (label_cloud(model, tmp_path / f"{name}.npy", 1, parts) for name in "ab")
    assert torch.equal(first.classes, second.classes)
    assert set(first.classes.tolist()) <= {2, 3, 4}
    assert set(label_cloud(model, tmp_path / "a.npy", 0, parts).classes.tolist()) <= {0, 1}
    assert np.array_equal(second.pos.numpy(), 7 * pos + 100)


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"f.npy is not a file"):
        read_points(tmp_path / "f.npy")
    np.save(tmp_path / "g.npy", np.random.default_rng(0).normal(size=(9, 3)))
    with (
        pytest.warns(InputWarning, match="the weights do not say how clouds became their input; assumed: all points"),
        pytest.raises(ValueError, match=r"g\.npy has no color, which the network reads"),
    ):
        label_cloud(segmenter(None, in_channels=6), tmp_path / "g.npy", 0)
    with pytest.raises(ValueError, match="the weights do not say which 4 features of a point the network reads"):
        label_cloud(segmenter(None, in_channels=4), tmp_path / "g.npy", 0)
