"""What `pointcoc.train.fit` learns where every pixel or every point has a class. Needs the extra `train`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from pointcoc.data import IGNORE
from pointcoc.segmentation.inference import sliding_logits
from pointcoc.segmentation.metrics import Confusion
from pointcoc.segmentation.part_scores import PartScores, choose_parts
from pointcoc.train.metrics import PassScores
from pointcoc.train.task import Pairs, Task


class ClassScores(PassScores):
    """Loss of one pass, and the pixels or points by true and by predicted class.

    Args:
        num_classes: classes of a pixel or point.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.confusion = Confusion(num_classes, IGNORE)
        self.keep()

    @torch.no_grad()
    def update(self, loss: Tensor, num_sets: int, choice: Tensor, target: Tensor) -> None:
        """Take in the sum of the losses of some items (), their number, and classes of one shape."""
        self.take(loss, num_sets)
        self.confusion.update(choice, target)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from the state dict of other scores; older ones hold the counts as a buffer of their own."""
        super().restore({"confusion.confmat" if name == "counts" else name: value for name, value in state.items()})

    def compute(self) -> dict[str, float]:
        """`loss` (mean over items), and what `Confusion` computes if anything was counted."""
        return {**super().compute(), **(self.confusion.compute() if bool(self.confusion.counts.any()) else {})}


class PointScores(ClassScores):
    """`ClassScores` whose share of right points is called `accuracy`."""

    def compute(self) -> dict[str, float]:
        """`loss`, and `mean_iou`, `accuracy` and `class_accuracy` if anything was counted."""
        return {"accuracy" if name == "pixel_accuracy" else name: value for name, value in super().compute().items()}


class PixelTask(Task):
    """A class for each pixel: images (B, C, H, W), logits (B, num_classes, H, W), masks (B, H, W), int64.

    A mask that is measured may have another size than its image: the logits are resized.

    Args:
        num_classes: classes of a pixel; -100 in a mask counts nowhere.
        window: side of the sliding windows of a measure, in pixels; 0 reads whole images.
        notes: see `Task`.
        class_weights: weight of each class in the loss, shape (num_classes,); None for equal ones.
    """

    headline = "mean_iou"

    def __init__(
        self,
        num_classes: int,
        window: int = 0,
        notes: Mapping[str, Any] | None = None,
        class_weights: Tensor | None = None,
    ) -> None:
        self.num_classes = num_classes
        self.window = window
        self.notes = notes or {}
        self.class_weights = class_weights

    def new_scores(self) -> ClassScores:
        """Make loss and counts of classes, empty."""
        return ClassScores(self.num_classes)

    def loss(self, model: nn.Module, inputs: Any, targets: Any, scores: PassScores) -> Tensor:
        """Cross entropy, mean over pixels, for each image; see `Task`."""
        item = torch.arange(len(inputs), device=targets.device)
        return class_loss(model(inputs), targets, item, len(inputs), scores, "masks", self.class_weights)

    def measure(self, model: nn.Module, batches: Pairs, accelerator: Accelerator) -> dict[str, float]:
        """Compare with the masks at their own size, one image at a time; see `Task`."""
        scores = self.new_scores().to(accelerator.device)
        for images, masks in batches:
            for image, mask in zip(images, masks, strict=True):
                with accelerator.autocast():
                    logits = sliding_logits(model, image, self.window) if self.window else model(image[None])[0]
                logits = interpolate(logits[None].float(), mask.shape[-2:], mode="bilinear", align_corners=False)
                class_loss(logits, mask[None], mask.new_zeros(1), 1, scores, "masks", self.class_weights)
        return scores.joined(accelerator).compute()


class PointTask(Task):
    """A class for each point: a `PointSet` of B sets, logits (N, num_classes), classes (N,), int64.

    Args:
        num_classes: classes of a point; the class -100 counts nowhere.
        notes: see `Task`.
        class_weights: weight of each class in the loss, shape (num_classes,); None for equal ones.
    """

    headline = "mean_iou"

    def __init__(
        self, num_classes: int, notes: Mapping[str, Any] | None = None, class_weights: Tensor | None = None
    ) -> None:
        self.num_classes = num_classes
        self.notes = notes or {}
        self.class_weights = class_weights

    def new_scores(self) -> PointScores:
        """Make loss and counts of classes, empty."""
        return PointScores(self.num_classes)

    def loss(self, model: nn.Module, inputs: Any, targets: Any, scores: PassScores) -> Tensor:
        """Cross entropy, mean over points, for each set; see `Task`."""
        sets, name = (inputs.batch, inputs.num_sets), "classes of points"
        return class_loss(model(inputs), targets, *sets, scores, name, self.class_weights)

    def measure(self, model: nn.Module, batches: Pairs, accelerator: Accelerator) -> dict[str, float]:
        """Compare every point of every set; see `Task`."""
        scores = self.new_scores().to(accelerator.device)
        for inputs, targets in batches:
            with accelerator.autocast():
                self.loss(model, inputs, targets, scores)
        return scores.joined(accelerator).compute()


class PartTask(PointTask):
    """A part for each point of an object whose category is told: ((`PointSet`, categories (B,)), parts (N,)).

    The measure chooses among the parts of each object's category.

    Args:
        parts: classes that are parts of each category.
        notes: see `Task`.
    """

    headline = "instance_mean_iou"

    def __init__(self, parts: Sequence[Sequence[int]], notes: Mapping[str, Any] | None = None) -> None:
        super().__init__(1 + max(map(max, parts)), notes)
        self.parts = parts

    def loss(self, model: nn.Module, inputs: Any, targets: Any, scores: PassScores) -> Tensor:
        """Cross entropy, mean over points, for each object; see `Task`."""
        points, category = inputs
        return class_loss(model(points, category), targets, points.batch, points.num_sets, scores, "parts of points")

    def measure(self, model: nn.Module, batches: Pairs, accelerator: Accelerator) -> dict[str, float]:
        """Return `loss` and what `PartScores` computes; see `Task`."""
        scores, found = self.new_scores().to(accelerator.device), PartScores(self.parts)
        for (points, category), targets in batches:
            with accelerator.autocast():
                logits = model(points, category)
            class_loss(logits.float(), targets, points.batch, points.num_sets, scores, "parts of points")
            chosen, sizes = choose_parts(logits, category, points.ptr, self.parts), points.counts.tolist()
            for one, true, kind in zip(chosen.split(sizes), targets.split(sizes), category.tolist(), strict=True):
                found.update(one, true, kind)
        total = PartScores(self.parts)
        for other in gather_object([found]):
            total.join(other)
        return {"loss": scores.joined(accelerator).compute()["loss"], **total.compute()}


def class_loss(
    logits: Tensor,
    targets: Tensor,
    item: Tensor,
    num_items: int,
    scores: PassScores,
    name: str = "targets",
    class_weights: Tensor | None = None,
) -> Tensor:
    """Return the sum over items of their mean cross entropies over what counts; 0 for items where nothing counts.

    A mean over all that counts in a batch would depend on which items share a process.

    Args:
        logits: shape (N, num_classes, ...).
        targets: classes, shape (N, ...), int64.
        item: item of each of the N rows, from 0 on, ascending, int64.
        num_items: number of items.
        scores: a `ClassScores`, which takes it in.
        name: what the targets are, for messages.
        class_weights: weight of each class in the means, shape (num_classes,); None for equal ones.

    Raises:
        ValueError: if the targets are not allowed (see `check_classes`).
    """
    assert isinstance(scores, ClassScores)
    check_classes(name, targets, (len(logits), *logits.shape[2:]), scores.confusion.num_classes)
    weights = None if class_weights is None else class_weights.to(logits)
    losses = cross_entropy(logits, targets, weights, ignore_index=IGNORE, reduction="none")
    is_counted = targets != IGNORE
    shares = is_counted.to(losses.dtype)
    shares = shares if weights is None else shares * weights[targets.where(is_counted, 0)]
    sums, counts = (
        each.new_zeros(num_items).index_add(0, item, each.reshape(len(targets), -1).sum(1)) for each in (losses, shares)
    )
    loss = (sums / torch.where(counts > 0, counts, 1)).sum()
    scores.update(loss, num_items, logits.argmax(1), targets)
    return loss


def check_classes(name: str, targets: Tensor, shape: tuple[int, ...], num_classes: int) -> None:
    """Check classes before a loss meets them.

    Args:
        name: what they are, for the message.
        targets: what came.
        shape: what is allowed.
        num_classes: classes from 0 on; -100 is allowed too.

    Raises:
        ValueError: if they are no int64 of that shape, or one lies outside the classes; the message holds it.
    """
    if targets.dtype != torch.int64 or tuple(targets.shape) != shape:
        raise ValueError(f"{name} must be int64 of shape {shape}, got {targets.dtype} of shape {tuple(targets.shape)}")
    is_outside = (targets != IGNORE) & ((targets < 0) | (targets >= num_classes))
    if is_outside.any():
        raise ValueError(
            f"{name} must be in [0, {num_classes - 1}], or {IGNORE} to ignore, got {int(targets[is_outside][0])}"
        )
