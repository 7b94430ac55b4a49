"""What a segmentation into parts is worth: the measures of ShapeNetPart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pointcoc.checks import check_range


class PartScores:
    """Intersection over union of the parts of objects, each among the parts of its own category.

    Yi et al., A Scalable Active Framework for Region Annotation in 3D Shape Collections, 2016: the IoU of an object is
    the mean over the parts of its category; a part that is neither there nor predicted counts 1.

    Args:
        parts: classes that are parts of each category: ((0, 1), (2, 3, 4)).

    Raises:
        ValueError: if there is no category, or one without parts.
    """

    def __init__(self, parts: Sequence[Sequence[int]]):
        if not parts or not all(parts):
            raise ValueError(f"parts must hold the classes of each category, at least one each, got {parts}")
        self.parts = tuple(tuple(one) for one in parts)
        self._ious: list[list[float]] = [[] for _ in parts]
        self._hits = self._points = 0

    def update(self, prediction: Tensor, target: Tensor, category: int) -> float:
        """Take in one object and return its mean IoU.

        Args:
            prediction: class of each point, shape (N,), integers.
            target: true classes, shape (N,).
            category: number of its category.

        Raises:
            ValueError: if the shapes differ, there is no point, the category is unknown, or a true class is not among
                its parts.
        """
        if prediction.shape != target.shape or target.ndim != 1 or not len(target):
            raise ValueError(
                f"prediction and target must have one shape (N,), N at least 1, got {tuple(prediction.shape)} and "
                f"{tuple(target.shape)}"
            )
        check_range("category", category, 0, len(self.parts) - 1)
        parts = self.parts[category]
        strange = sorted(set(target.unique().tolist()) - set(parts))
        if strange:
            raise ValueError(f"target of category {category} must hold its parts {parts}, got {strange}")
        iou = sum(_iou(prediction == part, target == part) for part in parts) / len(parts)
        self._ious[category].append(iou)
        self._hits += int((prediction == target).sum())
        self._points += len(target)
        return iou

    def join(self, other: PartScores) -> None:
        """Take in the objects of other scores of the same parts."""
        for mine, its in zip(self._ious, other._ious, strict=True):
            mine += its
        self._hits += other._hits
        self._points += other._points

    def by_category(self) -> tuple[list[int], list[float]]:
        """Return the number of objects of each category and their mean IoU, NaN for a category without any."""
        return (
            [len(ious) for ious in self._ious],
            [sum(ious) / len(ious) if ious else math.nan for ious in self._ious],
        )

    def compute(self) -> dict[str, float]:
        """Return `instance_mean_iou` (over objects), `class_mean_iou` (over categories seen) and `accuracy` of points.

        Raises:
            ValueError: if no object was shown.
        """
        seen = [ious for ious in self._ious if ious]
        if not seen:
            raise ValueError("no object was counted: nothing was shown")
        return {
            "instance_mean_iou": sum(map(sum, seen)) / sum(map(len, seen)),
            "class_mean_iou": sum(sum(ious) / len(ious) for ious in seen) / len(seen),
            "accuracy": self._hits / self._points,
        }


def choose_parts(logits: Tensor, category: Tensor, ptr: Tensor, parts: Sequence[Sequence[int]]) -> Tensor:
    """Return the likeliest part of each point among those of its object's category.

    Args:
        logits: shape (N, num_classes).
        category: category of each set, shape (B,).
        ptr: bounds of the sets, shape (B + 1,).
        parts: classes that are parts of each category.

    Returns:
        Classes, shape (N,), int64.
    """
    allowed = torch.zeros(len(parts), logits.shape[1], dtype=torch.bool, device=logits.device)
    for row, one in enumerate(parts):
        allowed[row, list(one)] = True
    return logits.masked_fill(~allowed[category.repeat_interleave(ptr.diff())], -torch.inf).argmax(1)


def _iou(prediction: Tensor, target: Tensor) -> float:
    union = int((prediction | target).sum())
    return int((prediction & target).sum()) / union if union else 1.0
