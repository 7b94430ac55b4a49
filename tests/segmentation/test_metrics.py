"""Scores of a segmentation by hand and against torchmetrics."""

from __future__ import annotations

import pytest
import torch
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from pointcoc.segmentation import Confusion


def test_by_hand() -> None:
    """Class 0: 1 of 2 right, union 3; class 1: 1 of 2, union 3; class 2: 1 of 1; class 3 is nowhere."""
    confusion = Confusion(4)
    confusion.update(torch.tensor([[0, 1, 1], [0, 2, 3]]), torch.tensor([[0, 0, 1], [1, 2, -100]]))
    assert confusion.compute() == pytest.approx({
        "mean_iou": (1 / 3 + 1 / 3 + 1) / 3,
        "pixel_accuracy": 3 / 5,
        "class_accuracy": (0.5 + 0.5 + 1) / 3,
    })  # fmt: skip
    assert confusion.iou().isnan().tolist() == [False, False, False, True]


def test_against_torchmetrics_over_batches() -> None:
    torch.manual_seed(0)
    confusion = Confusion(5, ignore_index=9)
    iou = MulticlassJaccardIndex(5, ignore_index=9)
    accuracies = [MulticlassAccuracy(5, average=average, ignore_index=9) for average in ("micro", "macro")]
    for _ in range(3):
        guess, true = torch.randint(5, (2, 7, 8)), torch.randint(5, (2, 7, 8))
        true[0, 0] = 9
        for metric in (confusion, iou, *accuracies):
            metric.update(guess, true)
    expected = [float(metric.compute()) for metric in (iou, *accuracies)]
    assert list(confusion.compute().values()) == pytest.approx(expected, abs=1e-6)


def test_errors() -> None:
    confusion = Confusion(2)
    with pytest.warns(UserWarning, match="before the ``update``"), pytest.raises(ValueError, match="no pixel"):
        confusion.compute()
    with pytest.raises(ValueError, match=r"shape of target \(3,\), got \(2,\)"):
        confusion.update(torch.zeros(2).long(), torch.zeros(3).long())
    with pytest.raises(ValueError, match="target must hold classes 0 to 1, got 0 to 2"):
        confusion.update(torch.tensor([0, 1]), torch.tensor([0, 2]))
    confusion.update(torch.tensor([5]), torch.tensor([-100]))
    assert not confusion.counts.any()
