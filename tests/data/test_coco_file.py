"""COCO files as people have them: each is read as its users expect, or one sentence names file and annotation."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_kinds import photo, write_turned
from PIL import Image
from pycocotools import mask as rle

from pointcoc.checks import InputWarning
from pointcoc.data import CocoImages
from pointcoc.data.coco_masks import decompressed
from pointcoc.detection import coco_scores

SQUARE = [[10, 10, 30, 10, 30, 30, 10, 30]]
PLAIN = {
    "images": [{"id": n, "file_name": f"{name}.png", "height": 48, "width": 64} for n, name in ((1, "a"), (2, "b"))],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0,
         "segmentation": SQUARE},
        {"id": 2, "image_id": 2, "category_id": 2, "bbox": [5, 6, 10, 12], "area": 120, "iscrowd": 0,
         "segmentation": [[5, 6, 15, 6, 15, 18, 5, 18]]},
    ],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
}  # fmt: skip
Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in "ab":
        Image.new("RGB", (64, 48)).save(tmp_path / f"{name}.png")
    return tmp_path


def written(place: Path, change: Change) -> Path:
    content = copy.deepcopy(PLAIN)
    change(content)
    (place / "coco.json").write_text(json.dumps(content))
    return place / "coco.json"


def first(**fields: Any) -> Change:
    """Change fields of the first annotation; None removes one."""

    def change(content: dict[str, Any]) -> None:
        entry = content["annotations"][0]
        entry.update(fields)
        for name, value in fields.items():
            if value is None:
                del entry[name]

    return change


def every(part: str, **fields: Any) -> Change:
    def change(content: dict[str, Any]) -> None:
        for entry in content[part]:
            for name, value in fields.items():
                entry.pop(name, None) if value is None else entry.update({name: value})

    return change


def perfect(data: CocoImages) -> dict[str, float]:
    """Scores of a detector that finds exactly what the targets hold."""
    found = []
    for row in range(len(data)):
        target = data[row][1]
        masks = {"masks": target["masks"][:, None].float()} if "masks" in target else {}
        scores = torch.ones(len(target["labels"]))
        one = {"boxes": target["boxes"], "labels": target["labels"], "scores": scores, **masks}
        found.append((int(target["image_id"]), one))
    return {name: round(value, 9) for name, value in coco_scores(data.coco, found).items() if name.endswith("_ap")}


def ids(*numbers: Any) -> Change:
    def change(content: dict[str, Any]) -> None:
        for entry, number in zip(content["annotations"], numbers, strict=True):
            entry["id"] = number

    return change


def string_ids(content: dict[str, Any]) -> None:
    content["images"][0]["id"] = content["annotations"][0]["image_id"] = "a"


def big_categories(content: dict[str, Any]) -> None:
    for part, key in (("annotations", "category_id"), ("categories", "id")):
        for entry in content[part]:
            entry[key] = 10**9 * entry[key]


def from_zero(content: dict[str, Any]) -> None:
    for part, key in (("annotations", "category_id"), ("categories", "id")):
        for entry in content[part]:
            entry[key] -= 1


def runs(content: dict[str, Any]) -> None:
    mask = np.zeros((48, 64), dtype=np.uint8, order="F")
    mask[10:30, 10:30] = 1
    found = rle.encode(mask)
    content["annotations"][0]["segmentation"] = {"size": [48, 64], "counts": found["counts"].decode()}


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda content: None, None),
        (ids(0, 1), None),
        (ids(7, 7), None),
        (ids("x", "y"), None),
        (first(id=None), None),
        (first(bbox=None), "objects have no box: that of their masks is taken: 1, such as annotation 1"),
        (every("annotations", bbox=None), "objects have no box: that of their masks is taken: 2, such as annotation 1"),
        (every("annotations", area=None), None),
        (first(area=math.nan), None),
        (every("annotations", iscrowd=None), None),
        (every("images", height=None), "images have no height and width, which are read from them: 2, such as a.png"),
        (first(category_id="1"), None),
        (from_zero, None),
        (big_categories, None),
        (string_ids, "ids of images are no integers and are renumbered"),
        (lambda content: content.pop("categories"), "there is no list of categories: their ids are their names"),
        (
            lambda content: content["images"].append(content["images"][0]),
            "images are listed more than once: 1, such as",
        ),
        (first(segmentation=SQUARE[0]), None),
        (runs, None),
        (every("annotations", segmentation=None), None),
        (every("annotations", segmentation=[]), None),
    ],
)
def test_valid_objects_are_worth_one(place: Path, change: Change, note: str | None) -> None:
    file = written(place, change)
    if note is None:
        data = CocoImages(place, file)
    else:
        with pytest.warns(InputWarning, match=note):
            data = CocoImages(place, file)
    data.check_sizes()
    assert [data[row][1]["boxes"].tolist() for row in range(2)] == [[[10, 10, 30, 30]], [[5, 6, 15, 18]]]
    assert [data[row][1]["labels"].tolist() for row in range(2)] == [[1], [2]]
    assert data.num_classes == 3
    assert sorted(data.coco.anns) == [1, 2]
    assert all(one["area"] in (400, 120) for one in data.coco.anns.values())
    assert set(perfect(data).values()) == {1.0}
    assert ("masks" in data[0][1]) == data.has_masks == ("mask_ap" in perfect(data))


def test_ids_of_the_file_are_kept_beside_the_labels(place: Path) -> None:
    data = CocoImages(place, written(place, big_categories))
    assert (data.classes, data.category_ids) == ({1: "cat", 2: "dog"}, {1: 10**9, 2: 2 * 10**9})
    data = CocoImages(place, written(place, lambda content: None), labels={1: 5, 2: 3})
    assert (data.classes, data[0][1]["labels"].tolist(), data.num_classes) == ({5: "cat", 3: "dog"}, [5], 6)


@pytest.mark.parametrize(
    ("change", "note", "left"),
    [
        (first(bbox=[10, 10, 0, 20]), "boxes have no area are left out: 1, such as annotation 1", 1),
        (first(segmentation=[[10, 10, 30, 30]]), "without a mask .* are left out: 1, such as annotation 1", 1),
        (first(segmentation=None), "without a mask .* are left out: 1, such as annotation 1", 1),
        (first(image_id=9), "objects of images that are not listed are left out: 1, such as annotation 1", 1),
        (every("annotations", bbox=[0, 0, 0, 0]), "boxes have no area are left out: 2", 0),
    ],
)
def test_what_no_training_can_use_is_left_out_of_the_measure_too(
    place: Path, change: Change, note: str, left: int
) -> None:
    with pytest.warns(InputWarning, match=note):
        data = CocoImages(place, written(place, change))
    assert len(data.coco.anns) == left
    assert set(perfect(data).values()) == ({1.0} if left else {-1.0})


def test_names_of_several_categories_get_their_ids(place: Path) -> None:
    with pytest.warns(InputWarning, match="names are those of several categories, and get their ids: 1, such as cat"):
        data = CocoImages(place, written(place, every("categories", name="cat")))
    assert data.classes == {1: "cat (1)", 2: "cat (2)"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (first(bbox=[math.nan, 10, 20, 20]), r"annotation 1 must have a box of finite numbers, got \[nan"),
        (first(bbox=[30, 30, -20, -20]), r"annotation 1 must have a box with a width and a height of at least 0"),
        (first(bbox=[1, 2, 3]), r"annotation 1 must have a box of x, y, width and height, got \[1, 2, 3\]"),
        (first(bbox=["1", 2, 3, 4]), "annotation 1 must have a box of x, y, width and height"),
        (first(bbox=[64, 0, 3, 3]), r"annotation 1 must have a box that meets its image of 48 x 64 .* got \[64, 0"),
        (first(bbox=None, segmentation=None), "annotation 1 must have a box or a mask, got neither"),
        (first(category_id=3), "annotation 1 must have the id of a category, got 3; there are 1, 2"),
        (first(category_id=None), "annotation 1 must have the id of a category, got None"),
        (first(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), "annotation 1 must have polygons of pairs x, y, got 7 numbers"),
        (first(segmentation=[[1, 2, 3, 4, 5, math.inf]]), "annotation 1 must have polygons of finite numbers"),
        (first(segmentation=[["a"]]), r"annotation 1 must have polygons of numbers, got \['a'\]"),
        (first(segmentation="x"), "annotation 1 must have polygons or run lengths as segmentation, got str"),
        (
            first(segmentation={"size": [48, 64], "counts": [10, 20]}),
            "annotation 1 must have run lengths that fill its image of 48 x 64 = 3,072 pixels, got 30 pixels",
        ),
        (
            first(segmentation={"size": [48, 64], "counts": [-1, 3073]}),
            "annotation 1 must have run lengths that are int",
        ),
        (
            first(segmentation={"size": [48, 64], "counts": "11"}),
            "annotation 1 must have run lengths that fill its image",
        ),
        (first(segmentation={"size": [48, 64], "counts": "P"}), "annotation 1 must have run lengths .* cut short"),
        (first(segmentation={"size": [48, 64], "counts": "\u00ff"}), "annotation 1 must have run lengths in COCO"),
        (first(segmentation={"size": [4, 5], "counts": [0, 20]}), r"annotation 1 must have a mask of the size of its"),
        (lambda content: content["images"][1].update(id=1), "ids of images must differ, got id 1 for a.png and b.png"),
        (lambda content: content["categories"][1].update(id=1), "ids of categories must differ, got id 1 for cat and"),
        (lambda content: content["images"][0].pop("file_name"), "entry 0 of images must have id and file_name, got id"),
        (lambda content: content["categories"][0].pop("id"), "entry 0 of categories must have an id, got name"),
        (lambda content: content["annotations"].append(3), "entry 2 of annotations must be an object of JSON, got 3"),
        (
            lambda content: content.pop("images"),
            r"must hold COCO annotations \(lists images and annotations\), got anno",
        ),
    ],
)
def test_what_is_damaged_is_one_sentence_before_any_training(place: Path, change: Change, sentence: str) -> None:
    with pytest.raises(ValueError, match=rf"coco.json: {sentence}"):
        CocoImages(place, written(place, change))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (json.dumps(PLAIN)[:-40], "as JSON: it is cut short"),
        ("", "as JSON: Expecting value"),
        ("{'images': []}", "as JSON: Expecting property name"),
        ("[]", "got a list"),
        (json.dumps([{"image_id": 1, "score": 0.5}]), "got results of a detector"),
        ("3", "got int"),
    ],
)
def test_files_that_hold_no_annotations(place: Path, text: str, sentence: str) -> None:
    (place / "coco.json").write_text(text)
    with pytest.raises(ValueError, match=rf"coco.json: must hold COCO annotations .*{sentence}"):
        CocoImages(place, place / "coco.json")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encodings(place: Path, encoding: str) -> None:
    content = {**PLAIN, "categories": [{"id": 1, "name": "Kätzchen"}, {"id": 2, "name": "dog"}]}
    (place / "coco.json").write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
    if encoding == "latin-1":
        with pytest.warns(InputWarning, match="its text is not UTF-8 and was read as Latin-1"):
            data = CocoImages(place, place / "coco.json")
    else:
        data = CocoImages(place, place / "coco.json")
    assert data.classes == {1: "Kätzchen", 2: "dog"}


def test_missing_images_are_named_at_once(place: Path) -> None:
    (place / "b.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 2 images of .*coco.json are missing, such as .*b.png"):
        CocoImages(place, written(place, lambda content: None))


@pytest.mark.parametrize("orientation", [3, 6])
def test_turned_photos_are_annotated_as_viewers_show_them(place: Path, orientation: int) -> None:
    image = photo(48, 64)
    write_turned(place / "a.png", image, orientation)
    data = CocoImages(place, written(place, lambda content: None))
    data.check_sizes()
    assert torch.equal(data[0][0], torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255)
    swapped = written(place, lambda content: content["images"][0].update(height=64, width=48))
    with pytest.raises(ValueError, match=r"\(64, 48\) \(height, width\), got \(48, 64\); is it stored turned"):
        CocoImages(place, swapped).check_sizes()


def test_images_that_cannot_be_opened_are_found_before_training(place: Path) -> None:
    (place / "b.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"b\.png"):
        CocoImages(place, written(place, lambda content: None)).check_sizes()


def test_run_lengths_are_decompressed_as_pycocotools_does() -> None:
    masks = np.random.default_rng(0).integers(0, 2, (20, 30, 9)).astype(np.uint8)
    for found in rle.encode(np.asfortranarray(masks)):
        counts = decompressed(found["counts"])
        again = rle.frPyObjects({"size": [20, 30], "counts": counts}, 20, 30)
        assert again["counts"] == found["counts"]
