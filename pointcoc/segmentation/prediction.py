"""Models of segmentation asked about files: classes of pixels and of points."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pointcoc.checks import check_count
from pointcoc.data.mask_transforms import PlainMask
from pointcoc.data.scenes import scene_features
from pointcoc.data.unit_ball import to_unit_ball
from pointcoc.pointset import PointSet
from pointcoc.predict import Labeled, Prediction, draw_classes, read_points, write_ply
from pointcoc.predict.images import write_mask, write_picture
from pointcoc.segmentation.inference import sliding_logits
from pointcoc.segmentation.part_scores import choose_parts


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

    Raises:
        ValueError: if the category is missing, unknown, or not asked for.
    """

    category: str | None = None

    def __post_init__(self) -> None:
        num, known = self.model.config.num_categories, list(self.info.notes.get("categories") or ())
        if num is None and self.category is not None:
            raise ValueError("category must be left out: the model is told none")
        if num is not None and self.category not in known:
            raise ValueError(
                f"category must be the kind of the objects, got {self.category!r}; choose from {', '.join(known)}"
            )

    def write(self, files: Sequence[Path], out: Path) -> None:
        """Write NAME.ply for each cloud."""
        notes = self.info.notes
        number = None if self.category is None else list(notes["categories"]).index(self.category)
        for file in files:
            cloud = label_cloud(self.model, file, number, notes.get("parts"))
            write_ply(out / f"{file.stem}.ply", cloud, self.model.config.num_classes)


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


def label_cloud(
    model: Any, path: str | Path, category: int | None = None, parts: Sequence[Sequence[int]] | None = None
) -> Labeled:
    """Classify the points of a file.

    Objects (a network with farthest points) are moved to the middle of their box and scaled to the unit ball; scenes
    (a network with voxels) stay in meters, and get positions and colors as `SceneFolder` gives them.

    Args:
        model: a `PointSegmenter` in evaluation mode.
        path: a cloud file (see `read_points`).
        category: kind of the object, for a model that is told it.
        parts: classes that are parts of each category, of which the category's are allowed.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read, or holds no colors that the model needs.
    """
    table = read_points(path)
    like = next(model.parameters())
    points = _points(model, table, Path(path)).to(like.device)
    kind = None if category is None else torch.tensor([category], device=like.device)
    with torch.no_grad():
        logits = model(points, kind)
    is_chosen = kind is not None and parts is not None
    classes = choose_parts(logits, kind, points.ptr, parts) if is_chosen else logits.argmax(1)  # type: ignore
    return Labeled(torch.from_numpy(table[:, :3].copy()), classes.cpu())


def _points(model: Any, table: np.ndarray, path: Path) -> PointSet:
    config = model.net.config
    pos, colors = torch.from_numpy(table[:, :3].copy()), torch.from_numpy(table[:, 3:6].copy())
    if config.in_channels not in (3, 6):
        raise ValueError(f"clouds have 3 features a point, 6 with colors, but the model reads {config.in_channels}")
    if config.in_channels == 6 and table.shape[1] < 6:
        raise ValueError(f"{path} must hold colors, x y z r g b a point, for this model reads 6 features")
    if config.anchors == "voxel":
        pos, x = scene_features(pos, colors)
    else:
        pos = to_unit_ball(pos)
        x = torch.cat([pos, colors / 255 - 0.5], 1)
    return PointSet(x[:, : config.in_channels].float(), pos.float(), torch.tensor([0, len(pos)]))
