"""One photo, stored in eight orientations, in several depths and with transparency: everything sees the same pixels."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_kinds import DEPTHS, ORIENTATIONS, photo, write_alpha, write_depth, write_turned
from PIL import Image
from recipes import records, run
from safetensors.torch import load_file

from pointcoc import ContextClusterNet
from pointcoc.cli import main
from pointcoc.data import (
    CocoImages,
    HubImages,
    LabeledImages,
    MaskFolder,
    ShardImages,
    YoloImages,
    image_folder,
)
from pointcoc.data.formats import IMAGE_FORMATS
from pointcoc.evaluation import evaluate_weights
from pointcoc.models import ImageTransform, WeightsInfo
from pointcoc.robustness import open_views
from pointcoc.viz.inputs import read_picture

HEIGHT, WIDTH = 24, 36
SHOWN_IN = ("stored", "plain")


def pairs(folder: Path) -> Iterator[tuple[Path, Image.Image]]:
    """Yield files, and the picture that viewers show of each."""
    image = photo(HEIGHT, WIDTH)
    gray = image.convert("L")
    for one in ORIENTATIONS:
        yield write_turned(folder / f"turned{one}.png", image, one), image
    for one in DEPTHS:
        yield write_depth(folder, image, one), gray
    for kinds, shown in ((("RGBA", "RGB"), image), (("LA", "L", "I;16"), gray)):
        white = np.array(shown)
        white[:, :12] = 255
        for one in kinds:
            yield write_alpha(folder, image, one), Image.fromarray(white)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of images of the same names: stored in all ways, and as plain PNG."""
    root = tmp_path_factory.mktemp("alike")
    for name in ("written", *SHOWN_IN):
        (root / name).mkdir()
    for number, (file, shown) in enumerate(pairs(root / "written")):
        shutil.copy(file, root / "stored" / f"{number:02}{file.suffix}")
        shown.convert("RGB").save(root / "plain" / f"{number:02}.png")
    return root


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def as_folder(source: Path, root: Path) -> Any:
    for split in ("train", "val"):
        for file in files(source):
            target = root / split / "ab"[int(file.stem) % 2] / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    return image_folder(root, "val")


def as_table(source: Path, root: Path) -> Any:
    rows = "\n".join(f"{file.name},{'a' if int(file.stem) % 2 else 'b'},val" for file in files(source))
    (root / "labels.csv").write_text(f"file,labels,split\n{rows}\n")
    return LabeledImages(source, root / "labels.csv", "val")


def as_masks(source: Path, root: Path) -> Any:
    for split in ("train", "val"):
        for part in ("images", "annotations"):
            (root / part / split).mkdir(parents=True)
        for file in files(source):
            shutil.copy(file, root / "images" / split / file.name)
            mask = np.random.default_rng(int(file.stem)).integers(0, 2, (HEIGHT, WIDTH)).astype(np.uint8)
            Image.fromarray(mask).save(root / "annotations" / split / f"{file.stem}.png")
    return MaskFolder(root, "val", num_classes=2)


def as_coco(source: Path, root: Path) -> Any:
    images = [
        {"id": 1 + number, "file_name": file.name, "height": HEIGHT, "width": WIDTH}
        for number, file in enumerate(files(source))
    ]
    objects = [{"id": one["id"], "image_id": one["id"], "category_id": 1, "bbox": [3, 4, 9, 8]} for one in images]
    content = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "cat"}]}
    (root / "a.json").write_text(json.dumps(content))
    data = CocoImages(source, root / "a.json")
    data.check_sizes()
    return data


def as_yolo(source: Path, root: Path) -> Any:
    for part in ("images", "labels"):
        (root / part / "train").mkdir(parents=True)
    for file in files(source):
        shutil.copy(file, root / "images" / "train" / file.name)
        (root / "labels" / "train" / f"{file.stem}.txt").write_text("0 0.25 0.5 0.25 0.5")
    (root / "classes.txt").write_text("cat")
    return YoloImages(root, "train")


def as_shards(source: Path, root: Path) -> Any:
    with tarfile.open(root / "a.tar", "w") as tar:
        for file in files(source):
            for ending, content in ((file.suffix, file.read_bytes()), (".cls", b"0")):
                member = tarfile.TarInfo(f"{file.stem}{ending}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    split = f"a.tar|{len(files(source))}"
    data = ShardImages(root, split, np.array, image_key="png;tif;pgm")
    return [(torch.from_numpy(image), label) for image, label in data]


def as_hub(source: Path, root: Path) -> Any:
    import datasets

    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["cat"]))
    images = [{"bytes": file.read_bytes(), "path": None} for file in files(source)]
    rows = {"image": images, "label": [0] * len(images)}
    (root / "hub").mkdir()
    datasets.Dataset.from_dict(rows, features=features).to_parquet(root / "hub" / "train.parquet")
    return HubImages(str(root / "hub"), "train", lambda image: torch.from_numpy(np.array(image)))


