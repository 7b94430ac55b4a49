"""Average precision of boxes and masks, as COCO measures it: of all classes, of each, and how each image did."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from pointcoc.detection.found import of_tensors

NAMES = ("ap", "ap50", "ap75")
KINDS = {"bbox": "box", "segm": "mask"}
SCORE = 0.5
"""Lowest score of the objects that count for an image."""


@dataclass(frozen=True, eq=False, kw_only=True)
class CocoMeasure:
    """What detections are worth.

    Args:
        scores: `box_ap`, `box_ap50`, `box_ap75` and, with masks, `mask_ap`, ... from 0 to 1; -1, as pycocotools says,
            where the images have no object.
        classes: the same of each class by its label; NaN for a class without objects.
        counts: objects of each class by its label, without crowds.
        images: by the number of an image: F1 of its boxes at an IoU of 0.5, of objects with scores of at least 0.5; NaN
            where it has no object and nothing was found.
    """

    scores: Mapping[str, float]
    classes: Mapping[int, Mapping[str, float]]
    counts: Mapping[int, int]
    images: Mapping[int, float]


def coco_scores(annotations: Any, detections: Iterable[tuple[int, Mapping[str, Tensor]]]) -> dict[str, float]:
    """Compare detections with the annotations of their images, through pycocotools.

    Args:
        annotations: a `pycocotools.coco.COCO`, such as `CocoImages.coco`; crowds are ignored where they should be.
        detections: number of an image and what the network found in it: boxes (n, 4), labels, scores and, or not, masks
            (n, 1, H, W). Images that are not among them are not measured.

    Returns:
        `box_ap`, `box_ap50`, `box_ap75` and, with masks, `mask_ap`, ... from 0 to 1; -1, as pycocotools says, where the
        images have no object.
    """
    images, found, has_masks = [], [], True
    for image, one in detections:
        images.append(image)
        found += coco_records(image, one)
        has_masks = has_masks and "masks" in one
    return dict(measure_records(annotations, images, found, has_masks).scores)


def measure_records(
    annotations: Any, images: Sequence[int], found: Sequence[dict[str, Any]], has_masks: bool = True
) -> CocoMeasure:
    """Compare what `coco_records` described with the annotations.

    Args:
        annotations: a `pycocotools.coco.COCO`; the ids of its annotations are above 0, for 0 stands for no object.
        images: numbers of the images that are measured.
        found: the records of all of them.
        has_masks: whether the masks of the records are measured.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    scores: dict[str, float] = {}
    classes: dict[int, dict[str, float]] = {label: {} for label in sorted(annotations.getCatIds())}
    counts, by_image = dict.fromkeys(classes, 0), {}
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        results = annotations.loadRes(list(found)) if found else COCO()  # loadRes takes no empty list
        results.dataset.setdefault("annotations", [])
        for kind, name in KINDS.items() if has_masks else [("bbox", "box")]:
            evaluation = COCOeval(annotations, results, kind)
            evaluation.params.imgIds = list(images)
            evaluation.evaluate()
            if kind == "bbox":
                counts, by_image = _count(evaluation, counts), _of_images(evaluation)
            evaluation.accumulate()
            evaluation.summarize()
            scores |= {f"{name}_{key}": float(value) for key, value in zip(NAMES, evaluation.stats[:3], strict=True)}
            for label, values in _of_classes(evaluation, name).items():
                classes[label] |= values
    return CocoMeasure(scores=scores, classes=classes, counts=counts, images=by_image)


def _of_classes(evaluation: Any, name: str) -> dict[int, dict[str, float]]:
    """Return the scores of each class: the mean precision over recalls, for objects of all sizes."""
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # (IoU, recall, class)
    values = np.where(precision > -1, precision, np.nan)
    thresholds = list(np.round(evaluation.params.iouThrs, 2))
    parts = {"ap": values, "ap50": values[thresholds.index(0.5)], "ap75": values[thresholds.index(0.75)]}
    return {
        label: {f"{name}_{key}": float(part[..., row].mean()) for key, part in parts.items()}
        for row, label in enumerate(evaluation.params.catIds)
    }


def _of_all_sizes(evaluation: Any) -> list[dict[str, Any]]:
    """Return the comparisons of each class in each image, for objects of all sizes."""
    everything = evaluation.params.areaRng[0]
    return [one for one in evaluation.evalImgs if one is not None and one["aRng"] == everything]


def _count(evaluation: Any, counts: Mapping[int, int]) -> dict[int, int]:
    """Return the objects of each class that count."""
    total = dict(counts)
    for one in _of_all_sizes(evaluation):
        total[one["category_id"]] += int((np.asarray(one["gtIgnore"]) == 0).sum())
    return total


def _of_images(evaluation: Any) -> dict[int, float]:
    """Return F1 of each image at the first IoU, 0.5."""
    sums = {int(image): np.zeros(3) for image in evaluation.params.imgIds}  # hits, found, there
    for one in _of_all_sizes(evaluation):
        counted = (np.asarray(one["dtScores"]) >= SCORE) & (np.asarray(one["dtIgnore"])[0] == 0)
        hits = (np.asarray(one["dtMatches"])[0] > 0) & counted
        sums[int(one["image_id"])] += (hits.sum(), counted.sum(), (np.asarray(one["gtIgnore"]) == 0).sum())
    return {
        image: 2 * hits / (found + there) if found + there else math.nan for image, (hits, found, there) in sums.items()
    }


def coco_records(image: int, one: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """Describe the objects of an image as a list of COCO results: box as x, y, width, height, mask as RLE.

    Args:
        image: number of the image.
        one: boxes (n, 4) as x1, y1, x2, y2, labels, scores and, or not, masks (n, 1, H, W).
    """
    return of_tensors(one).records(image)
