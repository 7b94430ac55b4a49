"""Models of segmentation asked about files: classes of pixels and of points."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import Data

from pointcoc.checks import check_count
from pointcoc.data.cloud import Cloud
from pointcoc.data.cloud_files import read_cloud
from pointcoc.data.cloud_writers import Labeled, write_cloud
from pointcoc.data.mask_transforms import PlainMask
from pointcoc.data.prepare import (
    check_features,
    network_input,
    place,
    point_set,
    replace_pos,
    stack_features,
    take_rows,
    transform_of,
)
from pointcoc.data.scenes import scene_features
from pointcoc.models.weights import CloudTransform
from pointcoc.pointset import PointSet
from pointcoc.predict import Prediction, draw_classes
from pointcoc.predict.images import write_mask, write_picture
from pointcoc.segmentation.inference import sliding_logits


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
            found = label_cloud(self.model, file, number, notes.get("parts"), self.columns, self.decimal)
            write_cloud(out / file.stem, found, self.model.config.num_classes, notes.get("codes"))


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
    model: Any,
    path: str | Path,
    category: int | None = None,
    parts: Sequence[Sequence[int]] | None = None,
    columns: Sequence[str] | None = None,
    decimal: str = ".",
) -> Labeled:
    """Classify the points of a file.

    The cloud is prepared as noted with the weights (see `pointcoc.data.PrepareCloud`). Of more points than the network
    was trained on at once, disjoint random parts of that size are classified one after the other, so that every point
    is answered at the density of the training. Weights without a note: objects (a network with farthest points) are
    moved to the middle of their box and scaled to the unit ball; scenes (a network with voxels) stay in meters, and get
    positions and colors as `SceneFolder` gives them.

    Args:
        model: a `PointSegmenter` in evaluation mode.
        path: a cloud file (see `pointcoc.data.read_cloud`).
        category: kind of the object, for a model that is told it.
        parts: classes that are parts of each category, of which the category's are allowed.
        columns: names of the columns of text and arrays, see `read_cloud`.
        decimal: decimal mark of text.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read, or lacks a feature that the model reads.
    """
    cloud = read_cloud(path, columns=columns, decimal=decimal)
    logits = _logits(model, cloud, category)
    if category is not None and parts is not None:
        logits = logits.index_fill(1, torch.tensor(others(parts[category], logits.shape[1])), -torch.inf)
    scores, classes = logits.softmax(1).max(1)
    return Labeled(cloud.pos, classes, scores, cloud)


def others(kept: Sequence[int], count: int) -> list[int]:
    """Return the numbers below `count` that are not among those that are kept."""
    return [number for number in range(count) if number not in set(kept)]


def _logits(model: Any, cloud: Cloud, category: int | None) -> Tensor:
    """Return the logits of all points, float32 on the CPU, shape (N, num_classes)."""
    is_noted = isinstance(model.weights_info.transform, CloudTransform) if hasattr(model, "weights_info") else False
    if not is_noted and model.net.config.anchors == "voxel":
        return _run(model, _old_scene(model, cloud), category)
    transform = transform_of(model)
    chunks = _chunks(len(cloud), transform.num_points)
    if len(chunks) == 1:
        return _run(model, network_input(cloud, model, transform), category)
    check_features(cloud.to_data(), transform.features, str(cloud.path or "the cloud"))
    whole = replace_pos(cloud.to_data(), place(cloud.pos, transform))
    logits = torch.empty(len(cloud), model.config.num_classes)
    for rows in chunks:
        part = stack_features(take_rows(whole, rows), transform.features)
        logits[rows] = _run(model, point_set(part, model), category)
    return logits


def _chunks(count: int, size: int | None) -> list[Tensor]:
    """Split rows at random, the same way each time, into parts of one size; the last one takes in rows of the first."""
    if size is None or count <= size:
        return [torch.arange(count)]
    order = torch.from_numpy(np.random.default_rng(0).permutation(count))
    missing = -count % size
    return list(torch.cat([order, order[:missing]]).split(size))


def _run(model: Any, points: PointSet, category: int | None) -> Tensor:
    kind = None if category is None else torch.tensor([category], device=points.x.device)
    with torch.no_grad():
        return model(points, kind).float().cpu()


def _old_scene(model: Any, cloud: Cloud) -> PointSet:
    """Return a scene as recipes made it before they noted what they do to clouds."""
    assumed = CloudTransform(features=("position", "color") if model.net.config.in_channels == 6 else ("position",))
    transform_of(model, assumed)  # says so
    check_features(cloud.to_data(), assumed.features, str(cloud.path or "the cloud"))
    color = cloud.features.get("color", torch.zeros(len(cloud), 3))
    pos, x = scene_features(cloud.pos, 255 * color)
    return point_set(Data(x=x[:, : model.net.config.in_channels], pos=pos), model)
