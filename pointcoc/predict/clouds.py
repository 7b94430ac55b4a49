"""Clouds with the class of each point, written as PLY with colors."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from pointcoc.files import first_line
from pointcoc.predict.colors import class_colors
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
        raise ValueError(f"{path} cannot be read as a cloud: {first_line(error)}") from error
    if table.ndim != 2 or not len(table) or table.shape[1] < 3:
        raise ValueError(f"{path} must hold at least one point, a row of at least 3 numbers each, got {table.shape}")
    table = table[:, : 6 if table.shape[1] >= 6 else 3]
    bad = ~np.isfinite(table).all(1)
    if bad.any():
        raise ValueError(f"{path} must hold finite numbers, row {bad.argmax()} is {table[bad.argmax()].tolist()}")
    return table


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
