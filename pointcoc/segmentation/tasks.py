"""What `pointcoc.train.fit` learns where every pixel or every point has a class. Needs the extra `train`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from pointcoc.data import IGNORE
from pointcoc.data.class_colors import class_colors
from pointcoc.models.weights import WeightsInfo
from pointcoc.models.weights.info import listing
from pointcoc.predict.images import draw_classes
from pointcoc.segmentation.inference import sliding_logits
from pointcoc.segmentation.metrics import Confusion
from pointcoc.segmentation.part_scores import PartScores, choose_parts
from pointcoc.train.findings import Findings, Panel, Panels, picture_of
from pointcoc.train.metrics import PassScores
from pointcoc.train.pages import MOST_POINTS
from pointcoc.train.task import Pairs, Task

MOST_PIXELS = 512
"""Longest side of a picture of an evaluation."""


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
    remark = ""

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

    def line(self, scores: Mapping[str, float]) -> str:
        """Say the scores, and which classes the last measure says nothing about."""
        return _with_remark(super().line(scores), self.remark)

    def measure(self, model: nn.Module, batches: Pairs, accelerator: Accelerator) -> dict[str, float]:
        """Compare with the masks at their own size, one image at a time; see `Task`."""
        scores = self.new_scores().to(accelerator.device)
        for images, masks in batches:
            for row, (image, mask) in enumerate(zip(images, masks, strict=True)):
                with accelerator.autocast():
                    logits = sliding_logits(model, image, self.window) if self.window else model(image[None])[0]
                logits = interpolate(logits[None].float(), mask.shape[-2:], mode="bilinear", align_corners=False)
                class_loss(logits, mask[None], mask.new_zeros(1), 1, scores, "masks", self.class_weights)
                if self.findings is not None:
                    classes = logits[0].argmax(0)
                    draw = partial(mask_panels, image, mask, classes, self.num_classes)
                    find_item(self.findings, row, classes, mask, self.num_classes, draw)
        return closed(self, scores, accelerator)


class PointTask(Task):
    """A class for each point: a `PointSet` of B sets, logits (N, num_classes), classes (N,), int64.

    Args:
        num_classes: classes of a point; the class -100 counts nowhere.
        notes: see `Task`.
        class_weights: weight of each class in the loss, shape (num_classes,); None for equal ones.
    """

    headline = "mean_iou"
    remark = ""

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

    def line(self, scores: Mapping[str, float]) -> str:
        """Say the scores, and which classes the last measure says nothing about."""
        return _with_remark(super().line(scores), self.remark)

    def measure(self, model: nn.Module, batches: Pairs, accelerator: Accelerator) -> dict[str, float]:
        """Compare every point of every set; see `Task`."""
        scores = self.new_scores().to(accelerator.device)
        for inputs, targets in batches:
            with accelerator.autocast():
                logits = model(inputs)
                sets, name = (inputs.batch, inputs.num_sets), "classes of points"
                class_loss(logits, targets, *sets, scores, name, self.class_weights)
            if self.findings is not None:
                parts = (each.split(inputs.counts.tolist()) for each in (inputs.pos, logits.argmax(1), targets))
                for row, (pos, classes, true) in enumerate(zip(*parts, strict=True)):
                    draw = partial(point_panels, pos, true, classes, self.num_classes)
                    find_item(self.findings, row, classes, true, self.num_classes, draw)
        return closed(self, scores, accelerator)


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
            items = (each.split(sizes) for each in (points.pos, chosen, targets))
            for row, (pos, one, true, kind) in enumerate(zip(*items, category.tolist(), strict=True)):
                iou = found.update(one, true, kind)
                if self.findings is not None:
                    draw = partial(point_panels, pos, true, one, self.num_classes)
                    self.findings.add(row, 1 - iou, draw, category=self._category(kind), mean_iou=iou)
        total = PartScores(self.parts)
        for other in gather_object([found]):
            total.join(other)
        if self.findings is not None:
            self.findings.join(accelerator)
            self.findings.names = [self._category(kind) for kind in range(len(self.parts))]
            self.findings.counts, ious = total.by_category()
            self.findings.classes = {"mean_iou": ious}
        missing = [self._category(kind) for kind, count in enumerate(total.by_category()[0]) if not count]
        self.remark = f"no object of {listing(missing, 5)}: not measured" if missing else ""
        return {"loss": scores.joined(accelerator).compute()["loss"], **total.compute()}

    def _category(self, number: int) -> str:
        """Return the name of a category; its number where the notes tell no names."""
        names = self.notes.get("categories")
        return str(number if names is None else names[number])


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


def _with_remark(line: str, remark: str) -> str:
    return f"{line} ({remark})" if remark else line


def closed(task: PixelTask | PointTask, scores: ClassScores, accelerator: Accelerator) -> dict[str, float]:
    """Join scores and findings of all processes, and note the scores of each class.

    Args:
        task: takes in what is to be said about its classes; its findings are filled, if it has some.
        scores: of this process.
        accelerator: knows the processes.

    Returns:
        What the scores of all compute.
    """
    total, findings = scores.joined(accelerator), task.findings
    task.remark = remark_on(
        total.confusion.counts.cpu(), WeightsInfo(class_names=task.notes.get("classes")).class_names
    )
    if findings is not None:
        findings.join(accelerator)
        counts = total.confusion.counts.cpu()
        findings.confusion, findings.counts = counts, counts.sum(1).tolist()
        accuracy = counts.diagonal().double() / counts.sum(1)
        findings.classes = {"iou": total.confusion.iou().tolist(), "accuracy": accuracy.tolist()}
    return total.compute()


def remark_on(counts: Tensor, names: Mapping[int, str] | None) -> str:
    """Say which classes a measure says nothing about; empty where there is nothing to say.

    Args:
        counts: pixels or points by true (rows) and predicted class, shape (C, C).
        names: of the classes; None for their numbers.
    """
    there = counts.sum(1) > 0
    missing = [(names or {}).get(number, str(number)) for number in torch.nonzero(~there).flatten().tolist()]
    if not int(there.sum()):
        return "nothing was measured: every true class is ignored"
    if int(there.sum()) == 1:
        (only,) = torch.nonzero(there).flatten().tolist()
        return f"{(names or {}).get(only, str(only))} is the only class that the data has: a constant answer is right"
    return f"no true class is {listing(missing, 5)}: not measured" if missing else ""


def find_item(
    findings: Findings,
    row: int,
    classes: Tensor,
    target: Tensor,
    num_classes: int,
    draw: Callable[[], Panels] | None = None,
) -> None:
    """Take in the mean IoU and the accuracy of one image or set.

    Args:
        findings: take it in.
        row: of the batch.
        classes: predicted, any shape, int64.
        target: true classes, the same shape.
        num_classes: number of classes.
        draw: see `Findings.add`.
    """
    if not bool((target != IGNORE).any()):
        findings.add(row, 0.0, mean_iou=math.nan, accuracy=math.nan)  # nothing counts in it
        return
    own = Confusion(num_classes, IGNORE).to(classes.device)
    own.update(classes, target)
    found = own.compute()
    findings.add(row, 1 - found["mean_iou"], draw, mean_iou=found["mean_iou"], accuracy=found["pixel_accuracy"])


def mask_panels(image: Tensor, mask: Tensor, classes: Tensor, num_classes: int) -> Panels:
    """Return an image, its true classes and the predicted ones, laid over it.

    Args:
        image: as the network reads it, shape (3, h, w).
        mask: true classes, shape (H, W); black where they are ignored.
        classes: predicted classes, shape (H, W).
        num_classes: number of classes.
    """
    step = max(1, max(mask.shape) // MOST_PIXELS)
    true, guess = mask[::step, ::step].cpu(), classes[::step, ::step].cpu()
    small = interpolate(image[None].float().cpu(), true.shape, mode="bilinear", antialias=True)[0]
    picture = picture_of(small)
    drawn = [draw_classes(picture.float() / 255, one.clamp(min=0), num_classes) for one in (true, guess)]
    drawn[0][:, true == IGNORE] = 0
    panels = zip(("image", "true classes", "predicted classes"), (picture, *drawn), strict=True)
    return [Panel(title=title, pixels=pixels) for title, pixels in panels]


def point_panels(pos: Tensor, target: Tensor, classes: Tensor, num_classes: int) -> Panels:
    """Return points in the colors of their true and of their predicted classes.

    Args:
        pos: shape (N, D).
        target: true classes, shape (N,); black where they are ignored.
        classes: predicted classes, shape (N,).
        num_classes: number of classes.
    """
    rows = torch.linspace(0, len(pos) - 1, min(len(pos), MOST_POINTS)).long()
    pos, target, classes = (each.cpu()[rows] for each in (pos, target, classes))
    table = class_colors(num_classes).float() / 255
    true = table[target.clamp(min=0)]
    true[target == IGNORE] = 0
    return [
        Panel(title="true classes", pos=pos, colors=true),
        Panel(title="predicted classes", pos=pos, colors=table[classes]),
    ]


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
