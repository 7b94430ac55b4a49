"""Point clouds in the HDF5 layout of ModelNet40, as published by the authors of PointNet.

A folder holds `train_files.txt` and `test_files.txt` (names of HDF5 files, one a line), `shape_names.txt` (names of
classes, one a line, class 0 first) and the HDF5 files, each with the datasets `data` (N, P, 3) and `label` (N, 1) or
(N,).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import h5py
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_geometric.data import Data

from pointcoc.checks import check_choice, check_count, check_file, check_folder


class HDF5Clouds(Dataset):
    """A split of a ModelNet40 HDF5 folder, held in memory: item i is a `Data` with `pos` (P, 3) float32 and `y` (1,).

    Without a list of files, all `ply_data_{split}*.h5` are taken. Of a list only the base names count, because the
    published lists hold the paths of their author's machine. Tensors of an item are views of the data set: a transform
    must replace them (as those of torch_geometric do), not write into them.

    Args:
        folder: the folder with the files.
        split: "train" or "test".
        num_points: P, the first points of each stored cloud, as is the custom with ModelNet40, for both splits; None
            takes all. For another choice at every visit, take all and give `torch_geometric.transforms.FixedPoints` as
            transform.
        transform: a torch_geometric transform of an item.
        max_bad: rows that may be left out because they cannot be read, their coordinates are not finite or their label
            is no class.

    Attributes:
        left_out: a sentence for each row that was left out.
        classes: names of the classes.
        points: all clouds, float32 of shape (N, P, 3).
        labels: all labels, int64 of shape (N,).
        transform: the transform, or None; may be exchanged.

    Raises:
        FileNotFoundError: if the folder or a file is missing.
        ValueError: if a file is not complete or holds other datasets, shapes, types, labels or coordinates than
            allowed; the message names file and row.
    """

    def __init__(
        self,
        folder: str | Path,
        split: str = "train",
        num_points: int | None = 1024,
        transform: Callable[[Data], Data] | None = None,
        max_bad: int = 0,
    ) -> None:
        check_choice("split", split, ("train", "test"))
        root = check_folder("folder", folder)
        classes = tuple(read_lines(root / "shape_names.txt", "names of the classes"))
        self._read(_find_files(root, split), classes, num_points, transform, max_bad)

    def _read(
        self,
        files: list[Path],
        classes: tuple[str, ...],
        num_points: int | None,
        transform: Callable[[Data], Data] | None,
        max_bad: int,
    ) -> None:
        """Fill the data set from files with the datasets data and label; what else they hold is not read."""
        check_count("max_bad", max_bad, minimum=0)
        self.classes = classes
        self.transform = transform
        self.left_out: list[str] = []
        self._sources: list[str] = []
        clouds = []
        for file in files:
            points, labels, bad = read_clouds(file, num_points, len(classes), max_bad - len(self.left_out))
            good = np.setdiff1d(np.arange(len(points)), list(bad))
            clouds.append((points[good], labels[good]))
            self.left_out += [f"{file} row {row}: {reason}" for row, reason in bad.items()]
            self._sources += [f"{file} row {row}" for row in good]
        self.points, self.labels = joined(files, clouds)

    def __len__(self) -> int:
        """Return the number of clouds."""
        return len(self.labels)

    def __getitem__(self, index: int) -> Data:
        """Return a cloud with its label."""
        data = Data(pos=self.points[index], y=self.labels[index, None])
        return data if self.transform is None else self.transform(data)

    def source(self, index: int) -> str:
        """Return the file and the row that an item comes from."""
        return self._sources[index]


def read_lines(path: Path, content: str) -> list[str]:
    """Read the lines of a text file that are not blank; raise if there are none, or no file."""
    check_file(path, f"folder {path.parent} must hold {path.name}: {content}, one a line")
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{path} must hold the {content}, one a line, and is empty")
    return lines


def _find_files(folder: Path, split: str) -> list[Path]:
    """Find the HDF5 files of a split: those listed or, without a list, those whose names say so."""
    listing = folder / f"{split}_files.txt"
    if listing.is_file():
        return listed_files(listing)
    # Shorter names first, so that ply_data_train10 comes after ply_data_train9.
    files = sorted(folder.glob(f"ply_data_{split}*.h5"), key=lambda file: (len(file.name), file.name))
    if not files:
        raise FileNotFoundError(f"folder {folder} must hold {listing.name} or ply_data_{split}*.h5, and holds neither")
    return files


def listed_files(listing: Path) -> list[Path]:
    """Find the files of a list beside it, by their base names."""
    names = [PurePosixPath(line).name for line in read_lines(listing, "names of HDF5 files")]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{listing} must name each file once, and names {name} {names.count(name)} times")
        check_file(listing.parent / name, f"{listing} names {name}, which is missing in {listing.parent}")
    return [listing.parent / name for name in names]


def read_clouds(
    path: Path, num_points: int | None, num_classes: int, max_bad: int = 0
) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    """Read the datasets data and label of a file.

    Args:
        path: the file.
        num_points: P, the first points of each cloud; None takes all.
        num_classes: labels are below it.
        max_bad: rows that may be bad.

    Returns:
        Clouds (N, P, 3) float32, labels (N,) int64, and what is wrong with each bad row.
    """
    with open_hdf5(path) as file:
        points, unreadable = _read_points(dataset_of(file, "data"), path, num_points)
        labels = _read_labels(dataset_of(file, "label"), path, len(points))
    is_finite = np.isfinite(points).all(axis=(1, 2))
    is_class = (labels >= 0) & (labels < num_classes)
    bad = np.flatnonzero(~(is_finite & is_class)).tolist()
    if len(bad) > max_bad:
        raise ValueError(_first_fault(path, unreadable, is_finite, labels, num_classes))
    reasons = {row: f"{'label' if is_finite[row] else 'coordinates'} out of range" for row in bad}
    return points, labels, reasons | unreadable


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file; say so where it is damaged."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, TypeError) as error:  # all three are what h5py raises on damaged files
        raise ValueError(f"{path} cannot be read as an HDF5 file; copy or download it again ({error})") from error


def dataset_of(file: h5py.File, name: str, needed: str = "data (N, P, 3) and label (N, 1) or (N,)") -> h5py.Dataset:
    """Return a dataset of a file; raise ValueError with all that are needed if it is missing."""
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset):
        held = ", ".join(sorted(file)) or "nothing"
        raise ValueError(f"{file.filename} must hold the datasets {needed}; {name} is missing, it holds {held}")
    return dataset


def _read_points(dataset: h5py.Dataset, path: Path, num_points: int | None) -> tuple[np.ndarray, dict[int, str]]:
    """Read the first points of all clouds, shape (N, P, 3) float32, and why rows could not be read."""
    if num_points is not None:
        check_count("num_points", num_points)
    shape = dataset.shape
    if shape is None or len(shape) != 3 or shape[2] != 3 or 0 in shape or dataset.dtype.kind not in "fiu":
        raise ValueError(
            f"data of {path} must be numbers of shape (N, P, 3) with N, P > 0, got shape {shape} of {dataset.dtype}"
        )
    if num_points is not None and num_points > shape[1]:
        raise ValueError(
            f"num_points must be in [1, {shape[1]}], the points stored per cloud in {path}, got {num_points}"
        )
    with np.errstate(over="ignore"):  # what is too large for float32 is reported below, with its row
        try:
            return dataset[:, :num_points].astype(np.float32), {}
        except OSError:
            return _read_rows(dataset, num_points)


def _read_rows(dataset: h5py.Dataset, num_points: int | None) -> tuple[np.ndarray, dict[int, str]]:
    """Read a damaged dataset row by row; rows that cannot be read are NaN. Raise if none can."""
    points = np.full((len(dataset), num_points or dataset.shape[1], 3), np.nan, np.float32)
    unreadable: dict[int, str] = {}
    for row in range(len(points)):
        try:
            points[row] = dataset[row, :num_points]
        except OSError as error:
            if len(unreadable) == len(points) - 1:
                raise
            unreadable[row] = str(error)
    return points, unreadable


def _read_labels(dataset: h5py.Dataset, path: Path, num_clouds: int) -> np.ndarray:
    """Read the labels of all clouds, shape (N,) int64."""
    if dataset.shape not in ((num_clouds, 1), (num_clouds,)) or dataset.dtype.kind not in "iu":
        raise ValueError(
            f"label of {path} must be integers of shape ({num_clouds}, 1) or ({num_clouds},), one for each cloud of "
            f"data, got shape {dataset.shape} of {dataset.dtype}"
        )
    return dataset[()].reshape(-1).astype(np.int64)


def _first_fault(
    path: Path, unreadable: dict[int, str], is_finite: np.ndarray, labels: np.ndarray, num_classes: int
) -> str:
    """Say what is wrong with the first bad row, and with how many."""
    if unreadable:
        row, reason = next(iter(unreadable.items()))
        such = f"({reason}; {len(unreadable)} such rows)"
        return f"data of {path} cannot be read in row {row} {such}; copy or download it again"
    if not is_finite.all():
        such = f"({(~is_finite).sum()} such rows)"
        return f"data of {path} must be finite; row {is_finite.argmin()} holds NaN or infinite coordinates {such}"
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    return (
        f"label of {path} must be in [0, {num_classes - 1}], the {num_classes} classes of the data set; "
        f"row {wrong[0]} holds {labels[wrong[0]]} ({len(wrong)} such rows)"
    )


def joined(files: Sequence[Path], tables: Sequence[tuple[np.ndarray, ...]]) -> tuple[Tensor, ...]:
    """Join clouds (N, P, 3), and what else has a row a cloud, of all files; only `num_points=None` lets P differ."""
    sizes = [table[0].shape[1] for table in tables]
    for file, size in zip(files, sizes, strict=True):
        if size != sizes[0]:
            raise ValueError(
                f"num_points must be given where files differ: {files[0]} stores {sizes[0]} points per cloud "
                f"and {file} {size}"
            )
    return tuple(torch.from_numpy(np.concatenate(column)) for column in zip(*tables, strict=True))
