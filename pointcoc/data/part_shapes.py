"""Six categories of random objects with named parts in the layout of ShapeNetPart; nothing is downloaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import numpy as np
from torch_geometric.data import Data

from pointcoc.checks import check_choice
from pointcoc.data.generated import write_generated, written_once
from pointcoc.data.part_clouds import CATEGORIES, PARTS_FILE, SPLITS, HDF5Parts, list_name
from pointcoc.data.part_solids import PARTS, part_clouds

PART_SHAPES_VERSION = 1
"""Raised whenever the same arguments give other clouds, so that old caches are not read."""

STARTS = dict(zip(PARTS, accumulate(map(len, PARTS.values()), initial=0), strict=False))
"""First class of each category."""


def part_shapes(
    split: str,
    num_train: int = 960,
    num_val: int = 120,
    num_test: int = 240,
    num_points: int = 1024,
    seed: int = 0,
    cache: str | Path | None = None,
    transform: Callable[[Data], Data] | None = None,
) -> HDF5Parts:
    """Load a split of chairs, hammers, lamps, mugs, rockets and tables; the first call writes files into a cache.

    Args:
        split: "train", "val", "test", or "trainval" for the first two.
        num_train: number of training clouds, 6 or more.
        num_val: number of validation clouds, 6 or more.
        num_test: number of test clouds, 6 or more.
        num_points: number of points of each cloud.
        seed: seed of the generator, 0 or more.
        cache: folder for the files; by default `$POINTCOC_HOME`, or `pointcoc` in the user's cache.
        transform: a torch_geometric transform of an item.

    Returns:
        The data set, with `categories` and `parts`.

    Raises:
        ValueError: if an argument is not allowed.
    """
    check_choice("split", split, (*SPLITS, "trainval"))
    name = f"part-shapes-v{PART_SHAPES_VERSION}-{num_train}-{num_val}-{num_test}-{num_points}-seed{seed}"
    settings = {
        "num_train": num_train,
        "num_val": num_val,
        "num_test": num_test,
        "num_points": num_points,
        "seed": seed,
    }
    return HDF5Parts(written_once(cache, name, write_part_shapes, **settings), split, num_points, transform)


def write_part_shapes(
    folder: str | Path,
    num_train: int = 960,
    num_val: int = 120,
    num_test: int = 240,
    num_points: int = 1024,
    seed: int = 0,
) -> Path:
    """Write random objects with parts in the HDF5 layout of ShapeNetPart; the folder appears complete or not at all.

    Args:
        folder: where to write: a new or an empty folder.
        num_train: number of training clouds, 6 or more.
        num_val: number of validation clouds, 6 or more.
        num_test: number of test clouds, 6 or more.
        num_points: number of points of each cloud.
        seed: seed of the generator, 0 or more.

    Returns:
        The folder.

    Raises:
        ValueError: if a number is too small.
        FileExistsError: if the folder holds anything.
    """
    texts = {
        CATEGORIES: "".join(f"{name}\t{name}\n" for name in PARTS),
        PARTS_FILE: json.dumps({name: list(range(start, start + len(PARTS[name]))) for name, start in STARTS.items()}),
    }
    counts = dict(zip(SPLITS, (num_train, num_val, num_test), strict=True))
    return write_generated(folder, texts, list_name("{}"), counts, _sample, tuple(PARTS), num_points, seed)


def _sample(name: str, num_clouds: int, num_points: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    points, part = part_clouds(name, num_clouds, num_points, rng)
    return {"data": points.astype(np.float32), "pid": (part + STARTS[name]).astype(np.uint8)}
