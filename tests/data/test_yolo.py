"""YOLO data sets: layouts, names, boxes and outlines, turned photos, and damaged rows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from image_kinds import photo, write_turned
from PIL import Image

from pointcoc.checks import InputWarning
from pointcoc.data import YoloImages
from pointcoc.data.yolo_files import is_yolo
from pointcoc.detection import coco_scores

NAMES = "names: {0: cat, 1: dog, 2: eel}\n"
BOX = "1 0.5 0.5 0.5 0.25"  # of 40 x 20 pixels: 10, 7.5 to 30, 12.5
OUTLINE = "2 0.25 0.2 0.75 0.2 0.75 0.8 0.25 0.8"
LAYOUTS = ("images/train", "train/images")


def write(root: Path, images: str = LAYOUTS[0], yaml: str | None = NAMES, **labels: str) -> Path:
    """Write images of 20 x 40 pixels, and the labels of each."""
    folder = root / images.replace("images", "labels")
    for place in (root / images, folder):
        place.mkdir(parents=True, exist_ok=True)
    for name, text in labels.items():
        Image.new("RGB", (40, 20)).save(root / images / f"{name}.png")
        (folder / f"{name}.txt").write_text(text)
    if yaml is not None:
        (root / "data.yaml").write_text(yaml)
    return root


@pytest.mark.parametrize("images", LAYOUTS)
def test_boxes_in_both_layouts(tmp_path: Path, images: str) -> None:
    data = YoloImages(write(tmp_path, images, a=f"{BOX}\n0 0.1 0.1 0.2 0.2\n", b=""))
    image, target = data[0]
    assert (len(data), tuple(image.shape), data.has_masks, is_yolo(tmp_path)) == (2, (3, 20, 40), False, True)
    torch.testing.assert_close(target["boxes"], torch.tensor([[10, 7.5, 30, 12.5], [0, 0, 8, 4]]))
    assert target["labels"].tolist() == [2, 1]
    assert "masks" not in target
    assert data[1][1]["boxes"].shape == (0, 4)
    assert (data.classes, data.category_ids) == ({1: "cat", 2: "dog", 3: "eel"}, {1: 0, 2: 1, 3: 2})
    assert (data.num_classes, data.unused_classes()) == (4, ["eel"])
    data.check_sizes()


def test_outlines_are_masks(tmp_path: Path) -> None:
    data = YoloImages(write(tmp_path, a=OUTLINE, b=OUTLINE))
    _, target = data[0]
    assert target["boxes"].tolist() == [[10, 4, 30, 16]]
    assert int(target["masks"].sum()) == 20 * 12 == data.coco.anns[1]["area"]
    assert bool(target["masks"][0, 4:16, 10:30].all())
    assert "masks" not in YoloImages(tmp_path, masks=False)[0][1]
    with pytest.warns(
        InputWarning, match=r"without an outline, where most have one, are left out: 1, such as .*b.txt, row 1"
    ):
        YoloImages(write(tmp_path, a=f"{OUTLINE}\n0 0.2 0.1 0.3 0.1 0.3 0.4", b=BOX))


def test_a_perfect_detector_scores_one(tmp_path: Path) -> None:
    data = YoloImages(write(tmp_path, a=f"{BOX}\n0 0.1 0.1 0.2 0.2", b=BOX))
    found = [(int(target["image_id"]), target | {"scores": torch.ones(len(target["labels"]))}) for _, target in data]
    assert coco_scores(data.coco, found)["box_ap"] == pytest.approx(1)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_labels_are_those_of_the_photo_as_viewers_show_it(tmp_path: Path, orientation: int) -> None:
    root = write(tmp_path, a="0 0.25 0.5 0.5 1")
    (root / "images/train/a.png").unlink()
    upright = photo()
    write_turned(root / "images/train/a.png", upright, orientation)
    image, target = YoloImages(root)[0]
    assert tuple(image.shape[1:]) == (upright.height, upright.width)
    assert target["boxes"].tolist() == [[0, 0, upright.width / 2, upright.height]]


@pytest.mark.parametrize("file", ["classes.txt", "labels/classes.txt", "labels/train/classes.txt", "obj.names"])
def test_names_in_text_files(tmp_path: Path, file: str) -> None:
    root = write(tmp_path, yaml=None, a=BOX)
    (root / file).write_bytes("\ufeffcat\ndög\n\n".encode())
    assert YoloImages(root).classes == {1: "cat", 2: "dög"}


def test_numbers_are_names_where_no_file_tells(tmp_path: Path) -> None:
    with pytest.warns(InputWarning, match=r"no data.yaml or classes.txt names the classes"):
        assert YoloImages(write(tmp_path, yaml=None, a=BOX)).classes == {1: "0", 2: "1"}


def test_labels_may_be_given_by_the_numbers_of_classes(tmp_path: Path) -> None:
    data = YoloImages(write(tmp_path, a=BOX), labels={0: 3, 1: 1, 2: 2})
    assert (data[0][1]["labels"].tolist(), data.classes[1], data.category_ids[3]) == ([1], "dog", 0)


@pytest.mark.parametrize(
    ("yaml", "images", "split"),
    [
        ("train: images/train2017\nnames: [a, b]\n", "images/train2017", "train"),
        ("val: ../valid/images\nnc: 2\nnames: [a, b]\n", "valid/images", "val"),
        ("names: [a, b]\n", "valid/images", "val"),
        ("names: [a, b]\n", "images/val", "valid"),
    ],
)
def test_where_splits_lie(tmp_path: Path, yaml: str, images: str, split: str) -> None:
    assert YoloImages(write(tmp_path, images, yaml, a=BOX), split).classes == {1: "a", 2: "b"}


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("1 0.5 0.5 0.5", "must hold a class and a box .* got 4 numbers$"),
        ("1 0.5 0.5 0.5 0.5 0.9", "got 6 numbers; is the last one the score of a detector"),
        ("1 0.5 0.5 0.5 0.5 0.9 0.1 0.2", "at least three points, got 8 numbers"),
        ("cat 0.5 0.5 0.5 0.5", "must hold numbers alone, got 'cat 0.5"),
        ("1 20 10 8 8", "must hold shares of the width and height of the image, from 0 to 1, got 20 10 8 8"),
        ("1 nan 0.5 0.5 0.5", "must hold shares .* got nan"),
        ("1 -0.5 0.5 0.5 0.5", "must hold shares"),
        ("1 0.5 0.5 -0.005 0.5", "must hold a width and a height of at least 0, got -0.005 and 0.5"),
        ("3 0.5 0.5 0.5 0.5", "must begin with the number of a class, got 3; there are 0, 1, 2"),
        ("1.5 0.5 0.5 0.5 0.5", "must begin with the number of a class, got 1.5"),
    ],
)
def test_a_damaged_row_is_one_sentence(tmp_path: Path, row: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=rf"labels/train/a.txt, row 3: .*{sentence}"):
        YoloImages(write(tmp_path, a=f"{BOX}\n\n{row}\n"))


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    root = write(tmp_path, a=f"{BOX}\n{BOX}\n1 0.5 0.5 0 0.5", b="", c="")
    (root / "labels/train/b.txt").unlink()
    (root / "images/train/c.png").unlink()
    with pytest.warns(InputWarning) as told:
        data = YoloImages(root)
    said = "\n".join(str(one.message) for one in told)
    assert len(data[0][1]["labels"]) == 1
    for words in ("without a file of labels have no objects: 1, such as .*b.png", "labels without an image .*c.txt",
                  "repeat another one .*a.txt, row 2", "boxes have no area .*a.txt, row 3"):  # fmt: skip
        assert re.search(words, said)


@pytest.mark.parametrize(
    ("yaml", "sentence"),
    [
        ("names: 3\n", "names must be a list, or names by the numbers of classes, got 3"),
        ("names: [a]\nnc: 2\n", r"nc must be the number of names \(1\), got 2"),
        ("names: [a\n", "cannot be read as YAML"),
    ],
)
def test_damaged_names(tmp_path: Path, yaml: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=rf"data.yaml.*{sentence}"):
        YoloImages(write(tmp_path, yaml=yaml, a=BOX))


def test_nothing_there(tmp_path: Path) -> None:
    root = write(tmp_path, a=BOX)
    with pytest.raises(FileNotFoundError, match="must hold images/val and labels/val, or val/images and val/labels"):
        YoloImages(root, "val")
    (root / "labels/train/a.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"must hold NAME.txt for images NAME in .*, got none of them"):
        YoloImages(root)
    Image.new("RGB", (40, 20)).save(root / "images/train/a.jpg")
    with pytest.raises(ValueError, match="one image for each file of labels, got several named a"):
        YoloImages(root)
