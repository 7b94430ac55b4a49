"""Quality of segments, by hand."""

from __future__ import annotations

import pytest
import torch

from pointcoc import ContextClusterNet
from pointcoc.viz import cluster_segments, segment_quality, trace
from pointcoc.viz.quality import overlap

LABELS = torch.zeros(4, 8, dtype=torch.long)
LABELS[:, 4:] = 1


def test_the_labels_themselves_are_perfect() -> None:
    quality = segment_quality(LABELS, LABELS)
    assert (quality.achievable_accuracy, quality.boundary_recall, quality.undersegmentation_error) == (1, 1, 0)
    assert quality.num_segments == 2


def test_by_hand() -> None:
    segments = torch.zeros(4, 8, dtype=torch.long)
    segments[:, 5:] = 3  # 20 and 12 pixels; the first holds 16 of label 0 and 4 of label 1
    assert overlap(segments.flatten(), LABELS.flatten()).tolist() == [[16, 4], [0, 0], [0, 0], [0, 12]]
    quality = segment_quality(segments, LABELS, tolerance=0)
    assert quality.achievable_accuracy == pytest.approx(28 / 32)
    assert quality.undersegmentation_error == pytest.approx(8 / 32)  # 4 on either side
    assert quality.boundary_recall == 0
    assert segment_quality(segments, LABELS, tolerance=1).boundary_recall == 1
    assert quality.num_segments == 2


def test_ignored_pixels_do_not_count() -> None:
    labels = LABELS.clone()
    labels[:, 4] = 255
    segments = torch.zeros(4, 8, dtype=torch.long)
    segments[:, 5:] = 1
    quality = segment_quality(segments, labels, ignore=255, tolerance=0)
    assert quality.achievable_accuracy == 1
    assert quality.undersegmentation_error == 0
    assert quality.boundary_recall == 1  # no boundary between pixels that count


def test_one_segment_and_one_pixel() -> None:
    quality = segment_quality(torch.zeros(4, 8, dtype=torch.long), LABELS)
    assert (quality.achievable_accuracy, quality.boundary_recall, quality.undersegmentation_error) == (0.5, 0, 1)
    assert segment_quality(torch.zeros(1, 1), torch.zeros(1, 1)).achievable_accuracy == 1


def test_clusters_as_segments(image_net: ContextClusterNet) -> None:
    (one,) = trace(image_net, torch.rand(1, 1, 20, 33))
    segments = cluster_segments(one, 1, 0, 2)
    assert segments.shape == (20, 33)
    assert torch.equal(segments.flatten(), one.cluster(1, 0, 2))


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="two maps of one size"):
        segment_quality(LABELS, LABELS[:2])
    with pytest.raises(ValueError, match="tolerance must be at least 0, got -1"):
        segment_quality(LABELS, LABELS, tolerance=-1)
    with pytest.raises(ValueError, match="every pixel has the label to ignore, 0"):
        segment_quality(LABELS, torch.zeros_like(LABELS), ignore=0)
    with pytest.raises(ValueError, match="numbers must be at least 0, got -1 and 0"):
        segment_quality(LABELS - 1, LABELS)
