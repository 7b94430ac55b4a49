"""`pointcoc evaluate` where pixels and points have classes, and on clouds."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from image_kinds import photo
from PIL import Image

from pointcoc import ContextClusterNet
from pointcoc.data import PlainMask, part_shapes, read_image
from pointcoc.evaluation import evaluate_weights, open_labeled
from pointcoc.models import CloudTransform, WeightsInfo
from pointcoc.segmentation import point_segmentation, semantic_fpn

NARROW = {"dims": (8, 12, 16), "heads": 2, "head_dims": 4}
OBJECT = CloudTransform(num_points=64)


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos with masks of 1, 2 and 3, and 9 for what counts nowhere."""
    root = tmp_path_factory.mktemp("masks")
    for number, name in enumerate("ab"):
        for part in ("images/val", "annotations/val"):
            (root / part).mkdir(parents=True, exist_ok=True)
        photo(32, 48, seed=number).save(root / "images/val" / f"{name}.png")
        mask = np.random.default_rng(number).integers(1, 4, (32, 48)).astype(np.uint8)
        mask[:4] = 9
        Image.fromarray(mask).save(root / "annotations/val" / f"{name}.png")
    return root


def test_pixels(masks: Path) -> None:
    torch.manual_seed(0)
    model = semantic_fpn("coc_tiny", num_classes=3).eval()
    model.weights_info = WeightsInfo(class_names=("sky", "sea", "sand"), notes={"first_class": 1, "ignore": [9]})
    found = evaluate_weights(model, masks)
    counts = torch.zeros(3, 3, dtype=torch.int64)
    for name in "ab":
        image, mask = (
            read_image(masks / f"images/val/{name}.png"),
            np.asarray(Image.open(masks / f"annotations/val/{name}.png")),
        )
        with torch.no_grad():
            guess = model(PlainMask()(image, image[0])[0][None])[0].argmax(0).numpy()
        for true in (1, 2, 3):
            counts[true - 1] += torch.from_numpy(np.bincount(guess[mask == true], minlength=3))
    assert torch.equal(found.findings.confusion, counts)
    hits = counts.diagonal()
    ious = hits / (counts.sum(0) + counts.sum(1) - hits)
    assert [one["iou"] for one in found.classes.values()] == pytest.approx(ious.tolist())
    assert list(found.classes) == ["sky", "sea", "sand"]
    assert found.scores["mean_iou"] == pytest.approx(float(ious.mean()))
    assert len(found.findings.items) == 2
    assert [len(panels) for panels in found.findings.kept.values()] == [3, 3]
    assert all(panel.pixels.shape == (3, 32, 48) for panels in found.findings.kept.values() for panel in panels)


