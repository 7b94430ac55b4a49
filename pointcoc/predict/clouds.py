"""Classes of the points of a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from pointcoc.data.cloud_files import Labeled, read_points
from pointcoc.data.scenes import scene_features
from pointcoc.data.unit_ball import to_unit_ball
from pointcoc.pointset import PointSet
from pointcoc.segmentation import PointSegmenter, choose_parts


def label_cloud(
    model: PointSegmenter, path: str | Path, category: int | None = None, parts: Sequence[Sequence[int]] | None = None
) -> Labeled:
    """Classify the points of a file.

    Objects (a network with farthest points) are moved to the middle of their box and scaled to the unit ball; scenes
    (a network with voxels) stay in meters, and get positions and colors as `SceneFolder` gives them.

    Args:
        model: in evaluation mode.
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


def _points(model: PointSegmenter, table: np.ndarray, path: Path) -> PointSet:
    config = model.net.config
    pos = torch.from_numpy(table[:, :3].copy())
    if config.in_channels not in (3, 6):
        raise ValueError(f"clouds have 3 features a point, 6 with colors, but the model reads {config.in_channels}")
    if config.in_channels == 6 and table.shape[1] < 6:
        raise ValueError(f"{path} must hold colors, x y z r g b a point, for this model reads 6 features")
    if config.anchors == "voxel":
        pos, x = scene_features(pos, torch.from_numpy(table[:, 3:6].copy()))
        x = x[:, : config.in_channels]
    else:
        pos = to_unit_ball(pos)
        x = torch.cat([pos, torch.from_numpy(table[:, 3:6].copy()) / 255 - 0.5], 1)[:, : config.in_channels]
    return PointSet(x.float(), pos.float(), torch.tensor([0, len(pos)]))
