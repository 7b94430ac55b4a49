"""Six categories of random objects with named parts in the layout of ShapeNetPart; nothing is downloaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from torch_geometric.data import Data

from pointcoc.checks import check_choice
from pointcoc.data.generated import check_sizes, complete_or_absent, mixed_labels, write_split, written_once
from pointcoc.data.part_clouds import CATEGORIES, PARTS_FILE, SPLITS, HDF5Parts, list_name
from pointcoc.data.part_solids import PARTS, part_clouds

PART_SHAPES_VERSION = 1
"""Raised whenever the same arguments give other clouds, so that old caches are not read."""


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
    sizes = f"{num_train}-{num_val}-{num_test}-{num_points}"
    name = f"part-shapes-v{PART_SHAPES_VERSION}-{sizes}-seed{seed}"
    write = partial(
        write_part_shapes, num_train=num_train, num_val=num_val, num_test=num_test, num_points=num_points, seed=seed
    )
    folder = written_once(cache, name, write)
    return HDF5Parts(folder, split, num_points, transform)


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
    counts = dict(zip(SPLITS, (num_train, num_val, num_test), strict=True))
    check_sizes(counts, len(PARTS), num_points, seed)
    target = Path(folder).expanduser()
    with complete_or_absent(target) as staging:
        _write_names(staging)
        for stream, (split, count) in enumerate(counts.items()):
            _write_split(staging, split, count, num_points, [seed, stream])
    return target


def _starts() -> dict[str, int]:
    """First class of each category."""
    counts = np.cumsum([0, *(len(parts) for parts in PARTS.values())])
    return {name: int(start) for name, start in zip(PARTS, counts, strict=False)}


def _write_names(folder: Path) -> None:
    starts = _starts()
    (folder / CATEGORIES).write_text("".join(f"{name}\t{name}\n" for name in PARTS))
    classes = {name: list(range(starts[name], starts[name] + len(parts))) for name, parts in PARTS.items()}
    (folder / PARTS_FILE).write_text(json.dumps(classes))


def _write_split(folder: Path, split: str, count: int, num_points: int, seed: list[int]) -> None:
    label, order = mixed_labels(count, len(PARTS), seed)
    clouds, parts = [], []
    for number, (name, start) in enumerate(_starts().items()):
        rng = np.random.default_rng([*seed, number])
        points, part = part_clouds(name, int((label == number).sum()), num_points, rng)
        clouds.append(points)
        parts.append(part + start)
    write_split(
        folder,
        split,
        list_name(split),
        data=np.concatenate(clouds).astype(np.float32)[order],
        label=label.astype(np.uint8)[order, None],
        pid=np.concatenate(parts).astype(np.uint8)[order],
    )