def test_masks_as_they_are_noted_or_told(masks: Path) -> None:
    model = semantic_fpn("coc_tiny", num_classes=3)
    with pytest.raises(ValueError, match=r"must hold classes 0 to 2, or 255"):
        open_labeled(model, masks).loader.dataset[0]
    dataset = open_labeled(model, masks, first_class=1, ignore=["9"]).loader.dataset
    assert set(dataset[0][1].unique().tolist()) == {-100, 0, 1, 2}
    with pytest.raises(ValueError, match="ignore must hold numbers in masks, got sky"):
        open_labeled(model, masks, ignore=["sky"])
    (masks / "images/val").rename(masks / "images/mine")
    with pytest.raises(FileNotFoundError, match=r"validation, val or test, or split must be given; it holds mine"):
        open_labeled(model, masks)
    (masks / "images/mine").rename(masks / "images/val")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ContextClusterNet]:
    folder = tmp_path_factory.mktemp("parts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        objects = part_shapes("test", 6, 6, 12, num_points=64)
    torch.manual_seed(0)
    net = ContextClusterNet.from_preset("coc_points_small", **NARROW, num_classes=0, in_channels=3, dense=True)
    model = point_segmentation(net, num_classes=objects.num_classes, num_categories=len(objects.categories)).eval()
    notes = {"categories": list(objects.categories), "parts": [list(one) for one in objects.parts]}
    model.weights_info = WeightsInfo(transform=OBJECT, notes=notes)
    (root,) = {path.parent for path in folder.rglob("all_object_categories.txt")}
    return root, model


def test_parts_and_their_order(parts: tuple[Path, ContextClusterNet]) -> None:
    root, model = parts
    found = evaluate_weights(model, root)
    assert list(found.classes) == list(model.weights_info.notes["categories"])
    counts = [one["count"] for one in found.classes.values()]
    ious = [one["mean_iou"] for one in found.classes.values()]
    assert sum(counts) == 12
    seen = [iou for iou, count in zip(ious, counts, strict=True) if count]
    assert found.scores["class_mean_iou"] == pytest.approx(sum(seen) / len(seen))
    assert found.findings.items[0].badness == pytest.approx(1 - found.findings.items[0].facts["mean_iou"])
    notes = model.weights_info.notes
    other = {"categories": notes["categories"][::-1], "parts": notes["parts"][::-1]}
    model.weights_info = WeightsInfo(transform=OBJECT, notes=other)
    with torch.no_grad():  # the same categories in another order
        model.category.weight.copy_(model.category.weight.flip(0).clone())
    again = evaluate_weights(model, root)
    assert again.scores == pytest.approx(found.scores)
    with torch.no_grad():
        model.category.weight.copy_(model.category.weight.flip(0).clone())
    model.weights_info = WeightsInfo(
        transform=OBJECT, notes={**notes, "categories": ["boat", *notes["categories"][1:]]}
    )
    with pytest.raises(ValueError, match=r"categories that the weights do not know: chair; the weights know boat"):
        evaluate_weights(model, root)
    model.weights_info = WeightsInfo(transform=OBJECT, notes=notes)


def test_scenes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for area, count in (("one", 700), ("two", 500)):
        (tmp_path / area).mkdir()
        pos = rng.uniform(0, 3, (count, 3)) * [1, 1, 0.1]
        np.save(tmp_path / area / "a.npy", np.c_[pos, rng.integers(1, 4, count)])
    transform = CloudTransform(features=("height", "shape"), spacing=0.1, view_points=400)
    torch.manual_seed(0)
    net = ContextClusterNet.from_preset(
        "coc_scene",
        **{**NARROW, "dims": (8, 12, 16, 16)},
        num_classes=0,
        dense=True,
        in_channels=transform.num_features,
        voxels=(0.2, 0.4, 0.8, 1.6),
    )
    model = point_segmentation(net, num_classes=3).eval()
    notes = {"labels": ["1=ground", "2=tree", "3=car"]}
    model.weights_info = WeightsInfo(transform=transform, class_names=("tree", "ground", "car"), notes=notes)
    columns = ("x", "y", "z", "label")
    found = evaluate_weights(model, tmp_path, split=["one", "two"], columns=columns)
    stored = np.concatenate([np.load(tmp_path / area / "a.npy")[:, 3] for area in ("one", "two")])
    assert list(found.classes) == ["tree", "ground", "car"]
    counts = [one["count"] for one in found.classes.values()]
    assert counts == [(stored == 2).sum(), (stored == 1).sum(), (stored == 3).sum()]
    assert {len(panels) for panels in found.findings.kept.values()} == {2}
    with pytest.raises(ValueError, match=r"split must name the folders of .* it holds one, two"):
        evaluate_weights(model, tmp_path, columns=columns)


def test_clouds(tmp_path: Path) -> None:
    (tmp_path / "shape_names.txt").write_text("bed\nair\n")
    (tmp_path / "test_files.txt").write_text("a.h5\n")
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = rng.normal(size=(6, 64, 3)).astype(np.float32)
        file["label"] = np.array([[0], [0], [0], [1], [1], [0]])
    torch.manual_seed(0)
    net = ContextClusterNet.from_preset("coc_points_small", **NARROW, num_classes=3).eval()
    net.weights_info = WeightsInfo(class_names=("air", "bed", "car"), transform=OBJECT)
    found = evaluate_weights(net, tmp_path, batch_size=4)
    assert [one["count"] for one in found.classes.values()] == [2, 4, 0]
    assert [one.facts["true"] for one in found.findings.items] == [1, 1, 1, 0, 0, 1]
    with pytest.raises(ValueError, match="decimal has no effect on clouds that are not stored as text"):
        open_labeled(net, tmp_path, decimal=",")
    net.weights_info = WeightsInfo(class_names=("air", "boat", "car"), transform=OBJECT)
    with pytest.raises(ValueError, match="do not know: bed"):
        evaluate_weights(net, tmp_path)


@pytest.mark.parametrize(("other", "sentence"), [("val", "takes clouds, but .* is a folder of images")])
def test_images_for_a_network_of_clouds(tmp_path: Path, other: str, sentence: str) -> None:
    (tmp_path / other).mkdir()
    net = ContextClusterNet.from_preset("coc_points_small", **NARROW, num_classes=3)
    net.weights_info = WeightsInfo(transform=OBJECT)
    with pytest.raises(ValueError, match=sentence):
        open_labeled(net, tmp_path)


def test_names_of_masks_are_matched(masks: Path) -> None:
    torch.manual_seed(0)
    model = semantic_fpn("coc_tiny", num_classes=3).eval()
    notes = {"first_class": 1, "ignore": [9]}
    model.weights_info = WeightsInfo(class_names=("sky", "sea", "sand"), notes=notes)
    plain = evaluate_weights(model, masks)
    (masks / "classes.txt").write_text("sand\nsky\nsea\n")
    found = evaluate_weights(model, masks)
    order = [2, 0, 1]  # class 0 of the data is 2 of the weights
    assert [found.findings.counts[order[number]] for number in range(3)] == plain.findings.counts
    (masks / "classes.txt").write_text("sand\nsky\nsnow\n")
    with pytest.raises(ValueError, match="do not know: snow; only the weights have: sea"):
        evaluate_weights(model, masks)
    (masks / "classes.txt").unlink()


def test_a_measure_that_says_nothing_says_so(masks: Path) -> None:
    torch.manual_seed(0)
    model = semantic_fpn("coc_tiny", num_classes=4).eval()
    found = evaluate_weights(model, masks, first_class=1, ignore=[9])
    assert found.line.endswith(" (no true class is 3: not measured)")
    found = evaluate_weights(model, masks, first_class=1, ignore=[2, 3, 9])
    assert found.line.endswith(" (0 is the only class that the data has: a constant answer is right)")
    found = evaluate_weights(model, masks, first_class=1, ignore=[1, 2, 3, 9])
    assert found.line.endswith("(nothing was measured: every true class is ignored)")