DATA_SETS = [as_folder, as_table, as_masks, as_coco, as_yolo, as_shards, as_hub]


@pytest.mark.parametrize("make", DATA_SETS, ids=lambda make: make.__name__)
def test_all_data_sets(root: Path, tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if make is as_hub:
        datasets = pytest.importorskip("datasets")
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    if make is as_shards:
        pytest.importorskip("webdataset")
    opened = []
    for name in SHOWN_IN:
        (tmp_path / name).mkdir()
        opened.append(make(root / name, tmp_path / name))
    stored, plain = opened
    assert len(stored) == len(plain) == 21
    for number in range(21):
        (image, target), (expected, wanted) = stored[number], plain[number]
        assert torch.equal(image, expected), number
        boxes = [one["boxes"].tolist() if isinstance(one, dict) else None for one in (target, wanted)]
        assert boxes[0] == boxes[1]


def test_every_image_format_is_among_them() -> None:
    assert set(IMAGE_FORMATS) == {"folder", "wds", "hfds"}  # a new one belongs into DATA_SETS


@pytest.fixture(scope="module")
def net() -> ContextClusterNet:
    torch.manual_seed(0)
    net = ContextClusterNet.from_preset("coc_nano", num_classes=2, in_channels=3).eval()
    net.weights_info = WeightsInfo(class_names=("a", "b"), transform=ImageTransform(input_size=(32, 32)))
    return net


def test_commands_that_measure(root: Path, tmp_path: Path, net: ContextClusterNet) -> None:
    found, views = [], []
    for name in SHOWN_IN:
        as_folder(root / name, tmp_path / name)
        found.append([one.facts for one in evaluate_weights(net, tmp_path / name).findings.items])
        views.append([batch for batch, _ in open_views(net, tmp_path / name).clean()])
    assert found[0] == found[1]
    assert all(torch.equal(a, b) for a, b in zip(*views, strict=True))


def test_commands_that_show_clusters(root: Path, tmp_path: Path, net: ContextClusterNet) -> None:
    for stored, plain in zip(files(root / "stored"), files(root / "plain"), strict=True):
        assert torch.equal(read_picture(stored, 32), read_picture(plain, 32)), stored
    net.save_pretrained(tmp_path / "net")
    for number in (5, 6):  # the turned photos of orientation 6 and 7
        for command, out in (("visualize", "a.png"), ("explore", "a.html")):
            shown = []
            for name in SHOWN_IN:
                shutil.copy(root / name / f"{number:02}.png", tmp_path / "photo.png")
                target = tmp_path / name / out if command == "explore" else tmp_path / name
                target.parent.mkdir(exist_ok=True, parents=True)
                words = [command, str(tmp_path / "photo.png"), "--weights", str(tmp_path / "net"), "--size", "32"]
                assert main([*words, "--out", str(target)]) == 0
                made = [target] if target.is_file() else sorted(target.glob("*.png"))
                shown.append([one.read_bytes() for one in made])
            assert shown[0] == shown[1]
            assert shown[0]


@pytest.mark.parametrize("example", ["imagenet", "ade20k"])
def test_both_trainings(root: Path, tmp_path: Path, example: str) -> None:
    """Classification and segmentation learn the same, bit by bit; those of detection read `CocoImages`."""
    losses, models = [], []
    for name in SHOWN_IN:
        data, out = tmp_path / name, tmp_path / f"{name}-run"
        if example == "imagenet":
            as_folder(root / name, data)
            options: tuple[Any, ...] = ("--size", 16, "--preset", "coc_nano", "--epochs", 1, "--warmup-epochs", 0)
            options += ("--batch-size", 6, "--val-fraction", 0, "--log-every", 1)
        else:
            data.mkdir()
            as_masks(root / name, data)
            options = ("--train-split", "train", "--val-split", "val", "--num-classes", 2, "--first-class", 0)
            options += ("--ignore", 255, "--short-side", 0, "--crop", 24, "--batch-size", 4, "--updates", 3)
            options += ("--backbone", "coc_tiny", "--log-every", 1)
        run(example, "--data", data, *options, "--workers", 0, "--trackers", "none", "--out", out)
        losses.append([line["loss"] for line in records(out) if line["split"] in ("update", "test")])
        models.append(load_state(out))
    assert losses[0] == losses[1]
    assert len(losses[0]) >= 4
    assert models[0].keys() == models[1].keys()
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])


def load_state(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "best" / "model.safetensors")
