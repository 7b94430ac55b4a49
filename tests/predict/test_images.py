"""Images: colors where the mask is, masks that are read again, and a COCO file that pycocotools opens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pycocotools.coco import COCO
from torch import Tensor

from pointcoc.data import MaskFolder
from pointcoc.detection import coco_dataset
from pointcoc.predict import class_colors, draw_classes, draw_objects
from pointcoc.predict.images import write_mask
from pointcoc.segmentation.prediction import find_classes

GRAY = torch.full((3, 40, 60), 100 / 255)


def box(x1: int, y1: int, x2: int, y2: int, label: int = 3) -> dict[str, Tensor]:
    mask = torch.zeros(1, 1, 40, 60)
    mask[..., y1:y2, x1:x2] = 0.9
    return {
        "boxes": torch.tensor([[x1, y1, x2, y2]]).float(),
        "labels": torch.tensor([label]),
        "scores": torch.tensor([0.75]),
        "masks": mask,
    }


def test_the_first_colors_are_those_of_pascal() -> None:
    assert class_colors(4).tolist() == [[128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
    assert len({tuple(color) for color in class_colors(255).tolist()}) == 255
    assert torch.equal(class_colors(256)[255], class_colors(1)[0])


def test_classes_are_drawn_half_transparent() -> None:
    classes = torch.zeros(40, 60, dtype=torch.int64)
    classes[10:, 20:] = 2
    drawn = draw_classes(GRAY, classes, 3)
    assert drawn.dtype == torch.uint8
    assert drawn[:, 0, 0].tolist() == [114, 50, 50]  # halfway from 100 to (128, 0, 0)
    assert drawn[:, 39, 59].tolist() == [114, 114, 50]


def test_objects_have_color_in_the_mask_a_box_and_no_color_elsewhere() -> None:
    drawn = draw_objects(GRAY, box(20, 8, 50, 38), {3: "cup"})  # the label stands in its upper half
    color = class_colors(4)[3]
    assert drawn[:, 36, 48].tolist() == [50, 50, 114]
    assert drawn[:, 38, 50].tolist() == color.tolist()
    assert drawn[:, 5, 5].tolist() == [100, 100, 100]
    nothing = {name: value[:0] for name, value in box(1, 1, 2, 2).items()}
    assert bool((draw_objects(GRAY, nothing, {}) == 100).all())


def test_pycocotools_opens_the_file(tmp_path: Path) -> None:
    nothing = {name: value[:0] for name, value in box(1, 1, 2, 2).items()}
    content = coco_dataset(["a.png", "b.png"], [(40, 60), (40, 60)], [nothing, box(20, 25, 50, 38)], {1: "cat"})
    (tmp_path / "objects.json").write_text(json.dumps(content))
    coco = COCO(str(tmp_path / "objects.json"))
    assert coco.getImgIds() == [1, 2]
    assert [one["name"] for one in coco.loadCats([1, 3])] == ["cat", "3"]
    assert coco.getAnnIds(imgIds=[1]) == []
    (found,) = coco.loadAnns(coco.getAnnIds(imgIds=[2]))
    assert (found["bbox"], found["area"], found["score"]) == ([20, 25, 30, 13], 30 * 13, 0.75)
    mask = np.zeros((40, 60), dtype=np.uint8)
    mask[25:38, 20:50] = 1
    assert np.array_equal(coco.annToMask(found), mask)
    assert len(coco.loadRes(content["annotations"]).anns) == 1


def test_masks_are_those_that_a_folder_of_masks_reads(tmp_path: Path) -> None:
    for name in ("images", "annotations"):
        (tmp_path / name / "new").mkdir(parents=True)
    numbers = torch.arange(6).view(2, 3) * 60
    for stem, mask in (("a", numbers), ("b", numbers // 60)):
        Image.new("RGB", (3, 2)).save(tmp_path / "images" / "new" / f"{stem}.png")
        write_mask(tmp_path / "annotations" / "new" / f"{stem}.png", mask)
    data = MaskFolder(tmp_path, "new", num_classes=301, ignore=())
    assert torch.equal(data[0][1], numbers)
    assert torch.equal(data[1][1], numbers // 60)


def test_classes_have_the_size_of_the_image_whatever_the_network_reads() -> None:
    sizes = []

    class Bright(torch.nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            sizes.append(tuple(images.shape[-2:]))
            return torch.cat([images[:, :1] * 0, images[:, :1]], 1)

    image = torch.zeros(3, 40, 60)
    image[:, :, 30:] = 1
    for short_side, window in ((0, None), (20, None), (20, 16)):
        classes = find_classes(Bright(), image, short_side, window)
        assert classes.shape == (40, 60)
        assert bool((classes[:, 32:] == 1).all())
        assert bool((classes[:, :28] == 0).all())
    assert sizes[:3] == [(40, 60), (20, 30), (16, 16)]
