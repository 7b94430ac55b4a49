"""Clouds with the class of each point, written as PLY with colors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pointcoc.data.scenes import scene_features
from pointcoc.pointset import PointSet
from pointcoc.predict.colors import class_colors
from pointcoc.segmentation import PointSegmenter, choose_parts
from pointcoc.viz.cloud_files import CLOUD_READERS


@dataclass(frozen=True, eq=False)
class Labeled:
    """A cloud with classes.

    Args:
        pos: coordinates as they were read, shape (N, 3), float64.
        classes: shape (N,), int64.
    """

    pos: Tensor
    classes: Tensor


def read_points(path: str | Path) -> np.ndarray:
    """Read all points of a cloud file, shape (N, 3) or, with colors 0 to 255, (N, 6), float64.

    .npy, .npz, .h5 and text hold a row `x y z` or `x y z r g b` a point, further columns are left out; of .h5
    the first cloud is read; .ply may have red, green and blue.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged or no cloud, or holds no points or numbers that are not finite; the message names
            file and row.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file")
    reader = CLOUD_READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"{path} is no cloud by its name; a cloud ends with {', '.join(CLOUD_READERS)}")
    try:
        table = np.asarray(reader(path), dtype=np.float64)
    except (OSError, ValueError, KeyError, EOFError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be read as a cloud: {str(error).splitlines()[0]}") from error
    if table.ndim != 2 or not len(table) or table.shape[1] < 3:
        raise ValueError(f"{path} must hold at least one point, a row of at least 3 numbers each, got {table.shape}")
    table = table[:, : 6 if table.shape[1] >= 6 else 3]
    bad = ~np.isfinite(table).all(1)
    if bad.any():
        raise ValueError(f"{path} must hold finite numbers, row {bad.argmax()} is {table[bad.argmax()].tolist()}")
    return table


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


def write_ply(path: str | Path, cloud: Labeled, num_classes: int) -> None:
    """Write a binary PLY file: x, y, z, red, green, blue of the class, and `label`, the class itself.

    Args:
        path: file to write.
        cloud: points and classes.
        num_classes: number of classes.
    """
    names = [("x", "<f8"), ("y", "<f8"), ("z", "<f8"), ("red", "u1"), ("green", "u1"), ("blue", "u1"), ("label", "<i4")]
    table = np.empty(len(cloud.pos), dtype=names)
    colors = class_colors(num_classes)[cloud.classes]
    for column, axis in enumerate("xyz"):
        table[axis] = cloud.pos[:, column]
        table[names[3 + column][0]] = colors[:, column]
    table["label"] = cloud.classes
    kinds = {"<f8": "double", "u1": "uchar", "<i4": "int"}
    properties = "".join(f"property {kinds[kind]} {name}\n" for name, kind in names)
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(table)}\n{properties}end_header\n"
    Path(path).write_bytes(head.encode() + table.tobytes())


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
        pos = pos - (pos.amin(0) + pos.amax(0)) / 2
        pos = pos / pos.norm(dim=1).max().clamp(min=1e-12)
        x = torch.cat([pos, torch.from_numpy(table[:, 3:6].copy()) / 255 - 0.5], 1)[:, : config.in_channels]
    return PointSet(x.float(), pos.float(), torch.tensor([0, len(pos)]))
