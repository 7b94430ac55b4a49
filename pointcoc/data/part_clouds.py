"""Clouds with the part of each point in the HDF5 layout of ShapeNetPart, as published by the authors of PointNet.

A folder holds `all_object_categories.txt` (name and key of each category, one a line, category 0 first),
`object2setofoids.json` (key of a category: classes of its parts), `train_hdf5_file_list.txt` and those of `val` and
`test` (names of HDF5 files, one a line), and the files, each with `data` (N, P, 3), `label` (N, 1) and `pid` (N, P).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_geometric.data import Data

from pointcoc.checks import check_choice, check_file, check_folder
from pointcoc.data.clouds import ReadClouds, joined, listed_files, read_clouds, read_lines
from pointcoc.data.collate import collate_sets, kind_of
from pointcoc.data.hdf5 import dataset_of, open_hdf5, stored_features
from pointcoc.pointset import PointSet

CATEGORIES, PARTS_FILE = "all_object_categories.txt", "object2setofoids.json"
TEXT_CATEGORIES = "synsetoffset2category.txt"
SPLITS = ("train", "val", "test")


class HDF5Parts(Dataset):
    """A split of a ShapeNetPart folder, held in memory: item i has `pos` (P, 3), `y` (P,) parts and `category` (1,).

    Args:
        folder: the folder with the files.
        split: "train", "val", "test", or "trainval" for the first two, as the published numbers train on.
        num_points: P, the first points of each stored cloud; None takes all.
        transform: a torch_geometric transform of an item.
        features: further features to read, which each item then has under their name, see `HDF5Clouds`.
        columns: names of the columns of `data`; needed where several features lie there.

    Attributes:
        categories: names of the categories.
        parts: classes of the parts of each category.
        num_classes: number of classes of all parts.
        features: the further features by their name, float32 of shape (N, P, C).
        remarks: a sentence for what the files hold and nobody asked for.

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
        features: Sequence[str] = (),
        columns: Sequence[str] | None = None,
    ) -> None:
        check_choice("split", split, (*SPLITS, "trainval"))
        root = check_folder("folder", folder)
        self.categories, self.parts = _read_categories(root)
        self.num_classes = 1 + max(max(one) for one in self.parts)
        files = [file for one in SPLITS if one in split for file in listed_files(root / list_name(one))]
        names = stored_features(features)
        read = [_read(file, num_points, self.parts, names, columns) for file in files]
        tables = [(one.points, one.labels, part, *(one.features[name] for name in names)) for one, part in read]
        self.points, self.categories_of, self.labels, *values = joined(files, tables)
        self.features = dict(zip(names, values, strict=True))
        self.remarks = list(read[0][0].remarks)  # files of a split are alike
        self.transform = transform

    def __len__(self) -> int:
        """Return the number of clouds."""
        return len(self.points)

    def __getitem__(self, index: int) -> Data:
        """Return a cloud with its parts and its category."""
        values = {name: value[index] for name, value in self.features.items()}
        data = Data(pos=self.points[index], y=self.labels[index], category=self.categories_of[index, None], **values)
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
            raise ValueError(
                f"items must hold one integer `y` per point, shape ({len(item.pos)},), got {kind_of(label)} in item "
                f"{number}"
            )
    return torch.cat([item.y.long() for item in items])


def list_name(split: str) -> str:
    """Name of the file that lists the HDF5 files of a split."""
    return f"{split}_hdf5_file_list.txt"


def _read_categories(root: Path) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """Read names and parts of the categories."""
    is_text = (root / TEXT_CATEGORIES).is_file()
    advice = "; it holds text: pointcoc.data.convert_part_text writes HDF5 files of it" if is_text else ""
    for name in (CATEGORIES, PARTS_FILE):
        check_file(root / name, f"folder {root} must hold {name}, as the hdf5_data of ShapeNetPart does{advice}")
    categories = read_categories(root / CATEGORIES)
    try:
        parts: Any = json.loads((root / PARTS_FILE).read_text())
        table = tuple(tuple(int(part) for part in parts[key]) for _, key in categories)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{root / PARTS_FILE} must hold the parts of each category of {CATEGORIES} under its key, got "
            f"{type(error).__name__}: {error}"
        ) from error
    if not all(table) or min(map(min, table)) < 0:
        raise ValueError(f"{root / PARTS_FILE} must hold at least one part of each category, 0 or more, got {table}")
    return tuple(name for name, _ in categories), table


def read_categories(path: Path) -> list[list[str]]:
    """Read name and key of each category."""
    lines = [line.split() for line in read_lines(path, "name and key of each category")]
    for number, line in enumerate(lines, 1):
        if len(line) != 2:
            raise ValueError(f"{path} must hold a name and a key in each line, line {number} is {' '.join(line)!r}")
    return lines


def _read(
    path: Path,
    num_points: int | None,
    parts: Sequence[Sequence[int]],
    features: Sequence[str],
    columns: Sequence[str] | None,
) -> tuple[ReadClouds, np.ndarray]:
    """Read clouds with their categories, and parts (N, P), int64."""
    clouds = read_clouds(path, num_points, len(parts), features=features, columns=columns)
    with open_hdf5(path) as file:
        part = dataset_of(file, "pid", "data (N, P, 3), label (N, 1) and pid (N, P)")
        shape = file["data"].shape[:2]
        if part.shape != shape or part.dtype.kind not in "iu":
            raise ValueError(f"pid of {path} must be integers of shape {shape}, got {part.dtype} {part.shape}")
        part = part[:, :num_points].astype(np.int64)
    for number, allowed in enumerate(parts):
        rows = np.flatnonzero(clouds.labels == number)
        wrong = ~np.isin(part[rows], allowed)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise ValueError(
                f"pid of {path} must hold parts {tuple(allowed)} for category {number}; row {rows[row]} holds "
                f"{part[rows[row], column]} at point {column}"
            )
    return clouds, part
