"""Models of segmentation asked about files: classes of pixels and of points."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pointcoc.checks import check_count, import_extra
from pointcoc.data.cloud_writers import Labeled, write_cloud, written_ending
from pointcoc.data.image_files import read_image
from pointcoc.data.mask_transforms import PlainMask
from pointcoc.outputs import OutFolder
from pointcoc.predict import Input, Prediction, draw_classes
from pointcoc.predict.base import Write
from pointcoc.predict.images import write_mask, write_picture
from pointcoc.segmentation.inference import sliding_logits
from pointcoc.segmentation.label_cloud import Progress, label_cloud


@dataclass(frozen=True, eq=False, kw_only=True)
class PixelClasses:
    """What a segmenter says about an image.

    Args:
        path: the file.
        classes: number of the class of each pixel, shape (H, W), int64, on the CPU.
        names: name of each class by its number; the number itself where the weights state no names.
    """

    path: Path
    classes: Tensor
    names: tuple[str, ...]

    @property
    def shares(self) -> dict[str, float]:
        """Share of the pixels of each class that the image shows, by its name, the largest first."""
        counts = torch.bincount(self.classes.flatten(), minlength=len(self.names))
        order = counts.argsort(descending=True, stable=True).tolist()
        return {self.names[number]: int(counts[number]) / self.classes.numel() for number in order if counts[number]}


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

    def answer(self, file: Path) -> PixelClasses:
        """Classify the pixels of an image; see `Prediction.answer`."""
        short_side, stated = int(self.info.notes.get("short_side", 0)), self.info.class_names or {}
        classes = find_classes(self.model, self.read_image(file), short_side, self.window)
        names = tuple(stated.get(number, str(number)) for number in range(self.model.num_classes))
        return PixelClasses(path=file, classes=classes.cpu(), names=names)

    def outputs(self, one: Input) -> tuple[str, ...]:
        """Return NAME.png, numbers of classes, and NAME.drawn.png."""
        return (f"{one.name}.png", f"{one.name}.drawn.png")

    @contextmanager
    def writing(self, out: OutFolder | None, shown: bool = False) -> Iterator[Write]:
        """Write NAME.png, numbers of classes, and NAME.drawn.png for each image."""
        assert out is not None
        first_class = int(self.info.notes.get("first_class", 0))

        def write(one: Input, found: PixelClasses) -> None:
            mask, drawn = self.outputs(one)
            with out.file(mask) as path:
                write_mask(path, found.classes + first_class)
            with out.file(drawn) as path:
                write_picture(path, draw_classes(read_image(one.path), found.classes, self.model.num_classes))

        yield write


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

    @property
    def reads_clouds(self) -> bool:
        """Whether inputs are clouds, not images."""
        return True

    def answer(self, file: Path) -> Labeled:
        """Classify the points of a cloud; see `Prediction.answer`."""
        notes = self.info.notes
        number = None if self.category is None else list(notes["categories"]).index(self.category)
        with _bar(file) as bar:
            return label_cloud(self.model, file, number, notes.get("parts"), self.columns, self.decimal, _shown_on(bar))

    def outputs(self, one: Input) -> tuple[str, ...]:
        """Return NAME.las, NAME.laz or NAME.ply."""
        return (f"{one.name}{written_ending(one.path)}",)

    @contextmanager
    def writing(self, out: OutFolder | None, shown: bool = False) -> Iterator[Write]:
        """Write NAME.las, NAME.laz or NAME.ply for each cloud, see `pointcoc.data.write_cloud`."""
        assert out is not None
        start = time.perf_counter()

        def write(one: Input, found: Labeled) -> str:
            nonlocal start
            (name,) = self.outputs(one)
            out.check([name])
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            written = write_cloud(out / one.name, found, self.model.config.num_classes, self.info.notes.get("codes"))
            out.note(name)
            seconds, start = time.perf_counter() - start, time.perf_counter()
            return f"{one.path}: {len(found.pos):,} points, {seconds:.1f} s, {written}"

        yield write


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
        logits = model(small[None])[0] if window is None else sliding_logits(model, small, window)
    return enlarged_classes(logits, (image.shape[1], image.shape[2]))


def enlarged_classes(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the likeliest class of each pixel after bilinear enlargement, without all logits at that size.

    Args:
        logits: shape (num_classes, h, w).
        size: height and width of the result.

    Returns:
        Shape (height, width), int64: the argmax of the enlarged logits, the first of equal ones.
    """
    best, classes = None, torch.zeros(size, dtype=torch.int64, device=logits.device)
    for number, one in enumerate(logits):
        score = F.interpolate(one[None, None], size, mode="bilinear", align_corners=False)[0, 0]
        if best is None:
            best = score
            continue
        is_better = score > best
        best = torch.where(is_better, score, best)
        classes[is_better] = number
    return classes
