"""The examples of dense prediction run as documented, on drawn images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from recipes import example, run

import pointcoc
from pointcoc import ContextClusterNet
from pointcoc.cli import main
from pointcoc.evaluation import evaluate_weights
from pointcoc.models.weights import find_weights, read_info
from pointcoc.predict import read_points
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


def records(out: Path, split: str) -> list[dict]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["split"] == split]


def segment(scenes: Path, out: Path, *more: object) -> None:
    data = ("--data", scenes, "--train-split", "train", "--val-split", "val", "--short-side", 0)
    classes = ("--num-classes", 2, "--first-class", 0, "--ignore", 255)
    run("ade20k", *data, *classes, "--backbone", "resnet18", "--out", out, "--trackers", "none", *more)


def test_segmentation_learns_a_square(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    small = ("--crop", 48, "--batch-size", 3, "--updates", 12, "--class-weights", "sqrt")
    segment(scenes, out, *small, "--lr", 1e-3, "--log-every", 4)
    assert [line["update"] for line in records(out, "update")] == [4, 8, 12]
    losses = [line["loss"] for line in records(out, "train")]
    assert len(losses) == 6
    assert losses[-1] < losses[0]
    (test,) = records(out, "test")
    assert 0 <= test["mean_iou"] <= 1
    assert f"test mean iou {test['mean_iou']:.2%}" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        segment(scenes, out)
    assert "out must not hold a run" in capsys.readouterr().err
    segment(scenes, tmp_path / "none", "--weights", out, "--eval-only")
    assert f"test mean iou {test['mean_iou']:.2%}" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


def test_segmentation_for_a_time_with_windows(scenes: Path, tmp_path: Path) -> None:
    short = ("--crop", 32, "--batch-size", 2, "--minutes", 0.02, "--window", 40, "--log-every", 1)
    segment(scenes, tmp_path / "run", *short)
    rates = [line["lr"] for line in records(tmp_path / "run", "update")]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < rates[0]
    assert records(tmp_path / "run", "test")[0]["seconds"] >= 1.2


def test_segmentation_smoke_with_our_network(scenes: Path, tmp_path: Path) -> None:
    segment(scenes, tmp_path / "run", "--backbone", "coc_tiny", "--centers", 5, "--smoke", "--recompute")
    assert [line["update"] for line in records(tmp_path / "run", "update")] == [1, 2]
    assert len(records(tmp_path / "run", "test")) == 1


def test_segmentation_refuses_by_a_sentence(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, sentence in (
        (("--crop", 0), "crop must be positive, got 0"),
        (("--window", -1), "window must be at least 0, got -1"),
        (("--eval-only",), "eval_only needs weights to measure"),
        (("--weights", "nowhere"), "no weights at nowhere: give a folder with model.safetensors"),
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
    assert [line["update"] for line in records(tmp_path / "run", "update")] == [1, 2]
    assert 0 <= records(tmp_path / "run", "test")[0]["mask_ap"] <= 1
    with pytest.raises(SystemExit):
        run("coco", *place, "--val-images", tmp_path)
    assert "give both or none" in " ".join(capsys.readouterr().err.split())


def test_boxes_of_yolo_train_a_detector_on_the_weights_of_a_classifier(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pycocotools")
    net = ContextClusterNet.from_preset("coc_tiny", depths=1, dims=(8, 12, 16, 20), heads=2, head_dims=4, num_classes=2)
    net.save_pretrained(tmp_path / "classes")
    for split in ("train", "val"):
        for part in ("images", "labels"):
            (tmp_path / "data" / part / split).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (70, 60), (90, 50, 20)).save(tmp_path / "data" / "images" / split / f"{number}.png")
            (tmp_path / "data" / "labels" / split / f"{number}.txt").write_text(f"{number} 0.5 0.5 0.5 0.5\n")
    (tmp_path / "data" / "data.yaml").write_text("names: [cat, dog, eel]")
    out = tmp_path / "run"
    options = ("--backbone", tmp_path / "classes", "--smoke", "--out", out)
    run("coco", "--data", tmp_path / "data", *options)
    said = capsys.readouterr().out
    assert "2 training images, 2 to measure; 3 classes of objects with boxes alone" in said
    assert "no training image has an object of eel" in said
    assert "(no object of eel: not measured)" in said
    shutil.rmtree(tmp_path / "classes")  # the weights of the detector make it again
    model = pointcoc.load(out)
    assert model.config.kind == "faster_rcnn"
    assert model.config.network["dims"] == (8, 12, 16, 20)
    assert model.weights_info.class_names == {1: "cat", 2: "dog", 3: "eel"}
    found = evaluate_weights(out, tmp_path / "data")
    assert said.splitlines()[-1].startswith(f"test {found.line},")
    assert [one["count"] for one in found.classes.values()] == [1, 1, 0]
    assert (out / "evaluation" / "classes.csv").read_text().startswith("name,count,box_ap,box_ap50,box_ap75")
    photo = tmp_path / "data" / "images" / "val" / "0.png"
    words = ["predict", str(photo), "--weights", str(out), "--out", str(tmp_path / "found"), "--threshold", "0"]
    assert main(words) == 0
    content = json.loads((tmp_path / "found" / "objects.json").read_text())
    assert [one["id"] for one in content["categories"]] == [0, 1, 2]  # those of the files
    assert all("segmentation" not in one for one in content["annotations"])
    with pytest.raises(SystemExit):
        run("coco", "--data", tmp_path / "data", *options, "--detector", "mask_rcnn", "--overwrite")
    assert "the annotations have boxes alone: choose --detector faster_rcnn" in capsys.readouterr().err


def test_parts_smoke_on_sampled_objects_and_its_weights_predict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    module, out = example("shapenetpart"), tmp_path / "run"
    run_command(module.main, module.default_settings([]), module.__doc__, ["--smoke", "--out", str(out)])
    said = capsys.readouterr().out
    (test,) = records(out, "test")
    assert f"test instance mean iou {test['instance_mean_iou']:.2%}" in said
    assert [line["update"] for line in records(out, "update")] == [1, 2]
    assert 0 <= test["class_mean_iou"] <= 1
    (table,) = tmp_path.glob("pointcoc/part-shapes-*/ply_data_test0.h5")
    words = ["predict", str(table), "--weights", str(out), "--category", "mug", "--out", str(tmp_path / "found")]
    assert main(words) == 0
    assert len(read_points(tmp_path / "found" / "ply_data_test0.ply")) == 128
    with pytest.raises(SystemExit):
        run_command(module.main, module.default_settings([]), module.__doc__, ["--out", str(out)])
    assert "out must not hold a run" in capsys.readouterr().err


def test_parts_from_files_take_the_recipe_of_shapenetpart(tmp_path: Path) -> None:
    module = example("shapenetpart")
    assert module.default_settings(["--data", "x"]).num_points == 2048
    with pytest.raises(ValueError, match="jitter must be at least 0, got inf"):
        module.PartSettings(jitter=float("inf"))
    (tmp_path / "all_object_categories.txt").write_text("Bag\t01\n")
    (tmp_path / "object2setofoids.json").write_text('{"01": [0, 1]}')
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}_hdf5_file_list.txt").write_text(f"{split}.h5\n")
        with h5py.File(tmp_path / f"{split}.h5", "w") as file:
            file["data"] = np.random.default_rng(0).normal(size=(2, 64, 3)).astype(np.float32)
            file["label"], file["pid"] = np.zeros((2, 1), np.uint8), np.arange(128).reshape(2, 64) % 2
    place = ("--data", tmp_path, "--num-points", 64, "--preset", "coc_points_small", "--smoke", "--out", tmp_path / "a")
    settings = module.default_settings(["--data", str(tmp_path)])
    run_command(module.main, settings, module.__doc__, [str(word) for word in place])
    assert (tmp_path / "a" / "best" / "model.safetensors").is_file()


def test_scenes_smoke(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    for area in ("Area_1", "Area_5"):
        (tmp_path / area).mkdir()
        for room in range(2):
            table = np.concatenate([random.uniform(0, 3, (3000, 3)), random.integers(0, 256, (3000, 3))], axis=1)
            np.save(tmp_path / area / f"room_{room}.npy", np.column_stack([table, random.integers(0, 13, 3000)]))
    run("s3dis", "--data", tmp_path, "--train-areas", "Area_1", "--smoke", "--recompute", "--out", tmp_path / "run")
    said = capsys.readouterr().out
    assert "2 training scenes with 6,000 points" in said
    assert "2 scenes measured in 6 views of up to 2,000 points" in said
    assert [line["update"] for line in records(tmp_path / "run", "update")] == [1, 2]
    assert set(records(tmp_path / "run", "test")[0]) >= {"accuracy", "mean_iou", "class_accuracy"}
    (tmp_path / "Area_1").rename(tmp_path / "elsewhere")
    run("s3dis", "--data", tmp_path, "--weights", tmp_path / "run", "--eval-only")  # needs no training scenes
    measured = capsys.readouterr().out
    assert f"accuracy {records(tmp_path / 'run', 'test')[0]['accuracy']:.2%}" in measured
    assert "as noted with the weights: all points, in views of 2,000" in measured
    (tmp_path / "elsewhere").rename(tmp_path / "Area_1")
    words = (
        "--features",
        "position",
        "height",
        "--class-weights",
        "sqrt",
        "--ignore",
        "clutter",
        "--voxels",
        1,
        2,
        4,
        8,
    )
    small = ("--data", tmp_path, "--train-areas", "Area_1", "--smoke", "--cache", tmp_path / "cache")
    run("s3dis", *small, *words, "--up", "y", "--out", tmp_path / "other")
    assert read_info(find_weights(tmp_path / "other"))[1].transform.features == ("position", "height")
    assert len(list((tmp_path / "cache").glob("*.npz"))) == 4
    room = tmp_path / "Area_5" / "room_0.npy"
    assert main(["predict", str(room), "--weights", str(tmp_path / "run"), "--out", str(tmp_path / "found")]) == 0
    assert len(read_points(tmp_path / "found" / "room_0.ply")) == 3000
    for words, sentence in (
        (("--max-points", 0), "max_points must be positive, got 0"),
        (("--train-areas", "Area_9"), "path/AREA must be an existing folder"),
        (("--minutes", -1), "minutes must be at least 0"),
        (("--features", "smell"), "unknown feature 'smell'; choose from position, color"),
        (("--ignore", "smell"), "ignore must name classes"),
        (("--class-weights", 1, 2, "--train-areas", "Area_1"), "class_weights must be 13 numbers"),
    ):
        with pytest.raises(SystemExit):
            run("s3dis", "--data", tmp_path, "--out", tmp_path / "b", *words)
        assert sentence in " ".join(capsys.readouterr().err.split())


def test_scenes_say_what_they_leave_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    for area in ("A", "B"):
        folder = tmp_path / area / "office_1" / "Annotations"
        folder.mkdir(parents=True)
        for name in ("Floor_1", "chair_1", "lamp_1"):
            np.savetxt(folder / f"{name}.txt", np.hstack([random.uniform(0, 3, (300, 3)), np.full((300, 3), 9)]))
    areas = ("--data", tmp_path, "--train-areas", "A", "--test-areas", "B", "--classes", "floor", "chair")
    words = (*areas, "--cache", tmp_path / "cache", "--smoke", "--out")
    with pytest.raises(SystemExit):
        run("s3dis", *words, tmp_path / "wrong")
    said = capsys.readouterr()
    assert "'Floor' are none of the classes: 300 points in 1 room of A left out; 'floor' differs in case" in said.out
    assert "no room of A has a point of floor" in " ".join(said.err.split())
    assert not (tmp_path / "wrong").exists()
    run("s3dis", *words, tmp_path / "run", "--labels", "Floor=floor")
    said = capsys.readouterr()
    assert "Floor" not in said.out
    assert said.out.count("objects named 'lamp' are none of the classes: 300 points in 1 room of A left out") == 1
    assert said.out.count("objects named 'lamp' are none of the classes: 300 points in 1 room of B left out") == 1
    assert len(records(tmp_path / "run", "test")) == 1
    config = json.loads((tmp_path / "run" / "best" / "config.json").read_text())
    assert "chair" in json.dumps(config)


def test_scenes_of_text_with_a_map_of_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    for area in ("A", "B"):
        (tmp_path / area).mkdir()
        columns = (random.uniform(0, 3, (600, 3)), random.integers(0, 256, (600, 3)), random.choice([0, 2, 5], 600))
        np.savetxt(tmp_path / area / "tile.txt", np.column_stack(columns), "%.9g")
    areas = ("--data", tmp_path, "--train-areas", "A", "--test-areas", "B")
    labels = ("--labels", "2=ground", "5=tree", "--ignore", -1, 0)
    run("s3dis", *areas, *labels, "--smoke", "--out", tmp_path / "run")
    assert 0 <= records(tmp_path / "run", "test")[0]["mean_iou"] <= 1
    capsys.readouterr()
    with pytest.raises(SystemExit):
        run("s3dis", *areas, *labels[:3], "--smoke", "--out", tmp_path / "wrong")
    assert "has the label 0, which must be one of 2, 5" in " ".join(capsys.readouterr().err.split())
