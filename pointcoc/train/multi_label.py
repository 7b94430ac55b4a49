"""Several labels an image: each class is there or not, whatever the others are."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torchmetrics.aggregation import SumMetric
from torchmetrics.functional.classification import binary_average_precision

from pointcoc.train.findings import Findings
from pointcoc.train.metrics import PassScores
from pointcoc.train.task import Pairs, Task, input_panels

THRESHOLD = 0.5
"""Probability from which on a label is predicted."""


class LabelScores(PassScores):
    """Loss and F1 of one pass, the latter over all labels of all images."""

    def __init__(self) -> None:
        super().__init__()
        self.hits = SumMetric(sync_on_compute=False)
        self.predicted = SumMetric(sync_on_compute=False)
        self.there = SumMetric(sync_on_compute=False)
        self.keep()

    @torch.no_grad()
    def update(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Take in one batch: the sum of its losses (), logits and labels (B, num_classes)."""
        self.take(loss, len(labels))
        is_predicted, is_there = logits.sigmoid() >= THRESHOLD, labels > 0
        self.hits.update((is_predicted & is_there).sum())
        self.predicted.update(is_predicted.sum())
        self.there.update(is_there.sum())

    def compute(self) -> dict[str, float]:
        """`loss` (mean over images) and `f1` (0 to 1; 1 where nothing is there and nothing predicted)."""
        total = float(self.predicted.compute() + self.there.compute())
        return {**super().compute(), "f1": 2 * float(self.hits.compute()) / total if total else 1.0}


class MultiLabel(Task):
    """Labels of images, each by itself: logits (B, num_classes), labels 0 or 1 of the same shape.

    Args:
        num_classes: labels that there are.
        notes: see `Task`; `multi_label` is added, by which `pointcoc predict` knows that scores do not sum to 1.
        positive_weights: weight in the loss of each label where it is there, shape (num_classes,); None for 1.
    """

    headline = "mean_ap"

    def __init__(
        self, num_classes: int, notes: Mapping[str, Any] | None = None, positive_weights: Tensor | None = None
    ) -> None:
        self.num_classes = num_classes
        self.notes = {**(notes or {}), "multi_label": True}
        self.positive_weights = positive_weights

    def new_scores(self) -> LabelScores:
        """Make loss and F1, empty."""
        return LabelScores()

    def loss(self, model: nn.Module, inputs: Any, targets: Any, scores: PassScores) -> Tensor:
        """Binary cross entropy, mean over labels, for each image; see `Task`."""
        return self._taken(model(inputs), targets, scores, self.positive_weights)

    def measure(self, model: nn.Module, batches: Pairs, accelerator: Accelerator) -> dict[str, float]:
        """Return `loss`, `mean_ap` (mean over labels that an image has) and `f1`; see `Task`."""
        scores = self.new_scores().to(accelerator.device)
        found: list[tuple[Tensor, Tensor]] = []  # logits and labels
        for inputs, targets in batches:
            with accelerator.autocast():
                logits = model(inputs)
            self._taken(logits.float(), targets, scores, None)
            found.append((logits.float().cpu(), targets.cpu()))
            if self.findings is not None:
                _find_labels(self.findings, inputs, *found[-1])
        logits, targets = (torch.cat(parts) for parts in zip(*gather_object(found), strict=True))
        values = scores.joined(accelerator).compute()
        precision = average_precision(logits.sigmoid(), targets)
        if self.findings is not None:
            self.findings.join(accelerator)
            self.findings.counts = targets.sum(0).long().tolist()
            self.findings.classes = {"average_precision": precision.tolist()}
        return {"loss": values["loss"], "mean_ap": float(precision.nanmean()), "f1": values["f1"]}

    def line(self, scores: Mapping[str, float]) -> str:
        """Say both scores in one line."""
        return f"mean average precision {scores['mean_ap']:.2%}, F1 {scores['f1']:.2%}"

    def _taken(self, logits: Tensor, targets: Tensor, scores: PassScores, weights: Tensor | None) -> Tensor:
        assert isinstance(scores, LabelScores)
        targets = check_label_rows(targets, self.num_classes)
        weights = None if weights is None else weights.to(logits)
        losses = binary_cross_entropy_with_logits(logits, targets.to(logits), pos_weight=weights, reduction="none")
        loss = losses.mean(1).sum()
        scores.update(loss, logits, targets)
        return loss


def _find_labels(findings: Findings, inputs: Any, logits: Tensor, targets: Tensor) -> None:
    """Write down the loss of each image, and how many of its labels are wrong."""
    losses = binary_cross_entropy_with_logits(logits, targets.to(logits), reduction="none").mean(1)
    wrong = ((logits.sigmoid() >= THRESHOLD) != (targets > 0)).sum(1)
    for row, (loss, count) in enumerate(zip(losses.tolist(), wrong.tolist(), strict=True)):
        findings.add(row, loss if count else 0.0, partial(input_panels, inputs, row), loss=loss, wrong_labels=count)


def average_precision(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the average precision of each label: the mean of the precision over steps of recall, as scikit-learn's.

    Args:
        scores: of each image and label, higher for likelier, shape (N, num_classes).
        labels: 0 or 1, the same shape.

    Returns:
        Shape (num_classes,), 0 to 1; NaN for a label that no image has.
    """
    columns = zip(scores.unbind(1), labels.long().unbind(1), strict=True)
    return torch.stack(
        [
            binary_average_precision(score, label) if label.any() else score.new_tensor(torch.nan)
            for score, label in columns
        ]
    )


def check_label_rows(labels: Tensor, num_classes: int) -> Tensor:
    """Check the labels of a batch before a loss meets them.

    Args:
        labels: 0 or 1, shape (B, num_classes).
        num_classes: labels that there are.

    Raises:
        ValueError: if the shape is another one or a value is neither; the message holds it.
    """
    if labels.ndim != 2 or labels.shape[1] != num_classes:
        raise ValueError(f"labels must have shape (B, {num_classes}), got {tuple(labels.shape)}")
    if not ((labels == 0) | (labels == 1)).all():
        raise ValueError(f"labels must be 0 or 1, got {labels[(labels != 0) & (labels != 1)][0].item()}")
    return labels
