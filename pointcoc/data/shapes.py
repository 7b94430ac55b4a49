"""Ten classes of random solids in the ModelNet40 HDF5 layout; generated in seconds, nothing is downloaded."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from torch_geometric.data import Data

from pointcoc.checks import check_choice, check_count
from pointcoc.data.clouds import HDF5Clouds
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
        cache: folder for the files; by default `pointcoc` in `$XDG_CACHE_HOME`, or in `~/.cache` where that is not set.
        transform: a torch_geometric transform of an item.

    Returns:
        The data set, with `classes` and `labels`.

    Raises:
        ValueError: if an argument is not allowed.
    """
    check_choice("split", split, ("train", "test"))
    folder = cache_folder(cache) / f"shapes-v{SHAPES_VERSION}-{num_train}-{num_test}-{num_points}-seed{seed}"
    if not folder.exists():
        with contextlib.suppress(FileExistsError):  # another process was faster and wrote the same files
            write_shapes(folder, num_train, num_test, num_points, seed)
    return HDF5Clouds(folder, split, num_points, transform)


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
    counts = {"train": num_train, "test": num_test}
    for name, count in counts.items():
        check_count(f"num_{name}", count, minimum=len(SOLIDS))
    check_count("num_points", num_points)
    check_count("seed", seed, minimum=0)
    with complete_or_absent(Path(folder).expanduser()) as staging:
        (staging / "shape_names.txt").write_text("".join(f"{name}\n" for name in SOLIDS))
        for stream, (split, count) in enumerate(counts.items()):
            _write_split(staging, split, *_generate(count, num_points, [seed, stream]))
    return Path(folder).expanduser()


def _generate(num_clouds: int, num_points: int, seed: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Generate balanced clouds (N, P, 3) float32 and labels (N, 1) uint8 in random order."""
    order = np.random.default_rng([*seed, len(SOLIDS)]).permutation(num_clouds)
    labels = np.sort(np.arange(num_clouds) % len(SOLIDS))
    clouds = [
        solid_clouds(name, int((labels == number).sum()), num_points, np.random.default_rng([*seed, number]))
        for number, name in enumerate(SOLIDS)
    ]
    return np.concatenate(clouds).astype(np.float32)[order], labels.astype(np.uint8)[order, None]


def _write_split(folder: Path, split: str, data: np.ndarray, label: np.ndarray) -> None:
    """Write the HDF5 file of a split and the list that names it."""
    name = f"ply_data_{split}0.h5"
    with h5py.File(folder / name, "w") as file:
        file["data"] = data
        file["label"] = label
    (folder / f"{split}_files.txt").write_text(f"{name}\n")


@contextmanager
def complete_or_absent(folder: Path) -> Iterator[Path]:
    """Lend a folder to write in, and give it its name at the end; after an error nothing is left."""
    _check_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    staging.mkdir()
    try:
        yield staging
        staging.replace(folder)
    except OSError:
        _check_free(folder)  # says so if another process took the name in the meantime
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _check_free(folder: Path) -> None:
    """Raise if the folder holds anything, or is a file."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"folder must be new or empty, but {folder} exists and holds something")


def cache_folder(cache: str | Path | None) -> Path:
    """Return the folder for generated data."""
    if cache is not None:
        return Path(cache).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pointcoc"
