"""The measures of ShapeNetPart, on paper."""

from __future__ import annotations

import pytest
import torch

from pointcoc.segmentation import PartScores, choose_parts

PARTS = ((0, 1), (2, 3, 4))


def test_by_hand() -> None:
    scores = PartScores(PARTS)
    scores.update(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 0, 1]), 0)  # part 0: 2 / 3, part 1: 1 / 2
    scores.update(torch.tensor([0, 0]), torch.tensor([0, 0]), 0)  # part 1 is nowhere and counts 1
    scores.update(torch.tensor([2, 3, 3, 3]), torch.tensor([2, 2, 3, 3]), 1)  # 1 / 2, 2 / 3, 1
    first, third = (2 / 3 + 1 / 2) / 2, (1 / 2 + 2 / 3 + 1) / 3
    assert scores.compute() == pytest.approx(
        {
            "instance_mean_iou": (first + 1 + third) / 3,
            "class_mean_iou": ((first + 1) / 2 + third) / 2,
            "accuracy": 8 / 10,
        }
    )


def test_a_part_that_is_only_predicted_counts_zero() -> None:
    scores = PartScores(PARTS)
    scores.update(torch.tensor([2, 4]), torch.tensor([2, 2]), 1)  # 1 / 2, 1 (nowhere), 0
    assert scores.compute()["instance_mean_iou"] == pytest.approx(0.5)


def test_the_choice_is_among_the_parts_of_the_category() -> None:
    logits = torch.tensor([[1.0, 2, 9, 0, 0], [3, 2, 9, 0, 0], [9, 9, 1, 0, 2]])
    chosen = choose_parts(logits, torch.tensor([0, 1]), torch.tensor([0, 2, 3]), PARTS)
    assert chosen.tolist() == [1, 0, 4]


def test_errors() -> None:
    scores = PartScores(PARTS)
    zero = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match="no object was counted"):
        scores.compute()
    with pytest.raises(ValueError, match=r"one shape \(N,\), N at least 1, got \(2,\) and \(1,\)"):
        scores.update(zero, zero[:1], 0)
    with pytest.raises(ValueError, match=r"category must be in \[0, 1\], got 2"):
        scores.update(zero, zero, 2)
    with pytest.raises(ValueError, match=r"target of category 1 must hold its parts \(2, 3, 4\), got \[0\]"):
        scores.update(zero, zero, 1)
    with pytest.raises(ValueError, match="at least one each"):
        PartScores(((0,), ()))
