"""Average precision: all found, nothing found, crowds, and no objects."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pycocotools.coco import COCO
from torch import Tensor

from pointcoc.detection import coco_scores


def truth(*annotations: dict[str, Any]) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": [{"id": 7, "height": 20, "width": 20}],
        "annotations": [{"id": row + 1, "image_id": 7, "iscrowd": 0, **one} for row, one in enumerate(annotations)],
        "categories": [{"id": 3, "name": "box"}],
    }
    coco.createIndex()
    return coco


BOX = {"category_id": 3, "bbox": [2, 4, 10, 8], "area": 80, "segmentation": [[2, 4, 12, 4, 12, 12, 2, 12]]}
CROWD = {"category_id": 3, "bbox": [14, 14, 4, 4], "area": 16, "iscrowd": 1,
         "segmentation": {"size": [20, 20], "counts": [294, 4, 16, 4, 16, 4, 16, 4, 42]}}  # fmt: skip


def found(*boxes: tuple[int, int, int, int]) -> dict[str, Tensor]:
    masks = torch.zeros(len(boxes), 1, 20, 20)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[:, y1:y2, x1:x2] = 1
    return {
        "boxes": torch.tensor(boxes).float().reshape(-1, 4),
        "labels": torch.full((len(boxes),), 3),
        "scores": torch.linspace(0.9, 0.5, len(boxes)),
        "masks": masks,
    }


def test_what_is_found_exactly_is_worth_one() -> None:
    scores = coco_scores(truth(BOX), [(7, found((2, 4, 12, 12)))])
    assert set(scores) == {f"{kind}_{name}" for kind in ("box", "mask") for name in ("ap", "ap50", "ap75")}
    assert list(scores.values()) == pytest.approx([1.0] * 6)


def test_a_wrong_box_first_halves_it_and_a_crowd_costs_nothing() -> None:
    wrong_first = found((14, 14, 18, 18), (2, 4, 12, 12))
    assert coco_scores(truth(BOX), [(7, wrong_first)])["box_ap50"] == pytest.approx(0.5)
    assert coco_scores(truth(BOX, CROWD), [(7, wrong_first)])["box_ap50"] == pytest.approx(1.0)


def test_nothing_found_and_nothing_there() -> None:
    assert coco_scores(truth(BOX), [(7, found())])["mask_ap"] == 0
    assert coco_scores(truth(), [(7, found((2, 4, 12, 12)))])["box_ap"] == -1
