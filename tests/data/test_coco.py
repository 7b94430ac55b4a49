"""COCO annotations: crowds, RLE, images without objects, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as rle

from pointcoc.checks import InputWarning
from pointcoc.data import CocoImages, MirrorObjects

FULL = np.asfortranarray(np.pad(np.ones((4, 5), dtype=np.uint8), ((2, 2), (1, 4))))  # (8, 10)
COMPRESSED = {**rle.encode(FULL), "counts": rle.encode(FULL)["counts"].decode()}
COUNTS = {"size": [8, 10], "counts": [10, 4, 4, 4, 4, 4, 4, 4, 4, 4, 34]}
POLYGON = [[1.0, 2.0, 6.0, 2.0, 6.0, 6.0, 1.0, 6.0]]


def annotation(number: int, segmentation: Any, image: int = 1, **more: Any) -> dict[str, Any]:
    plain = {"id": number, "image_id": image, "category_id": 2, "bbox": [1, 2, 5, 4], "area": 20, "iscrowd": 0}
    return {**plain, "segmentation": segmentation, **more}


def write(root: Path, annotations: list[dict[str, Any]], mode: str = "RGB", **more: Any) -> tuple[Path, Path]:
    images = [{"id": number, "file_name": f"{number}.png", "height": 8, "width": 10, **more} for number in (1, 2)]
    for entry in images:
        Image.new("RGB", (10, 8), (255, 255, 255)).convert(mode).save(root / entry["file_name"])
    content = {"images": images, "annotations": annotations, "categories": [{"id": 2, "name": "box"}]}
    (root / "a.json").write_text(json.dumps(content))
    return root, root / "a.json"


@pytest.mark.parametrize("segmentation", [POLYGON, COMPRESSED, COUNTS], ids=["polygon", "compressed", "counts"])
def test_polygons_and_both_kinds_of_rle(tmp_path: Path, segmentation: Any) -> None:
    _, target = CocoImages(*write(tmp_path, [annotation(1, segmentation)]), num_classes=3)[0]
    assert target["boxes"].tolist() == [[1, 2, 6, 6]]
    assert target["labels"].tolist() == [2]
    assert np.array_equal(target["masks"][0].numpy(), FULL)


def test_half_of_the_images_are_mirrored_with_their_boxes_and_masks(tmp_path: Path) -> None:
    data = CocoImages(*write(tmp_path, [annotation(1, POLYGON)]), transform=MirrorObjects())
    torch.manual_seed(0)
    seen = set()
    for _ in range(20):
        _, target = data[0]
        box = tuple(target["boxes"][0].int().tolist())
        columns = target["masks"][0].any(0).nonzero().flatten()
        assert (columns[0], columns[-1] + 1) == (box[0], box[2])
        assert int(target["image_id"]) == 1
        seen.add(box)
    assert seen == {(1, 2, 6, 6), (4, 2, 9, 6)}


def test_crowds_and_flat_boxes_are_no_targets_and_images_may_be_empty(tmp_path: Path) -> None:
    crowd, flat = annotation(1, COUNTS, iscrowd=1), annotation(2, POLYGON, bbox=[1, 2, 0, 4])
    with pytest.warns(InputWarning, match="objects whose boxes have no area are left out: 1, such as annotation 2"):
        data = CocoImages(*write(tmp_path, [crowd, flat]))
    assert len(data) == 2
    for row in range(2):
        _, target = data[row]
        assert target["boxes"].shape == (0, 4)
        assert target["masks"].shape == (0, 8, 10)
        assert target["labels"].shape == (0,)
    assert [one["iscrowd"] for one in data.coco.anns.values()] == [1]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA"])
def test_images_of_all_kinds_have_three_channels(tmp_path: Path, mode: str) -> None:
    image, _ = CocoImages(*write(tmp_path, [], mode))[0]
    assert torch.equal(image, torch.ones(3, 8, 10))


def test_some_images_by_their_numbers(tmp_path: Path) -> None:
    place = write(tmp_path, [annotation(1, POLYGON)])
    data = CocoImages(*place, ids=(2, 1))
    assert [int(data[row][1]["image_id"]) for row in range(len(data))] == [2, 1]
    with pytest.raises(ValueError, match=r"ids must be numbers of images in .*a.json, got 3"):
        CocoImages(*place, ids=(1, 3))


def test_what_is_refused(tmp_path: Path) -> None:
    place = write(tmp_path, [annotation(1, POLYGON), annotation(2, POLYGON)])
    with pytest.raises(ValueError, match=r"must hold category ids 1 to 1, got 2; leave out num_classes for labels of"):
        CocoImages(*place, num_classes=2)
    with pytest.raises(ValueError, match=r"must have the size .* \(9, 10\) \(height, width\), got \(8, 10\)"):
        CocoImages(*write(tmp_path, [], height=9))[0]
    with pytest.raises(FileNotFoundError, match="annotations must be an existing file"):
        CocoImages(tmp_path, tmp_path / "b.json")
