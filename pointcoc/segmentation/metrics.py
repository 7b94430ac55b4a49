"""What a segmentation is worth: mean intersection over union, accuracy of pixels and of classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Confusion(nn.Module):
    """Counts pixels by true and by predicted class, over as many images as it is shown.

    Args:
        num_classes: classes of a pixel.
        ignore_index: pixels with this target count nowhere.
    """

    counts: Tensor

    def __init__(self, num_classes: int, ignore_index: int = -100):
        super().__init__()
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.register_buffer("counts", torch.zeros(num_classes, num_classes, dtype=torch.int64), persistent=False)

    @torch.no_grad()
    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Take in one image or batch.

        Args:
            prediction: classes, any shape, integers.
            target: true classes, the same shape.

        Raises:
            ValueError: if the shapes differ or a class is outside the list.
        """
        if prediction.shape != target.shape:
            raise ValueError(
                f"prediction must have the shape of target {tuple(target.shape)}, got {tuple(prediction.shape)}"
            )
        is_counted = target != self.ignore_index
        true, guess = target[is_counted], prediction[is_counted]
        for name, value in (("target", true), ("prediction", guess)):
            if value.numel() and not 0 <= int(value.min()) <= int(value.max()) < self.num_classes:
                found = f"{int(value.min())} to {int(value.max())}"
                raise ValueError(f"{name} must hold classes 0 to {self.num_classes - 1}, got {found}")
        rows = torch.bincount(true * self.num_classes + guess, minlength=self.num_classes**2)
        self.counts += rows.view(self.num_classes, self.num_classes).to(self.counts.device)

    def iou(self) -> Tensor:
        """Intersection over union of each class, shape (num_classes,); NaN for one that is nowhere."""
        hits = self.counts.diagonal().double()
        return hits / (self.counts.sum(0) + self.counts.sum(1) - hits)

    def compute(self) -> dict[str, float]:
        """Return `mean_iou`, `pixel_accuracy` and `class_accuracy`, 0 to 1.

        Classes that neither image nor prediction holds are left out of the mean IoU, classes that no image holds out of
        the class accuracy.

        Raises:
            ValueError: if no pixel was counted.
        """
        if not int(self.counts.sum()):
            raise ValueError("no pixel was counted: every target is the ignored one, or nothing was shown")
        hits = self.counts.diagonal().double()
        return {
            "mean_iou": float(self.iou().nanmean()),
            "pixel_accuracy": float(hits.sum() / self.counts.sum()),
            "class_accuracy": float((hits / self.counts.sum(1)).nanmean()),
        }
