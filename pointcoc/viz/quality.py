"""How well segments follow objects: the usual measures of superpixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pointcoc.checks import check_range
from pointcoc.viz.maps import borders, lay_out
from pointcoc.viz.trace import Trace


@dataclass(frozen=True, kw_only=True)
class SegmentQuality:
    """Quality of the segments of one image, each in [0, 1].

    Args:
        achievable_accuracy: share of pixels that are right if every segment gets its most frequent label; higher is
            better.
        boundary_recall: share of the pixels at a boundary of labels that have a boundary of segments near; higher is
            better, but many ragged boundaries raise it too.
        undersegmentation_error: share of pixels that leak over the edge of an object, the smaller side of each
            segment that is cut (Neubert and Protzel, 2012); lower is better.
        num_segments: number of segments.
    """

    achievable_accuracy: float
    boundary_recall: float
    undersegmentation_error: float
    num_segments: int


def segment_quality(segments: Tensor, labels: Tensor, ignore: int | None = None, tolerance: int = 2) -> SegmentQuality:
    """Measure segments against labels.

    Args:
        segments: number of the segment of each pixel, shape (H, W), from 0.
        labels: label of each pixel, shape (H, W), from 0.
        ignore: label whose pixels do not count.
        tolerance: pixels, along each axis, that two boundaries may be apart.

    Raises:
        ValueError: if shapes differ, a number is negative, or no pixel counts.
    """
    if segments.ndim != 2 or segments.shape != labels.shape:
        raise ValueError(f"segments and labels must be two maps of one size, got {segments.shape} and {labels.shape}")
    check_range("tolerance", tolerance, 0)
    counts = labels != ignore if ignore is not None else torch.ones_like(labels, dtype=torch.bool)
    if not counts.any():
        raise ValueError(f"every pixel has the label to ignore, {ignore}")
    table = overlap(segments[counts], labels[counts])
    total, size = table.sum(), table.sum(1, keepdim=True)
    return SegmentQuality(
        achievable_accuracy=float(table.amax(1).sum() / total),
        boundary_recall=_boundary_recall(segments, labels, counts, tolerance),
        undersegmentation_error=float(torch.minimum(table, size - table).sum() / total),
        num_segments=int((size > 0).sum()),
    )


def overlap(segments: Tensor, labels: Tensor) -> Tensor:
    """Count the pixels (N,) of each pair of a segment and a label, shape (S, L)."""
    if segments.min() < 0 or labels.min() < 0:
        raise ValueError(f"numbers must be at least 0, got {int(segments.min())} and {int(labels.min())}")
    shape = int(segments.max()) + 1, int(labels.max()) + 1
    return torch.bincount(segments.long() * shape[1] + labels.long(), minlength=shape[0] * shape[1]).view(shape)


def cluster_segments(traced: Trace, stage: int = -1, block: int = -1, head: int = 0) -> Tensor:
    """Return the clusters of a stage as segments of a complete image, shape (H, W)."""
    return lay_out(traced, traced.cluster(stage, block, head).cpu(), -1)


def _boundary_recall(segments: Tensor, labels: Tensor, counts: Tensor, tolerance: int) -> float:
    wanted = borders(labels, counts)
    if not wanted.any():
        return 1.0
    near = F.max_pool2d(borders(segments).float()[None, None], 2 * tolerance + 1, stride=1, padding=tolerance)[0, 0] > 0
    return float((wanted & near).sum() / wanted.sum())
