"""Models of segmentation asked about files: classes of pixels and of points."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pointcoc.checks import check_count, import_extra
from pointcoc.data.cloud_writers import write_cloud
from pointcoc.data.mask_transforms import PlainMask
from pointcoc.predict import Prediction, draw_classes
from pointcoc.predict.images import write_mask, write_picture
from pointcoc.segmentation.inference import sliding_logits
from pointcoc.segmentation.label_cloud import Progress, label_cloud


@dataclass(frozen=True, kw_only=True)
class PixelPrediction(Prediction):
    """Classes of pixels that a Semantic FPN finds, as masks of numbers and drawn.

    Args:
        window: side of sliding windows, in pixels; None reads images at once.

    Raises:
        ValueError: if the window is below 1.
    """

    window: int | None = None

    def __post_init__(self) -> None:
        if self.window is not None:
            check_count("window", self.window)

    def write(self, files: Sequence[Path], out: Path) -> None:
        """Write NAME.png, numbers of classes, and NAME.drawn.png for each image."""
        notes = self.info.notes
        for file in files:
            image = self.read_image(file)
            classes = find_classes(self.model, image, int(notes.get("short_side", 0)), self.window)
            write_mask(out / f"{file.stem}.png", classes + int(notes.get("first_class", 0)))
            write_picture(out / f"{file.stem}.drawn.png", draw_classes(image, classes, self.model.num_classes))


@dataclass(frozen=True, kw_only=True)
class PointPrediction(Prediction):
    """Classes of points that a `PointSegmenter` finds, as PLY with colors.

    Args:
        category: name of the kind of object; of part segmentation only, and needed there.
        columns: names of the columns of clouds in text or arrays, see `pointcoc.data.read_cloud`.
        decimal: decimal mark of clouds in text.

    Raises:
        ValueError: if the category is missing, unknown, or not asked for.
    """

    category: str | None = None
    columns: Sequence[str] | None = None
    decimal: str = "."

    def __post_init__(self) -> None:
        num, known = self.model.config.num_categories, list(self.info.notes.get("categories") or ())
        if num is None and self.category is not None:
            raise ValueError("category must be left out: the model is told none")
        if num is not None and self.category not in known:
            raise ValueError(
                f"category must be the kind of the objects, got {self.category!r}; choose from {', '.join(known)}"
            )

    def write(self, files: Sequence[Path], out: Path) -> None:
        """Write NAME.las, NAME.laz or NAME.ply for each cloud, see `pointcoc.data.write_cloud`."""
        notes = self.info.notes
        number = None if self.category is None else list(notes["categories"]).index(self.category)
        for file in files:
            start = time.perf_counter()
            with _bar(file) as bar:
                found = label_cloud(
                    self.model, file, number, notes.get("parts"), self.columns, self.decimal, _shown_on(bar)
                )
            codes = notes.get("codes")
            written = write_cloud(out / file.stem, found, self.model.config.num_classes, codes)
            passes = f" in {bar.total} passes" if bar.total else ""
            print(f"{file}: {len(found.pos):,} points{passes}, {time.perf_counter() - start:.1f} s, {written}")


def _bar(file: Path) -> Any:
    """Make the bar of a file, which appears where people watch."""
    return import_extra("tqdm", "train", "this command needs").tqdm(desc=file.name, unit="pass", disable=None)


def _shown_on(bar: Any) -> Progress:
    """Return what moves a bar."""

    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return show


def find_classes(model: nn.Module, image: Tensor, short_side: int, window: int | None) -> Tensor:
    """Return the class of each pixel of an image (3, H, W) in [0, 1], at its own size, shape (H, W).

    Args:
        model: a Semantic FPN.
        image: on the device of the model.
        short_side: short side that the network reads; 0 for the size as it is.
        window: side of sliding windows; None reads the image at once.
    """
    small, _ = PlainMask(short_side)(image, image[0])
    with torch.no_grad():
        logits = model(small[None]) if window is None else sliding_logits(model, small, window)[None]
    return F.interpolate(logits, image.shape[1:], mode="bilinear", align_corners=False)[0].argmax(0)
