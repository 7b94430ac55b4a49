"""Clouds with the part of each point in the HDF5 layout of ShapeNetPart, as published by the authors of PointNet.

A folder holds `all_object_categories.txt` (name and key of each category, one a line, category 0 first),
`object2setofoids.json` (key of a category: classes of its parts), `train_hdf5_file_list.txt` and those of `val` and
`test` (names of HDF5 files, one a line), and the files, each with `data` (N, P, 3), `label` (N, 1) and `pid` (N, P).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_geometric.data import Data

from pointcoc.checks import check_choice, check_count, check_folder
from pointcoc.data.collate import collate_sets
from pointcoc.pointset import PointSet

CATEGORIES, PARTS_FILE = "all_object_categories.txt", "object2setofoids.json"
TEXT_CATEGORIES = "synsetoffset2category.txt"
SPLITS = ("train", "val", "test")
NEEDED = ("data", "label", "pid")


class HDF5Parts(Dataset):
    """A split of a ShapeNetPart folder, held in memory: item i has `pos` (P, 3), `y` (P,) parts and `category` (1,).

    Args:
        folder: the folder with the files.
        split: "train", "val", "test", or "trainval" for the first two, as the published numbers train on.
        num_points: P, the first points of each stored cloud; None takes all.
        transform: a torch_geometric transform of an item.

    Attributes:
        categories: names of the categories.
        parts: classes of the parts of each category.
        num_classes: number of classes of all parts.

    Raises:
        FileNotFoundError: if the folder or a file is missing.
        ValueError: if a file is damaged or holds other datasets, shapes, categories, parts or coordinates than allowed;
            the message names file and row.
    """

    def __init__(
        self,
        folder: str | Path,
        split: str = "trainval",
        num_points: int | None = None,
        transform: Callable[[Data], Data] | None = None,
    ) -> None:
        check_choice("split", split, (*SPLITS, "trainval"))
        if num_points is not None:
            check_count("num_points", num_points)
        root = check_folder("folder", folder)
        self.categories, self.parts = _read_categories(root)
        self.num_classes = 1 + max(max(one) for one in self.parts)
        files = [file for one in SPLITS if one in split for file in _listed(root, one)]
        tables = [_read(file, num_points, self.parts) for file in files]
        if len({table[0].shape[1] for table in tables}) > 1:
            raise ValueError(f"num_points must be given where files of {root} store clouds of different sizes")
        self.points, self.categories_of, self.labels = (
            torch.from_numpy(np.concatenate([table[column] for table in tables])) for column in range(3)
        )
        self.transform = transform

    def __len__(self) -> int:
        """Return the number of clouds."""
        return len(self.points)

    def __getitem__(self, index: int) -> Data:
        """Return a cloud with its parts and its category."""
        number = range(len(self))[index]
        category = self.categories_of[number : number + 1]
        data = Data(pos=self.points[number], y=self.labels[number], category=category)
        return data if self.transform is None else self.transform(data)


def collate_parts(items: Sequence[Data]) -> tuple[tuple[PointSet, Tensor], Tensor]:
    """Join clouds with parts into one batch: `DataLoader(dataset, collate_fn=collate_parts)`.

    Args:
        items: B clouds with `pos` (N_b, D), `y` (N_b,) and `category` (1,).

    Returns:
        What the network reads (all points, and the categories, int64 of shape (B,)), and the parts of the points, int64
        of shape (N,).

    Raises:
        ValueError: if there are no items, or an item does not hold what it should; the message holds the item.
    """
    points, categories = collate_sets([Data(x=one.x, pos=one.pos, y=one.category) for one in items])
    return (points, categories), point_labels(items)


def collate_points(items: Sequence[Data]) -> tuple[PointSet, Tensor]:
    """Join sets with a class for each point into one batch.

    Args:
        items: B sets with `pos` (N_b, D), `y` (N_b,) and, all or none, `x` (N_b, C).

    Returns:
        All points and their classes, int64 of shape (N,).

    Raises:
        ValueError: if there are no items, or an item does not hold what it should; the message holds the item.
    """
    points, _ = collate_sets([Data(x=one.x, pos=one.pos, y=0) for one in items])
    return points, point_labels(items)


def point_labels(items: Sequence[Data]) -> Tensor:
    """Join the classes `y` of the points of all items, int64; raises ValueError unless each point has one."""
    for number, item in enumerate(items):
        label = item.y
        if not isinstance(label, Tensor) or label.shape != (len(item.pos),) or label.is_floating_point():
            shape = f"{label.dtype} {tuple(label.shape)}" if isinstance(label, Tensor) else repr(label)
            raise ValueError(
                f"items must hold one integer `y` per point, shape ({len(item.pos)},), got {shape} in item {number}"
            )
    return torch.cat([item.y.long() for item in items])


def list_name(split: str) -> str:
    """Name of the file that lists the HDF5 files of a split."""
    return f"{split}_hdf5_file_list.txt"


def _read_categories(root: Path) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """Read names and parts of the categories."""
    for name in (CATEGORIES, PARTS_FILE):
        if not (root / name).is_file():
            is_text = (root / TEXT_CATEGORIES).is_file()
            advice = "; it holds text: pointcoc.data.convert_part_text writes HDF5 files of it" if is_text else ""
            raise FileNotFoundError(f"folder {root} must hold {name}, as the hdf5_data of ShapeNetPart does{advice}")
    lines = [line.split() for line in (root / CATEGORIES).read_text().splitlines() if line.strip()]
    wrong = [number for number, line in enumerate(lines, 1) if len(line) != 2]
    if wrong or not lines:
        raise ValueError(
            f"{root / CATEGORIES} must hold a name and a key in each line, line {(wrong or [1])[0]} does not"
        )
    try:
        parts: Any = json.loads((root / PARTS_FILE).read_text())
        table = tuple(tuple(int(part) for part in parts[key]) for _, key in lines)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{root / PARTS_FILE} must hold the parts of each category of {CATEGORIES} under its key, got "
            f"{type(error).__name__}: {error}"
        ) from error
    if not all(table) or min(map(min, table)) < 0:
        raise ValueError(f"{root / PARTS_FILE} must hold at least one part of each category, 0 or more, got {table}")
    return tuple(name for name, _ in lines), table


def _listed(root: Path, split: str) -> list[Path]:
    """Find the files of a split beside their list, by their base names."""
    listing = root / list_name(split)
    if not listing.is_file():
        raise FileNotFoundError(f"folder {root} must hold {listing.name}, the names of the HDF5 files of the split")
    files = [root / PurePosixPath(line.strip()).name for line in listing.read_text().splitlines() if line.strip()]
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        raise FileNotFoundError(f"{listing} must name HDF5 files beside it, got {', '.join(missing) or 'none'}")
    return files


def _read(
    path: Path, num_points: int | None, parts: Sequence[Sequence[int]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read points (N, P, 3) float32, categories (N,) and parts (N, P), int64."""
    try:
        with h5py.File(path, "r") as file:
            missing = [name for name in NEEDED if name not in file]
            if missing:
                raise ValueError(f"{path} must hold the datasets {', '.join(NEEDED)}; {missing[0]} is missing")
            points, label, part = (file[name][()] for name in NEEDED)
    except (OSError, RuntimeError, TypeError) as error:  # all three are what h5py raises on damaged files
        raise ValueError(f"{path} cannot be read as an HDF5 file; copy or download it again ({error})") from error
    _check_shapes(path, points, label, part, num_points)
    points, part = points[:, :num_points].astype(np.float32), part[:, :num_points].astype(np.int64)
    label = label.reshape(-1).astype(np.int64)
    _check_values(path, points, label, part, parts)
    return points, label, part


