"""The class of each point of a cloud in a file: parts of objects, things in scenes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from pointcoc.checks import InputWarning
from pointcoc.data.cloud import STORED, Cloud
from pointcoc.data.cloud_writers import Labeled
from pointcoc.data.prepare import (
    check_features,
    network_input,
    place,
    point_set,
    read_for_network,
    replace_pos,
    say_remarks,
    stack_features,
    take_rows,
    transform_of,
)
from pointcoc.data.scene_features import median_spacing
from pointcoc.data.scene_input import SceneInput
from pointcoc.data.scenes import scene_features
from pointcoc.models.weights import CloudTransform, WeightsInfo
from pointcoc.pointset import PointSet
from pointcoc.segmentation.scene_views import scene_scores

Progress = Callable[[int, int], None]
"""Called after each pass of the network with the number of passes that are done, and of all."""
OTHER_SPACING = 4.0
"""Ratio of the distances between points, to those of the training, from which on the units are doubted."""


def label_cloud(
    model: Any,
    path: str | Path,
    category: int | None = None,
    parts: Sequence[Sequence[int]] | None = None,
    columns: Sequence[str] | None = None,
    decimal: str = ".",
    progress: Progress | None = None,
) -> Labeled:
    """Classify the points of a file.

    The cloud is prepared as noted with the weights. Scenes are read in overlapping views of the size of training, whose
    scores are averaged; of objects with more points than the network was trained on at once, disjoint random parts of
    that size are classified one after the other. So every point is answered, at the density of the training, and
    memory does not grow with the network. Weights without a note: objects (a network with farthest points) are moved to
    the middle of their box and scaled to the unit ball; scenes (a network with voxels) stay in meters, and get
    positions and colors as `SceneFolder` once gave them.

    Args:
        model: a `PointSegmenter` in evaluation mode.
        path: a cloud file (see `pointcoc.data.read_cloud`).
        category: kind of the object, for a model that is told it.
        parts: classes that are parts of each category, of which the category's are allowed.
        columns: names of the columns of text and arrays, see `read_cloud`.
        decimal: decimal mark of text.
        progress: see `Progress`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read, or lacks a feature that the model reads.
    """
    transform = _transform(model)
    cloud = read_for_network(path, transform, columns, decimal)
    say_remarks(cloud)
    scores = _scores(model, cloud, transform, category, progress)
    if category is not None and parts is not None:
        is_other = torch.ones(scores.shape[1], dtype=torch.bool)
        is_other[list(parts[category])] = False
        scores = scores.masked_fill(is_other, -1)
    best, classes = scores.max(1)
    return Labeled(cloud.pos, classes, best, cloud)


def _transform(model: Any) -> CloudTransform:
    """Return the transform of a model, noted or assumed."""
    config = model.net.config
    if _is_old_scene(model):
        return transform_of(
            model, CloudTransform(features=("position", "color") if config.in_channels == 6 else ("position",))
        )
    return transform_of(model)


def _is_old_scene(model: Any) -> bool:
    noted = getattr(model, "weights_info", WeightsInfo()).transform
    return not isinstance(noted, CloudTransform) and model.net.config.anchors == "voxel"


def _scores(
    model: Any, cloud: Cloud, transform: CloudTransform, category: int | None, progress: Progress | None
) -> Tensor:
    """Return the probability of each class for all points, float32 on the CPU, shape (N, num_classes)."""
    check_features(cloud.to_data(), [name for name in transform.features if name in STORED], str(cloud.path))
    if _is_old_scene(model):
        return _run(model, _old_scene(model, cloud), category)
    if transform.view_points is not None:
        _check_spacing(cloud, transform)
        inputs = SceneInput(transform)
        return scene_scores(model, inputs.describe(cloud), inputs, progress)[0]
    chunks = _chunks(len(cloud), transform.num_points)
    if len(chunks) == 1:
        return _run(model, network_input(cloud, model, transform), category)
    whole = replace_pos(cloud.to_data(), place(cloud.pos, transform))
    scores = torch.empty(len(cloud), model.config.num_classes)
    for number, rows in enumerate(chunks, 1):
        part = stack_features(take_rows(whole, rows), transform.features)
        scores[rows] = _run(model, point_set(part, model), category)
        if progress is not None:
            progress(number, len(chunks))
    return scores


def _check_spacing(cloud: Cloud, transform: CloudTransform) -> None:
    """Warn where points are so much denser or sparser than in training that the units must be others."""
    if transform.spacing is None or len(cloud) < 2 or not (cloud.pos.amax(0) > cloud.pos.amin(0)).any():
        return
    spacing = median_spacing(cloud.pos)
    ratio = spacing / transform.spacing
    if not 1 / OTHER_SPACING < ratio < OTHER_SPACING:
        warnings.warn(
            f"points of {cloud.path or 'the cloud'} are {spacing:.3g} apart, and the network was trained on points "
            f"{transform.spacing:.3g} apart: is it in other units?",
            InputWarning,
            stacklevel=2,
        )


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
        return model(points, kind).float().softmax(1).cpu()


def _old_scene(model: Any, cloud: Cloud) -> PointSet:
    """Return a scene as recipes made it before they noted what they do to clouds."""
    color = cloud.features.get("color", torch.zeros(len(cloud), 3))
    pos, x = scene_features(cloud.pos, 255 * color)
    return point_set(Data(x=x[:, : model.net.config.in_channels], pos=pos), model)
