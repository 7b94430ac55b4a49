"""Data sets that the package writes itself: folders that appear complete or not at all, HDF5 files and their lists."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from pointcoc.checks import check_count
from pointcoc.files import atomic, cache_folder


@contextmanager
def complete_or_absent(folder: Path) -> Iterator[Path]:
    """Lend a folder to write in, and give it its name at the end; after an error nothing is left."""
    _check_free(folder)
    try:
        with atomic(folder, is_shared=True) as staging:
            staging.mkdir()
            yield staging
    except OSError:
        _check_free(folder)  # says so if another process took the name in the meantime
        raise


def _check_free(folder: Path) -> None:
    """Raise if the folder holds anything, or is a file."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"folder must be new or empty, but {folder} exists and holds something")


def written_once(cache: str | Path | None, name: str, write: Callable[[Path], object]) -> Path:
    """Return a folder of generated data, which the first call writes.

    Args:
        cache: folder that holds it; None for the cache folder of the package.
        name: name of the folder in it.
        write: writes the folder; raises FileExistsError where it exists.
    """
    folder = cache_folder(name) if cache is None else Path(cache).expanduser() / name
    if not folder.exists():
        with contextlib.suppress(FileExistsError):  # another process was faster and wrote the same files
            write(folder)
    return folder


def check_sizes(counts: Mapping[str, int], least: int, num_points: int, seed: int) -> None:
    """Raise ValueError unless clouds can be generated: `least` or more of each split, of a point or more."""
    for split, count in counts.items():
        check_count(f"num_{split}", count, minimum=least)
    check_count("num_points", num_points)
    check_count("seed", seed, minimum=0)


def write_split(folder: Path, split: str, listing: str, **arrays: np.ndarray) -> None:
    """Write the HDF5 file of a split, and the list that names it.

    Args:
        folder: where to write.
        split: name of the split.
        listing: name of the list.
        **arrays: the datasets of the file.
    """
    name = f"ply_data_{split}0.h5"
    with h5py.File(folder / name, "w") as file:
        file.update(arrays)
    (folder / listing).write_text(f"{name}\n")


def mixed_labels(num_clouds: int, num_classes: int, seed: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return balanced labels (N,), ascending, and the random order (N,) in which the clouds are stored."""
    order = np.random.default_rng([*seed, num_classes]).permutation(num_clouds)
    return np.sort(np.arange(num_clouds) % num_classes), order
