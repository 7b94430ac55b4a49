"""Point clouds in the HDF5 layout of ModelNet40, as published by the authors of PointNet.

A folder holds `train_files.txt` and `test_files.txt` (names of HDF5 files, one a line), `shape_names.txt` (names of
classes, one a line, class 0 first) and the HDF5 files, each with the datasets `data` (N, P, 3) and `label` (N, 1) or
(N,).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import h5py
import numpy as np
import torch
from torch.utils.data import Dataset
from torch_geometric.data import Data

from pointcoc.checks import check_choice, check_count, check_folder


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
        classes = _read_class_names(root / "shape_names.txt")
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
        if num_points is not None:
            check_count("num_points", num_points)
        self.classes = classes
        self.left_out: list[str] = []
        parts = []
        for file in files:
            points, labels, rows, bad = _read_file(file, num_points, len(self.classes), max_bad - len(self.left_out))
            self.left_out += bad
            parts.append((points, labels, rows))
        _check_same_points(files, [points for points, _, _ in parts])
        self.points = torch.from_numpy(np.concatenate([points for points, _, _ in parts]))
        self.labels = torch.from_numpy(np.concatenate([labels for _, labels, _ in parts]))
        self._rows = [(file, int(row)) for file, (_, _, rows) in zip(files, parts, strict=True) for row in rows]
        self.transform = transform

    def __len__(self) -> int:
        """Return the number of clouds."""
        return len(self.labels)

    def __getitem__(self, index: int) -> Data:
        """Return a cloud with its label."""
        number = range(len(self))[index]
        data = Data(pos=self.points[number], y=self.labels[number : number + 1])
        return data if self.transform is None else self.transform(data)

    def source(self, index: int) -> str:
        """Return the file and the row that an item comes from."""
        file, row = self._rows[index]
        return f"{file} row {row}"


def _read_lines(path: Path, content: str) -> list[str]:
    """Read the lines of a text file that are not blank; raise if there are none."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{path} must hold {content}, one a line, and is empty")
    return lines


def _read_class_names(path: Path) -> tuple[str, ...]:
    """Read the names of the classes."""
    if not path.is_file():
        raise FileNotFoundError(
            f"folder {path.parent} must hold {path.name}: names of the classes, one a line, class 0 first"
        )
    return tuple(_read_lines(path, "the names of the classes"))


def _find_files(folder: Path, split: str) -> list[Path]:
    """Find the HDF5 files of a split: those listed or, without a list, those whose names say so."""
    listing = folder / f"{split}_files.txt"
    if listing.is_file():
        return _listed_files(listing)
    # Shorter names first, so that ply_data_train10 comes after ply_data_train9.
    files = sorted(folder.glob(f"ply_data_{split}*.h5"), key=lambda file: (len(file.name), file.name))
    if not files:
        raise FileNotFoundError(f"folder {folder} must hold {listing.name} or ply_data_{split}*.h5, and holds neither")
    return files


def _listed_files(listing: Path) -> list[Path]:
    """Find the files of a list beside it, by their base names."""
    names = [PurePosixPath(line).name for line in _read_lines(listing, "the names of HDF5 files")]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{listing} must name each file once, and names {name} {names.count(name)} times")
        if not (listing.parent / name).is_file():
            raise FileNotFoundError(f"{listing} names {name}, which is missing in {listing.parent}")
    return [listing.parent / name for name in names]


