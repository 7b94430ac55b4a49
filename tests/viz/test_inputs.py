"""Files: what each kind of image and cloud gives, and a sentence for each that is broken."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from pointcoc import ContextClusterNet
from pointcoc.checks import InputWarning
from pointcoc.models import CloudTransform, ImageTransform, WeightsInfo
from pointcoc.viz.inputs import cloud_input, image_input, is_cloud_file, read_cloud, read_picture, trace_file

POINTS = np.array([[0, 0, 0], [2, 0, 0], [0, 4, 0], [0, 0, 4], [2, 4, 4]], dtype=np.float64)
UNIT = (POINTS - [1, 2, 2]) / 3
PLY = """ply
format {format} 1.0
comment made by hand
element vertex 5
property uchar red
property float x
property float y
property double z
element face 1
property list uchar int vertex_indices
end_header
"""


def write_ply(path: Path, order: str | None) -> None:
    if order is None:
        rows = "".join(f"7 {x} {y} {z}\n" for x, y, z in POINTS)
        path.write_text(PLY.format(format="ascii") + rows + "3 0 1 2\n")
        return
    table = np.zeros(5, dtype=[("r", "u1"), ("x", order + "f4"), ("y", order + "f4"), ("z", order + "f8")])
    table["x"], table["y"], table["z"] = POINTS.T
    name = {"<": "binary_little_endian", ">": "binary_big_endian"}[order]
    path.write_bytes(PLY.format(format=name).encode() + table.tobytes() + b"\x03" + bytes(12))


def write(path: Path, kind: str) -> Path:
    """Write the points as a file of some kind."""
    if kind == "npy":
        np.save(path / "a.npy", np.concatenate([POINTS, POINTS], axis=1))
        return path / "a.npy"
    if kind in ("npz", "npz-one"):
        arrays = {"pos": POINTS, "other": np.zeros(3)} if kind == "npz" else {"anything": POINTS}
        np.savez(path / "a.npz", **arrays)
        return path / "a.npz"
    if kind.startswith("ply"):
        write_ply(path / "a.ply", {"ply": None, "ply<": "<", "ply>": ">"}[kind])
        return path / "a.ply"
    if kind == "h5":
        with h5py.File(path / "a.h5", "w") as file:
            file["data"] = np.stack([POINTS, -POINTS])
        return path / "a.h5"
    text = (
        "\n".join(", ".join(map(str, row)) for row in POINTS)
        if kind == "xyz"
        else "5\n# x y z\n" + "\n".join(f"{x} {y} {z} 255 0 0" for x, y, z in POINTS)
    )
    (path / f"a.{kind}").write_text(text + "\n")
    return path / f"a.{kind}"


@pytest.mark.parametrize("kind", ["npy", "npz", "npz-one", "ply", "ply<", "ply>", "h5", "xyz", "pts"])
def test_clouds(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind)
    assert is_cloud_file(path)
    np.testing.assert_allclose(read_cloud(path).numpy(), UNIT, atol=1e-6)


def test_large_clouds_are_drawn_from(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(500, 3)))
    few = read_cloud(tmp_path / "a.npy", 100)
    assert few.shape == (100, 3)
    assert torch.equal(few, read_cloud(tmp_path / "a.npy", 100))
    assert float(few.norm(dim=1).max()) == pytest.approx(1)


def test_one_point(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((1, 3)))
    assert read_cloud(tmp_path / "a.npy").tolist() == [[0, 0, 0]]


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.ply is not a file"):
        read_cloud(tmp_path / "none.ply")
    with pytest.raises(FileNotFoundError, match=r"none\.png is not a file"):
        read_picture(tmp_path / "none.png")
    with pytest.raises(ValueError, match=r"a\.doc is no cloud by its name; a cloud ends with \.ply"):
        read_cloud(tmp_path / "a.doc")


def test_pictures_are_resized_by_their_longer_side(tmp_path: Path) -> None:
    Image.new("RGBA", (100, 40), (255, 0, 51, 255)).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png", 50)
    assert picture.shape == (20, 50, 3)
    assert picture[0, 0].tolist() == pytest.approx([1, 0, 0.2])
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        read_picture(tmp_path / "a.png", 0)
    (tmp_path / "a.jpg").write_text("no image")
    with pytest.raises(ValueError, match=r"a\.jpg cannot be read: it is text, not an image"):
        read_picture(tmp_path / "a.jpg")


def test_images_are_normalized_as_the_weights_say(color_net: ContextClusterNet, image_net: ContextClusterNet) -> None:
    picture = torch.rand(4, 6, 3, dtype=torch.float64)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = ((picture - mean) / std).permute(2, 0, 1)[None].float()
    torch.testing.assert_close(image_input(picture, color_net), expected)
    assert image_input(picture, image_net).shape == (1, 1, 4, 6)
    net = ContextClusterNet.from_preset("coc_nano")
    net.weights_info = WeightsInfo(transform=ImageTransform(mean=(0.5,) * 3, std=(0.5,) * 3))
    torch.testing.assert_close(image_input(picture, net), (2 * picture - 1).permute(2, 0, 1)[None].float())
    with pytest.raises(ValueError, match="pictures have 3 channels or, in gray, 1; the network takes 5"):
        image_input(picture, ContextClusterNet.from_preset("coc_nano", in_channels=5))


def test_a_network_for_other_inputs(tmp_path: Path, color_net, cloud_net) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", POINTS)
    with pytest.warns(
        InputWarning, match="the weights do not say how clouds became their input; assumed: all points, "
    ):
        assert trace_file(tmp_path / "a.npy", cloud_net).points.num_points == 5
    assert trace_file(tmp_path / "a.png", color_net, 12).points.num_points == 144
    with pytest.raises(ValueError, match="is an image, but the network takes clouds; give weights for images"):
        trace_file(tmp_path / "a.png", cloud_net)
    with pytest.raises(ValueError, match="is a cloud, but the network takes images; give weights for clouds"):
        trace_file(tmp_path / "a.npy", color_net)
    six = ContextClusterNet.from_preset("coc_points_small", in_channels=6)
    six.weights_info = WeightsInfo(transform=CloudTransform(features=("position", "color")))
    with pytest.raises(ValueError, match=r"a\.npy has no color, which the network reads"):
        trace_file(tmp_path / "a.npy", six)
    with pytest.raises(ValueError, match="has coordinates alone, but the network takes 6 features a point"):
        cloud_input(torch.zeros(3, 3), ContextClusterNet.from_preset("coc_points_small", in_channels=6))
