"""What a measure finds out besides its scores: how each item did, confusions of classes, the worst items."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

SPOKEN = {"iou": "IoU", "ap": "AP", "ap50": "AP50", "ap75": "AP75", "f1": "F1"}
MOST_KEPT = 12
"""Items whose predictions are kept to be drawn."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Panel:
    """One picture of an item: pixels, or colored points.

    Args:
        title: short text above it; may be empty.
        pixels: shape (3, H, W), uint8; None for points.
        pos: positions of points, shape (N, D), D at least 2; None for pixels.
        colors: of the points or boxes, shape (N, 3), in [0, 1]; None for one color.
        boxes: x1, y1, x2, y2 in pixels of the image, shape (n, 4), to be drawn over the file of the item; None for
            none.
        words: a text for each box.
        size: height and width of that image.
    """

    title: str = ""
    pixels: Tensor | None = None
    pos: Tensor | None = None
    colors: Tensor | None = None
    boxes: Tensor | None = None
    words: Sequence[str] = ()
    size: tuple[int, int] = (1, 1)


Panels = Sequence[Panel]


@dataclass(frozen=True, kw_only=True)
class ItemFinding:
    """How an item did.

    Args:
        index: number of the item in the data set of the loader.
        badness: the higher the worse: the loss, or one minus a score.
        facts: what else is known, by the names of columns: numbers, or words.
    """

    index: int
    badness: float
    facts: Mapping[str, Any] = field(default_factory=dict)


class Findings:
    """Collects what a measure finds out, in the order of its batches, on each process.

    Attributes:
        items: how each item did; of all processes after `join`.
        confusion: items, pixels or points by true (rows) and predicted class, shape (num_classes, num_classes), int64;
            None where the task has none.
        classes: scores of each class by the name of the score, such as "accuracy"; NaN where there is none.
        counts: items, pixels, points or objects of each class; None where the task does not know.
        names: names of the rows of `classes`, where they are not the classes of the task.
        kept: pictures of the worst items, by their numbers.
    """

    def __init__(self) -> None:
        self.items: list[ItemFinding] = []
        self.confusion: Tensor | None = None
        self.classes: dict[str, list[float]] = {}
        self.counts: list[int] | None = None
        self.names: list[str] | None = None
        self.kept: dict[int, Panels] = {}
        self._heap: list[tuple[float, int]] = []
        self._batch: Sequence[int] = ()
        self._stream = 0

    def begin(self, indices: Sequence[int], num_items: int) -> None:
        """Take in which items the next batch holds.

        Args:
            indices: their numbers; empty for a stream, whose items are numbered as they come.
            num_items: their number.
        """
        self._batch = indices or range(self._stream, self._stream + num_items)
        self._stream += num_items

    def add(self, row: int, badness: float, draw: Callable[[], Panels] | None = None, **facts: Any) -> None:
        """Take in an item of the batch.

        Args:
            row: its row in the batch.
            badness: see `ItemFinding`.
            draw: returns pictures of the item; called for those that are among the worst so far.
            **facts: see `ItemFinding`.
        """
        self.add_item(self.index(row), badness, draw, **facts)

    def index(self, row: int) -> int:
        """Return the number of an item of the batch."""
        return self._batch[row]

    def add_item(self, index: int, badness: float, draw: Callable[[], Panels] | None = None, **facts: Any) -> None:
        """Take in an item of any batch.

        Args:
            index: its number.
            badness: see `ItemFinding`.
            draw: see `add`.
            **facts: see `ItemFinding`.
        """
        self.items.append(ItemFinding(index=index, badness=badness, facts=facts))
        if draw is None or badness <= 0 or (len(self._heap) == MOST_KEPT and badness <= self._heap[0][0]):
            return
        if not (panels := draw()):
            return
        heapq.heappush(self._heap, (badness, index))
        self.kept[index] = panels
        if len(self._heap) > MOST_KEPT:
            del self.kept[heapq.heappop(self._heap)[1]]

    def join(self, accelerator: Accelerator) -> None:
        """Join the items of all processes, in the order of their numbers."""
        if accelerator.num_processes > 1:
            self.items = gather_object(self.items)
            kept = gather_object([self.kept])
            self.kept = {index: one for part in kept for index, one in part.items()}
        self.items = sorted(self.items, key=lambda one: one.index)

    def worst(self, count: int) -> list[ItemFinding]:
        """Return the worst items, the worst first; those that are as good as can be are none."""
        bad = [one for one in self.items if one.badness > 0]
        return sorted(bad, key=lambda one: (-one.badness, one.index))[:count]

    def confused(self, count: int) -> list[tuple[int, int, int]]:
        """Return the classes that were most often taken for others: true class, predicted class, how often."""
        if self.confusion is None:
            return []
        wrong = self.confusion.clone().fill_diagonal_(0)
        found = torch.nonzero(wrong)
        pairs = [(*pair, int(wrong[tuple(pair)])) for pair in found.tolist()]
        return sorted(pairs, key=lambda pair: (-pair[2], pair))[:count]


def spoken(name: str) -> str:
    """Return the name of a score as it is written in a table: "mean_iou" as "mean IoU"."""
    return " ".join(SPOKEN.get(word, word) for word in name.split("_"))


def picture_of(image: Tensor) -> Tensor:
    """Return what a network reads of an image as a picture: stretched from its darkest to its brightest value.

    Args:
        image: shape (C, H, W); of other than three channels, the first is shown in gray.

    Returns:
        Shape (3, H, W), uint8, on the CPU.
    """
    shown = image.detach().float().cpu()
    shown = shown if len(shown) == 3 else shown[:1].expand(3, -1, -1)
    low, high = shown.amin(), shown.amax()
    return ((shown - low) / (high - low).clamp(min=1e-12) * 255).round().to(torch.uint8)


def confusion_of(true: Tensor, guess: Tensor, num_classes: int) -> Tensor:
    """Count pairs of classes, shape (num_classes, num_classes), int64: true in rows.

    Args:
        true: classes (N,), int64.
        guess: classes (N,), int64.
        num_classes: number of classes.
    """
    return torch.bincount(true * num_classes + guess, minlength=num_classes**2).view(num_classes, num_classes)
