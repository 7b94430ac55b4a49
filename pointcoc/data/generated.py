"""Data sets that the package writes itself: folders that appear complete or not at all, HDF5 files and their lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
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


def written_once(cache: str | Path | None, name: str, write: Callable[..., object], **settings: int) -> Path:
    """Return a folder of generated data, which the first call writes.

    Args:
        cache: folder that holds it; None for the cache folder of the package.
        name: name of the folder in it.
        write: writes the folder; raises FileExistsError where it exists.
        **settings: what it takes besides.
    """
    folder = cache_folder(name) if cache is None else Path(cache).expanduser() / name
    if not folder.exists():
        with suppress(FileExistsError):  # another process was faster and wrote the same files
            write(folder, **settings)
    return folder


def write_generated(
    folder: str | Path,
    texts: Mapping[str, str],
    listing: str,
    counts: Mapping[str, int],
    sample: Callable[[str, int, int, np.random.Generator], dict[str, np.ndarray]],
    names: Sequence[str],
    num_points: int,
    seed: int,
) -> Path:
    """Write splits of random clouds, balanced over the classes (to one cloud) and in random order.

    Args:
        folder: where to write: a new or an empty folder; it appears complete or not at all.
        texts: content of the text files by their names.
        listing: name of the list of files of a split, with {} for the split.
        counts: number of clouds of each split, as many as there are classes or more.
        sample: maps the name of a class, a number of clouds, num_points and the source of all randomness to the
            datasets of these clouds.
        names: names of the classes.
        num_points: points of each cloud.
        seed: seed of the generator, 0 or more.

    Returns:
        The folder.

    Raises:
        ValueError: if a number is too small.
        FileExistsError: if the folder holds anything.
    """
    for split, count in counts.items():
        check_count(f"num_{split}", count, minimum=len(names))
    check_count("num_points", num_points)
    check_count("seed", seed, minimum=0)
    target = Path(folder).expanduser()
    with complete_or_absent(target) as staging:
        for name, text in texts.items():
            (staging / name).write_text(text)
        for stream, (split, count) in enumerate(counts.items()):
            labels = np.sort(np.arange(count) % len(names))
            parts = [
                sample(name, int((labels == number).sum()), num_points, np.random.default_rng([seed, stream, number]))
                for number, name in enumerate(names)
            ]
            order = np.random.default_rng([seed, stream, len(names)]).permutation(count)
            datasets = {key: np.concatenate([part[key] for part in parts])[order] for key in parts[0]}
            write_split(staging, listing.format(split), split, label=labels.astype(np.uint8)[order, None], **datasets)
    return target


def write_split(folder: Path, listing: str, split: str, **arrays: np.ndarray) -> None:
    """Write the HDF5 file of a split, and the list that names it.

    Args:
        folder: where to write.
        listing: name of the list.
        split: name of the split.
        **arrays: the datasets of the file.
    """
    name = f"ply_data_{split}0.h5"
    with h5py.File(folder / name, "w") as file:
        file.update(arrays)
    (folder / listing).write_text(f"{name}\n")
