"""Ten classes of random solids in the ModelNet40 HDF5 layout; generated in seconds, nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch_geometric.data import Data

from pointcoc.checks import check_choice
from pointcoc.data.clouds import HDF5Clouds
from pointcoc.data.generated import write_generated, written_once
from pointcoc.data.solids import SOLIDS, solid_clouds

SHAPES_VERSION = 1
"""Raised whenever the same arguments give other clouds, so that old caches are not read."""


def shapes(
    split: str,
    num_train: int = 1600,
    num_test: int = 400,
    num_points: int = 1024,
    seed: int = 0,
    cache: str | Path | None = None,
    transform: Callable[[Data], Data] | None = None,
) -> HDF5Clouds:
    """Load a split of `shapes`; the first call writes the files into a cache folder, later calls read them.

    Args:
        split: "train" or "test".
        num_train: number of training clouds, 10 or more.
        num_test: number of test clouds, 10 or more.
        num_points: number of points of each cloud.
        seed: seed of the generator, 0 or more.
        cache: folder for the files; by default `$POINTCOC_HOME`, or `pointcoc` in the user's cache.
        transform: a torch_geometric transform of an item.

    Returns:
        The data set, with `classes` and `labels`.

    Raises:
        ValueError: if an argument is not allowed.
    """
    check_choice("split", split, ("train", "test"))
    name = f"shapes-v{SHAPES_VERSION}-{num_train}-{num_test}-{num_points}-seed{seed}"
    settings = {"num_train": num_train, "num_test": num_test, "num_points": num_points, "seed": seed}
    return HDF5Clouds(written_once(cache, name, write_shapes, **settings), split, num_points, transform)


def write_shapes(
    folder: str | Path, num_train: int = 1600, num_test: int = 400, num_points: int = 1024, seed: int = 0
) -> Path:
    """Write ten classes of random solids in the ModelNet40 HDF5 layout.

    Each cloud has its own proportions, pose, scale and noise. Classes are balanced (to one cloud) and in random order;
    see `pointcoc.data.solids` for the solids. The folder appears complete or not at all. The same arguments give the
    same clouds, and the test clouds do not depend on the number of training clouds.

    Args:
        folder: where to write: a new or an empty folder.
        num_train: number of training clouds, 10 or more.
        num_test: number of test clouds, 10 or more.
        num_points: number of points of each cloud.
        seed: seed of the generator, 0 or more.

    Returns:
        The folder.

    Raises:
        ValueError: if a number is too small.
        FileExistsError: if the folder holds anything.
    """
    texts = {"shape_names.txt": "".join(f"{name}\n" for name in SOLIDS)}
    counts = {"train": num_train, "test": num_test}
    return write_generated(folder, texts, "{}_files.txt", counts, _sample, tuple(SOLIDS), num_points, seed)


def _sample(name: str, num_clouds: int, num_points: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"data": solid_clouds(name, num_clouds, num_points, rng).astype(np.float32)}
