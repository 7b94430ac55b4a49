"""What a segmentation is worth: mean intersection over union, accuracy of pixels and of classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix


class Confusion(MulticlassConfusionMatrix):
    """Counts pixels by true and by predicted class, over as many images as it is shown.

    Args:
        num_classes: classes of a pixel.
        ignore_index: pixels with this target count nowhere.
    """

    def __init__(self, num_classes: int, ignore_index: int = -100):
        # The classes are checked here, by sentences that name them; the processes of a run are joined at its end.
        super().__init__(num_classes, ignore_index, validate_args=False, sync_on_compute=False)

    @property
    def counts(self) -> Tensor:
        """Pixels by true class (rows) and predicted class, shape (num_classes, num_classes), int64."""
        return self.confmat

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
        super().update(guess.to(self.device), true.to(self.device))

    def iou(self) -> Tensor:
        """Intersection over union of each class, shape (num_classes,); NaN for one that is nowhere."""
        hits = self.counts.diagonal().double()
        return hits / (self.counts.sum(0) + self.counts.sum(1) - hits)

    def compute(self) -> dict[str, float]:  # type: ignore[override]  # scores, not the matrix
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