def _check_shapes(path: Path, points: np.ndarray, label: np.ndarray, part: np.ndarray, num_points: int | None) -> None:
    if points.ndim != 3 or points.shape[2] != 3 or 0 in points.shape:
        raise ValueError(f"data of {path} must have shape (N, P, 3), N and P at least 1, got {points.shape}")
    if label.size != len(points) or label.dtype.kind not in "iu":
        raise ValueError(f"label of {path} must be {len(points)} integers, got {label.dtype} {label.shape}")
    if part.shape != points.shape[:2] or part.dtype.kind not in "iu":
        raise ValueError(f"pid of {path} must be integers of shape {points.shape[:2]}, got {part.dtype} {part.shape}")
    if num_points is not None and num_points > points.shape[1]:
        raise ValueError(
            f"num_points must be in [1, {points.shape[1]}], the points per cloud in {path}, got {num_points}"
        )


def _check_values(
    path: Path, points: np.ndarray, label: np.ndarray, part: np.ndarray, parts: Sequence[Sequence[int]]
) -> None:
    bad = ~np.isfinite(points).all((1, 2))
    if bad.any():
        raise ValueError(f"data of {path} must be finite; row {bad.argmax()} holds NaN or infinite coordinates")
    bad = (label < 0) | (label >= len(parts))
    if bad.any():
        raise ValueError(
            f"label of {path} must be in [0, {len(parts) - 1}], the categories; row {bad.argmax()} holds "
            f"{label[bad.argmax()]}"
        )
    for number, allowed in enumerate(parts):
        rows = np.flatnonzero(label == number)
        wrong = ~np.isin(part[rows], allowed)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise ValueError(
                f"pid of {path} must hold parts {tuple(allowed)} for category {number}; row {rows[row]} holds "
                f"{part[rows[row], column]} at point {column}"
            )
