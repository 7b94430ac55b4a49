"""Point clouds in the HDF5 layout of ModelNet40, as published by the authors of PointNet.

A folder holds `train_files.txt` and `test_files.txt` (names of HDF5 files, one a line), `shape_names.txt` (names of
classes, one a line, class 0 first) and the HDF5 files, each with the datasets `data` (N, P, 3 or more) and `label`
(N, 1) or (N,). Further features are further columns of `data`, or datasets named as the feature, `normal` (N, P, 3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import h5py
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_geometric.data import Data

from pointcoc.checks import check_choice, check_count, check_file, check_folder
from pointcoc.data.hdf5 import dataset_of, find_features, open_hdf5, read_rows, spare_features, stored_features


class HDF5Clouds(Dataset):
    """A split of a ModelNet40 HDF5 folder, held in memory: item i is a `Data` with `pos` (P, 3) and `y` (1,).

    Positions have the type of the files: float64 where they store float64 or large integers, else float32.

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
        max_bad: rows that may be left out because they cannot be read, their coordinates or features are not finite or
            their label is no class.
        features: further features to read, names of `pointcoc.data.cloud.STORED`, which each item then has under their
            name; of names that are computed from positions nothing is read.
        columns: names of the columns of `data`, as `read_cloud` takes them; needed where several features lie there.

    Attributes:
        left_out: a sentence for each row that was left out.
        remarks: a sentence for what the files hold and nobody asked for.
        classes: names of the classes.
        points: all clouds, of shape (N, P, 3).
        features: the further features by their name, float32 of shape (N, P, C).
        labels: all labels, int64 of shape (N,).
        counts: number of points of each cloud, int64 of shape (N,).
        transform: the transform, or None; may be exchanged.

    Raises:
        FileNotFoundError: if the folder or a file is missing.
        ValueError: if a file is not complete, lacks a feature or holds other datasets, shapes, types, labels or
            coordinates than allowed; the message names file and row.
    """

    def __init__(
        self,
        folder: str | Path,
        split: str = "train",
        num_points: int | None = 1024,
        transform: Callable[[Data], Data] | None = None,
        max_bad: int = 0,
        features: Sequence[str] = (),
        columns: Sequence[str] | None = None,
    ) -> None:
        check_choice("split", split, ("train", "test"))
        root = check_folder("folder", folder)
        classes = tuple(read_lines(root / "shape_names.txt", "names of the classes"))
        self._read(_find_files(root, split), classes, num_points, transform, max_bad, features, columns)

    def _read(
        self,
        files: list[Path],
        classes: tuple[str, ...],
        num_points: int | None,
        transform: Callable[[Data], Data] | None,
        max_bad: int,
        features: Sequence[str] = (),
        columns: Sequence[str] | None = None,
    ) -> None:
        """Fill the data set from files with the datasets data and label."""
        check_count("max_bad", max_bad, minimum=0)
        self.classes = classes
        self.transform = transform
        self.left_out: list[str] = []
        self.remarks: list[str] = []
        self._sources: list[str] = []
        names = stored_features(features)
        tables = []
        for file in files:
            read = read_clouds(file, num_points, len(classes), max_bad - len(self.left_out), names, columns)
            good = np.setdiff1d(np.arange(len(read.points)), list(read.bad))
            tables.append((read.points[good], read.labels[good], *(read.features[name][good] for name in names)))
            self.left_out += [f"{file} row {row}: {reason}" for row, reason in read.bad.items()]
            self._sources += [f"{file} row {row}" for row in good]
            self.remarks += read.remarks if file == files[0] else ()  # files of a split are alike
        self.points, self.labels, *values = joined(files, tables)
        self.features = dict(zip(names, values, strict=True))
        self.counts = torch.full((len(self.points),), self.points.shape[1])

    def __len__(self) -> int:
        """Return the number of clouds."""
        return len(self.labels)

    def __getitem__(self, index: int) -> Data:
        """Return a cloud with its label."""
        values = {name: value[index] for name, value in self.features.items()}
        data = Data(pos=self.points[index], y=self.labels[index, None], **values)
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


class ReadClouds(NamedTuple):
    """The clouds of a file."""

    points: np.ndarray
    """Shape (N, P, 3), float32 or, where the file stores float64 or large integers, float64."""
    labels: np.ndarray
    """Shape (N,), int64."""
    features: dict[str, np.ndarray]
    """Float32 of shape (N, P, C) by the name of the feature."""
    bad: dict[int, str]
    """What is wrong with each bad row."""
    remarks: tuple[str, ...]
    """A sentence for what the file holds and nobody asked for."""


def read_clouds(
    path: Path,
    num_points: int | None,
    num_classes: int,
    max_bad: int = 0,
    features: Sequence[str] = (),
    columns: Sequence[str] | None = None,
) -> ReadClouds:
    """Read the datasets data and label of a file, and those of further features.

    Args:
        path: the file.
        num_points: P, the first points of each cloud; None takes all.
        num_classes: labels are below it.
        max_bad: rows that may be bad.
        features: names of `STORED`.
        columns: names of the columns of data.
    """
    if num_points is not None:
        check_count("num_points", num_points)
    with open_hdf5(path) as file:
        data = dataset_of(file, "data")
        _check_points(data, path, num_points)
        held = find_features(file, features, columns)
        width = data.shape[2] if any(one.name == "data" for one in held.values()) else 3
        table, unreadable = read_rows(data, num_points, width)
        labels = _read_labels(dataset_of(file, "label"), path, len(table))
        values = {name: one.read(file, table, num_points) for name, one in held.items()}
        remarks = spare_features(file, held)
    points = table[..., :3]
    with np.errstate(over="ignore"):  # what is too large for float32 is as good as infinite
        is_finite = {"data": _finite_rows(points.astype(np.float32))}
    is_finite |= {name: _finite_rows(value) for name, value in values.items()}
    is_class = (labels >= 0) & (labels < num_classes)
    is_good = np.logical_and.reduce([*is_finite.values(), is_class])
    bad = np.flatnonzero(~is_good).tolist()
    if len(bad) > max_bad:
        raise ValueError(_first_fault(path, unreadable, is_finite, labels, num_classes))
    reasons = {row: f"{_fault_of(row, is_finite)} out of range" for row in bad}
    return ReadClouds(np.ascontiguousarray(points), labels, values, reasons | unreadable, remarks)


def _finite_rows(values: np.ndarray) -> np.ndarray:
    return np.isfinite(values).reshape(len(values), -1).all(axis=1)


def _fault_of(row: int, is_finite: dict[str, np.ndarray]) -> str:
    wrong = [name for name, mask in is_finite.items() if not mask[row]]
    return "label" if not wrong else "coordinates" if wrong[0] == "data" else wrong[0]


def _check_points(dataset: h5py.Dataset, path: Path, num_points: int | None) -> None:
    """Raise unless a dataset holds clouds of enough points."""
    shape = dataset.shape
    if shape is None or len(shape) != 3 or shape[2] < 3 or 0 in shape or dataset.dtype.kind not in "fiu":
        raise ValueError(
            f"data of {path} must be numbers of shape (N, P, 3), or more columns for further features, with N, P > 0, "
            f"got shape {shape} of {dataset.dtype}"
        )
    if num_points is not None and num_points > shape[1]:
        raise ValueError(
            f"num_points must be in [1, {shape[1]}], the points stored per cloud in {path}, got {num_points}"
        )


def _read_labels(dataset: h5py.Dataset, path: Path, num_clouds: int) -> np.ndarray:
    """Read the labels of all clouds, shape (N,) int64."""
    if dataset.shape not in ((num_clouds, 1), (num_clouds,)) or dataset.dtype.kind not in "iu":
        raise ValueError(
            f"label of {path} must be integers of shape ({num_clouds}, 1) or ({num_clouds},), one for each cloud of "
            f"data, got shape {dataset.shape} of {dataset.dtype}"
        )
    return dataset[()].reshape(-1).astype(np.int64)


def _first_fault(
    path: Path, unreadable: dict[int, str], is_finite: dict[str, np.ndarray], labels: np.ndarray, num_classes: int
) -> str:
    """Say what is wrong with the first bad row, and with how many."""
    if unreadable:
        row, reason = next(iter(unreadable.items()))
        such = f"({reason}; {len(unreadable)} such rows)"
        return f"data of {path} cannot be read in row {row} {such}; copy or download it again"
    for name, mask in is_finite.items():
        if not mask.all():
            kind, such = "coordinates" if name == "data" else "values", f"({(~mask).sum()} such rows)"
            return f"{name} of {path} must be finite; row {mask.argmin()} holds NaN or infinite {kind} {such}"
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