def _read_file(
    path: Path, num_points: int | None, num_classes: int, max_bad: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Read a file: clouds (N, P, 3) float32, labels (N,) int64, their rows, and a sentence for each bad row."""
    try:
        with h5py.File(path, "r") as file:
            points, unreadable = _read_points(_dataset(file, "data", path), path, num_points)
            labels = _read_labels(_dataset(file, "label", path), path, len(points))
    except (OSError, RuntimeError, TypeError) as error:  # all three are what h5py raises on damaged files
        raise ValueError(f"{path} cannot be read as an HDF5 file; copy or download it again ({error})") from error
    faults = [
        _read_fault(path, unreadable, len(points)),
        _points_fault(path, points),
        _labels_fault(path, labels, num_classes),
    ]
    is_bad = np.any([rows for rows, _ in faults], axis=0)
    if is_bad.sum() > max_bad:
        raise ValueError(next(sentence for rows, sentence in faults if rows.any()))
    good, bad = np.flatnonzero(~is_bad), np.flatnonzero(is_bad)
    said = [f"{path} row {row}: {_reason(int(row), unreadable, faults[1][0])}" for row in bad]
    return points[good], labels[good], good, said


def _reason(row: int, unreadable: dict[int, str], is_not_finite: np.ndarray) -> str:
    """Say what is wrong with a row."""
    return unreadable.get(row, f"{'coordinates' if is_not_finite[row] else 'label'} out of range")


def _dataset(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    """Return a dataset of a file."""
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset):
        held = ", ".join(sorted(file)) or "nothing"
        raise ValueError(
            f"{path} must hold the datasets data (N, P, 3) and label (N, 1) or (N,); {name} is missing, it holds {held}"
        )
    return dataset


def _read_points(dataset: h5py.Dataset, path: Path, num_points: int | None) -> tuple[np.ndarray, dict[int, str]]:
    """Read the first points of all clouds, shape (N, P, 3) float32, and why rows could not be read."""
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
    """Read a damaged dataset row by row; rows that cannot be read are zeros. Raise if none can."""
    points = np.zeros((len(dataset), num_points or dataset.shape[1], 3), np.float32)
    unreadable: dict[int, str] = {}
    for row in range(len(points)):
        try:
            points[row] = dataset[row, :num_points]
        except OSError as error:
            if len(unreadable) == len(points) - 1:
                raise
            unreadable[row] = str(error)
    return points, unreadable


def _read_fault(path: Path, unreadable: dict[int, str], num_clouds: int) -> tuple[np.ndarray, str]:
    """Mask of the clouds that could not be read, and the sentence that says so."""
    is_bad = np.isin(np.arange(num_clouds), list(unreadable))
    first = next(iter(unreadable), 0)
    return is_bad, (
        f"data of {path} cannot be read in row {first} ({unreadable.get(first)}; {len(unreadable)} such rows); copy or "
        "download it again"
    )


def _read_labels(dataset: h5py.Dataset, path: Path, num_clouds: int) -> np.ndarray:
    """Read the labels of all clouds, shape (N,) int64."""
    if dataset.shape not in ((num_clouds, 1), (num_clouds,)) or dataset.dtype.kind not in "iu":
        raise ValueError(
            f"label of {path} must be integers of shape ({num_clouds}, 1) or ({num_clouds},), one for each cloud of "
            f"data, got shape {dataset.shape} of {dataset.dtype}"
        )
    return dataset[()].reshape(-1).astype(np.int64)


def _points_fault(path: Path, points: np.ndarray) -> tuple[np.ndarray, str]:
    """Mask of the clouds that are not finite, and the sentence that says so."""
    is_bad = ~np.isfinite(points).all(axis=(1, 2))
    return is_bad, (
        f"data of {path} must be finite; row {is_bad.argmax()} holds NaN or infinite coordinates "
        f"({is_bad.sum()} such rows)"
    )


def _labels_fault(path: Path, labels: np.ndarray, num_classes: int) -> tuple[np.ndarray, str]:
    """Mask of the labels that are no class, and the sentence that says so."""
    is_bad = (labels < 0) | (labels >= num_classes)
    return is_bad, (
        f"label of {path} must be in [0, {num_classes - 1}], the {num_classes} classes of the data set; "
        f"row {is_bad.argmax()} holds {labels[is_bad.argmax()]} ({is_bad.sum()} such rows)"
    )


def _check_same_points(files: list[Path], parts: list[np.ndarray]) -> None:
    """Raise unless the clouds of all files have the same number of points; only `num_points=None` lets them differ."""
    for file, points in zip(files, parts, strict=True):
        if points.shape[1] != parts[0].shape[1]:
            raise ValueError(
                f"num_points must be given where files differ: {files[0]} stores {parts[0].shape[1]} points per cloud "
                f"and {file} {points.shape[1]}"
            )
