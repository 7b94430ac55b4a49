"""The examples of dense prediction run as documented, on drawn images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_examples import example

from pointcoc.train import run_command


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of a bright square on dark ground, and their masks: 0 ground, 1 square, 255 nothing."""
    root = tmp_path_factory.mktemp("scenes")
    random = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        for folder in ("images", "annotations"):
            (root / folder / split).mkdir(parents=True)
        for number in range(count):
            row, column = random.integers(0, 32, 2)
            mask = np.zeros((60, 70), dtype=np.uint8)
            mask[row : row + 24, column : column + 24] = 1
            pixels = (mask * 150)[..., None] + random.integers(0, 60, (60, 70, 3), dtype=np.uint8)
            mask[-2:] = 255
            Image.fromarray(pixels).save(root / "images" / split / f"{number}.png")
            Image.fromarray(mask).save(root / "annotations" / split / f"{number}.png")
    return root


def run(name: str, *args: object) -> None:
    module = example(name)
    run_command(module.main, module.DEFAULT, module.__doc__, [str(arg) for arg in args])


def segment(scenes: Path, out: Path, *more: object) -> list[dict]:
    data = ("--data", scenes, "--train-split", "train", "--val-split", "val", "--short-side", 0)
    classes = ("--num-classes", 2, "--first-class", 0, "--ignore", 255)
    run("ade20k", *data, *classes, "--backbone", "resnet18", "--out", out, *more)
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_segmentation_learns_a_square(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = ("--crop", 48, "--batch-size", 3, "--steps", 12, "--lr", 1e-3, "--log-every", 4, "--validate-every", 6)
    records = segment(scenes, tmp_path / "run", *short)
    assert [record["split"] for record in records] == ["update", "update", "update", "val"]
    assert records[2]["loss"] < records[0]["loss"]
    assert 0 <= records[-1]["mean_iou"] <= 1
    assert (tmp_path / "run" / "last.safetensors").is_file()
    assert "update 6: mean iou" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        segment(scenes, tmp_path / "run")
    assert "out must not hold a run" in capsys.readouterr().err


def test_segmentation_for_a_time_with_windows(scenes: Path, tmp_path: Path) -> None:
    records = segment(
        scenes, tmp_path / "run", "--crop", 32, "--batch-size", 2, "--minutes", 0.02, "--window", 40, "--log-every", 1
    )
    rates = [record["lr"] for record in records[:-1]]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < rates[0]
    assert records[-1]["seconds"] >= 1.2


def test_segmentation_smoke_with_our_network(scenes: Path, tmp_path: Path) -> None:
    records = segment(scenes, tmp_path / "run", "--backbone", "coc_tiny", "--centers", 5, "--smoke")
    assert len(records) == 3


def test_segmentation_refuses_by_a_sentence(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, sentence in (
        (("--steps", 0), "steps must be positive, got 0"),
        (("--centers", 5), "centers are a setting of our presets"),
        (("--train-split", "learn"), "must be an existing folder"),
        (("--num-classes", 2, "--ignore", 7, "--smoke"), "for pixels to ignore, got 255"),
    ):
        with pytest.raises(SystemExit):
            segment(scenes, tmp_path / "run", *words)
        assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("backbone", ["coc_tiny", "resnet18"])
def test_detection_smoke(backbone: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pycocotools")
    images = [{"id": number, "file_name": f"{number}.png", "height": 60, "width": 70} for number in range(3)]
    box = {"bbox": [10, 12, 30, 24], "area": 720, "segmentation": [[10, 12, 40, 12, 40, 36, 10, 36]], "iscrowd": 0}
    objects = [{"id": 1, "image_id": 0, "category_id": 1, **box}, {"id": 2, "image_id": 2, "category_id": 2, **box}]
    for entry in images:
        Image.new("RGB", (70, 60), (90, 50, 20)).save(tmp_path / entry["file_name"])
    content = {"images": images, "annotations": objects, "categories": [{"id": 1}, {"id": 2}]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    place = ("--images", tmp_path, "--annotations", tmp_path / "a.json", "--num-classes", 3)
    run("coco", *place, "--backbone", backbone, "--smoke", "--out", tmp_path / "run")
    assert "box AP" in capsys.readouterr().out
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["split"] for line in lines] == ["update", "update", "val"]
    assert 0 <= lines[-1]["mask_ap"] <= 1
