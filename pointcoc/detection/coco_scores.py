"""Average precision of boxes and masks, as COCO measures it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

NAMES = ("ap", "ap50", "ap75")


def coco_scores(annotations: Any, detections: Iterable[tuple[int, Mapping[str, Tensor]]]) -> dict[str, float]:
    """Compare detections with the annotations of their images, through pycocotools.

    Args:
        annotations: a `pycocotools.coco.COCO`, such as `CocoImages.coco`; crowds are ignored where they should be.
        detections: number of an image and what the network found in it: boxes (n, 4), labels, scores, masks
            (n, 1, H, W). Images that are not among them are not measured.

    Returns:
        `box_ap`, `box_ap50`, `box_ap75`, `mask_ap`, ... from 0 to 1; -1, as pycocotools says, where the images have no
        object.
    """
    images, found = [], []
    for image, one in detections:
        images.append(image)
        found += coco_records(image, one)
    return record_scores(annotations, images, found)


def record_scores(annotations: Any, images: list[int], found: list[dict[str, Any]]) -> dict[str, float]:
    """Compare what `coco_records` described with the annotations; see `coco_scores`.

    Args:
        annotations: a `pycocotools.coco.COCO`.
        images: numbers of the images that are measured.
        found: the records of all of them.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    scores: dict[str, float] = {}
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        results = annotations.loadRes(found) if found else COCO()  # loadRes takes no empty list
        results.dataset.setdefault("annotations", [])
        for kind, name in (("bbox", "box"), ("segm", "mask")):
            evaluation = COCOeval(annotations, results, kind)
            evaluation.params.imgIds = images
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            scores |= {f"{name}_{key}": float(value) for key, value in zip(NAMES, evaluation.stats[:3], strict=True)}
    return scores


def coco_records(image: int, one: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """Describe the objects of an image as a list of COCO results: box as x, y, width, height, mask as RLE.

    Args:
        image: number of the image.
        one: boxes (n, 4) as x1, y1, x2, y2, labels, scores, masks (n, 1, H, W).
    """
    from pycocotools import mask as rle

    boxes = one["boxes"].detach().cpu().double()
    boxes[:, 2:] -= boxes[:, :2]
    masks = (one["masks"][:, 0] > 0.5).cpu().numpy().astype(np.uint8)
    rows = zip(boxes.tolist(), one["labels"].tolist(), one["scores"].tolist(), masks, strict=True)
    return [
        {
            "image_id": image,
            "category_id": label,
            "bbox": box,
            "score": score,
            "segmentation": rle.encode(np.asfortranarray(mask)),
        }
        for box, label, score, mask in rows
    ]
