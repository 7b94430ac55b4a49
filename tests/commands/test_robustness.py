"""`pointcoc robustness`: what it prints and writes, and one sentence for each mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from pointcoc import PRESETS, ContextClusterNet, NetworkConfig
from pointcoc.cli import main
from pointcoc.data import write_shapes
from pointcoc.models import CloudTransform, ImageTransform, WeightsInfo

SMALL = {"depths": (1, 1), "dims": (8, 16), "heads": 2, "head_dims": 4, "mlp_ratios": 1, "strides": 4}


def write_weights(folder: Path, preset: str, transform: ImageTransform | None = None, **changes) -> Path:
    torch.manual_seed(0)
    image, cloud = {"neighbors": 4, "centers": 2}, {"neighbors": 8, "centers": 3, "center_neighbors": 4}
    layout = image if preset == "coc_tiny" else cloud
    base = PRESETS[preset]
    config = NetworkConfig(
        **{
            "anchors": base.anchors, "pos_dim": base.pos_dim, "proposals": base.proposals, "in_channels": 3,
            "num_classes": 10, "partition": base.partition, "regions": 1, **SMALL, **layout, **changes,
        }
    )  # fmt: skip
    net = ContextClusterNet(config)
    noted = transform if preset == "coc_tiny" else CloudTransform(up="y")
    net.weights_info = WeightsInfo(transform=noted)
    net.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def cloud_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("cloud"), "coc_points")


@pytest.fixture(scope="module")
def image_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    transform = ImageTransform(crop_pct=1.0, input_size=(16, 16))
    return write_weights(tmp_path_factory.mktemp("image"), "coc_tiny", transform, num_classes=2)


@pytest.fixture(scope="module")
def cloud_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("clouds") / "shapes", 10, 12, 32)


@pytest.fixture(scope="module")
def image_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for number, name in enumerate(("cat", "dog")):
        (folder / "val" / name).mkdir(parents=True)
        for shade in (60, 120, 180):
            Image.new("RGB", (20, 20), (shade, 90, 200 * number)).save(folder / "val" / name / f"{shade}.png")
    return folder


def run(*arguments: object) -> int:
    return main(["robustness", *map(str, arguments)])


def test_clouds(capsys, cloud_weights: Path, cloud_data: Path, tmp_path: Path) -> None:
    options = ("--weights", cloud_weights, "--data", cloud_data, "--points", 32)
    assert run(*options, "--out", tmp_path / "a", "--strengths", 5) == 0
    shown = capsys.readouterr().out
    assert "12 items" in shown
    assert "| occlusion " in shown
    assert f"wrote robustness.json, robustness.md and robustness.png to {tmp_path / 'a'}" in shown
    content = json.loads((tmp_path / "a" / "robustness.json").read_text())
    assert len(content["errors"]) == 15
    assert all(set(row) == {"5"} for row in content["errors"].values())
    assert list(content["accuracy_by_percent_removed"]) == [str(percent) for percent in range(0, 100, 10)]
    assert content["accuracy_by_percent_removed"]["0"] == pytest.approx(1 - content["clean_error"])
    assert (tmp_path / "a" / "robustness.md").read_text().count("\n| ") == 18 + 3
    with Image.open(tmp_path / "a" / "robustness.png") as picture:
        assert picture.size[0] > 800
    chosen = ("--kinds", "rotation", "lidar", "--strengths", 5, "--out", tmp_path / "b")
    assert run(*options, *chosen) == 0
    again = json.loads((tmp_path / "b" / "robustness.json").read_text())
    assert again["errors"] == {kind: content["errors"][kind] for kind in ("rotation", "lidar")}


def test_images(capsys, image_weights: Path, image_data: Path, tmp_path: Path) -> None:
    options = ("--weights", image_weights, "--data", image_data, "--out", tmp_path, "--strengths", 1)
    assert run(*options) == 0
    assert "6 items" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "robustness.json").read_text())["errors"]) == 15
    assert run(*options, "--limit", 4, "--kinds", "snow", "--seed", 1) == 0
    assert "4 items" in capsys.readouterr().out
    assert json.loads((tmp_path / "robustness.json").read_text())["limit"] == 4


def test_digits_where_no_data_is_given(capsys, tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "net", "coc_tiny", in_channels=1)
    chosen = ("--kinds", "fog", "--strengths", 1, "--limit", 20)
    assert run("--weights", weights, "--out", tmp_path / "out", *chosen) == 0
    assert "20 items" in capsys.readouterr().out


def sentence_of(capsys, *arguments: object) -> str:
    assert run(*arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("pointcoc robustness: error: ")
    assert shown.err.count("\n") == 1
    return shown.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--kinds", "shear", "shear"), "kinds must be one or more, each once, got shear, shear"),
        (("--kinds", "rain"), "unknown kind 'rain'; choose from occlusion, lidar, density_increase"),
        (("--kinds", "fog"), "unknown kind 'fog'; choose from occlusion, lidar, density_increase"),
        (("--strengths", 6), "strength must be one of 1, 2, 3, 4, 5, got 6"),
        (("--limit", 0), "--limit must be at least 1, got 0"),
        (("--seed", -1), "--seed must be at least 0, got -1"),
        (("--batch-size", 0), "--batch-size must be at least 1, got 0"),
        (("--points", 64), "num_points must be in [1, 32]"),
    ],
)
def test_values_that_are_not_allowed(
    capsys, cloud_weights: Path, cloud_data: Path, tmp_path: Path, arguments: tuple, sentence: str
) -> None:
    given = ("--weights", cloud_weights, "--data", cloud_data, "--out", tmp_path / "out")
    points = () if "--points" in arguments else ("--points", 32)
    assert sentence in sentence_of(capsys, *given, *points, *arguments)
    assert not (tmp_path / "out").exists()


def test_network_and_data_that_do_not_fit(
    capsys, cloud_weights: Path, image_weights: Path, cloud_data: Path, image_data: Path, tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "out")
    images, clouds = ("--weights", image_weights), ("--weights", cloud_weights)
    for arguments, sentence in (
        ((*clouds, "--data", image_data), f"the network takes clouds, but {image_data} is a folder of images"),
        ((*images, "--data", cloud_data), f"the network takes images, but {cloud_data} is a folder of clouds"),
        ((*images, "--data", tmp_path), f"{tmp_path} must hold one folder per class with images in it"),
        ((*clouds, "--data", tmp_path), f"folder {tmp_path} must hold shape_names.txt"),
        ((*clouds, "--data", tmp_path / "none"), f"nothing lies at {tmp_path / 'none'}"),
        ((*images,), "give --data: without it images are digits (1 channel, 10 classes), and the network takes 3"),
        ((*images, "--data", image_data, "--points", 32), "num_points is for clouds, and the network takes images"),
        (("--weights", tmp_path / "none"), "none"),
    ):
        assert sentence in sentence_of(capsys, *arguments, *out)


def test_classes_and_transforms_that_do_not_fit(capsys, image_data: Path, tmp_path: Path) -> None:
    for name, changes, transform, sentence in (
        ("three", {"num_classes": 3}, ImageTransform(), f"the network tells 3 classes apart, {image_data} holds 2"),
        ("none", {"num_classes": 0}, ImageTransform(), "the network has no classifier (num_classes is 0)"),
        ("unknown", {"num_classes": 2}, None, "the weights do not state how images became their input; set "),
        ("four", {"in_channels": 4}, ImageTransform(), "images have 3 channels or, in gray, 1; the network takes 4"),
    ):
        weights = write_weights(tmp_path / name, "coc_tiny", transform, **changes)
        arguments = ("--weights", weights, "--data", image_data, "--out", tmp_path / "out")
        assert sentence in sentence_of(capsys, *arguments)


def test_an_image_that_cannot_be_read_is_named(capsys, image_weights: Path, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "val" / name).mkdir(parents=True)
        (tmp_path / "val" / name / "broken.png").write_bytes(b"no image")
    arguments = ("--weights", image_weights, "--data", tmp_path, "--out", tmp_path / "out")
    message = sentence_of(capsys, *arguments)
    assert "an item cannot be read" in message
    assert "broken.png" in message


def test_out_that_is_a_file(capsys, cloud_weights: Path, cloud_data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    arguments = ("--weights", cloud_weights, "--data", cloud_data, "--points", 32, "--out", tmp_path / "file")
    assert f"must be a folder, but {tmp_path / 'file'} is a file" in sentence_of(capsys, *arguments)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "robustness.md").write_text("notes")
    arguments = (*arguments[:-1], tmp_path / "mine")
    assert "robustness.md would be replaced" in sentence_of(capsys, *arguments)
    assert (tmp_path / "mine" / "robustness.md").read_text() == "notes"
    assert (tmp_path / "file").read_text() == "mine"


def test_help(capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        run("--help")
    assert stop.value.code == 0
    assert "--strengths" in capsys.readouterr().out


def test_classes_are_matched_by_name(capsys, image_weights: Path, image_data: Path, tmp_path: Path) -> None:
    errors = []
    for names, rows in ((("cat", "dog"), [0, 1]), (("dog", "cat"), [1, 0])):
        net = ContextClusterNet.from_pretrained(image_weights)
        with torch.no_grad():
            for parameter in net.head.parameters():
                parameter.copy_(parameter[rows])  # the same network with its classes in another order
        net.weights_info = WeightsInfo(class_names=names, transform=net.weights_info.transform)
        net.save_pretrained(tmp_path / names[0])
        options = ("--data", image_data, "--kinds", "contrast", "--strengths", 1, "--out", tmp_path / f"{names[0]}-out")
        assert run("--weights", tmp_path / names[0], *options) == 0
        content = json.loads((tmp_path / f"{names[0]}-out" / "robustness.json").read_text())
        errors.append({name: value for name, value in content.items() if name not in ("weights",)})
    assert errors[0] == errors[1]
    capsys.readouterr()
    net.weights_info = WeightsInfo(class_names=("cow", "cat"), transform=net.weights_info.transform)
    net.save_pretrained(tmp_path / "cow")
    sentence = sentence_of(capsys, "--weights", tmp_path / "cow", "--data", image_data, "--out", tmp_path / "out")
    assert "has classes that the weights do not know: dog; only the weights have: cow" in sentence
