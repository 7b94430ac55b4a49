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

from pointcoc.data.checks import check_choice, check_count, check_folder


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

    Attributes:
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
    ) -> None:
        check_choice("split", split, ("train", "test"))
        if num_points is not None:
            check_count("num_points", num_points)
        root = check_folder("folder", folder)
        self.classes = _read_class_names(root / "shape_names.txt")
        files = _find_files(root, split)
        parts = [_read_file(file, num_points, len(self.classes)) for file in files]
        _check_same_points(files, [points for points, _ in parts])
        self.points = torch.from_numpy(np.concatenate([points for points, _ in parts]))
        self.labels = torch.from_numpy(np.concatenate([labels for _, labels in parts]))
        self.transform = transform

    def __len__(self) -> int:
        """Return the number of clouds."""
        return len(self.labels)

    def __getitem__(self, index: int) -> Data:
        """Return a cloud with its label."""
        number = range(len(self))[index]
        data = Data(pos=self.points[number], y=self.labels[number : number + 1])
        return data if self.transform is None else self.transform(data)


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


def _read_file(path: Path, num_points: int | None, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Read and check clouds (N, P, 3) float32 and labels (N,) int64 of a file."""
    try:
        with h5py.File(path, "r") as file:
            points = _read_points(_dataset(file, "data", path), path, num_points)
            labels = _read_labels(_dataset(file, "label", path), path, len(points), num_classes)
    except (OSError, RuntimeError, TypeError) as error:  # all three are what h5py raises on damaged files
        raise ValueError(f"{path} cannot be read as an HDF5 file; copy or download it again ({error})") from error
    return points, labels


def _dataset(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    """Return a dataset of a file."""
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset):
        held = ", ".join(sorted(file)) or "nothing"
        raise ValueError(
            f"{path} must hold the datasets data (N, P, 3) and label (N, 1) or (N,); {name} is missing, it holds {held}"
        )
    return dataset


def _read_points(dataset: h5py.Dataset, path: Path, num_points: int | None) -> np.ndarray:
    """Read the first points of all clouds, shape (N, P, 3) float32."""
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
        points = dataset[:, :num_points].astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(points).all(axis=(1, 2)))
    if len(bad):
        raise ValueError(
            f"data of {path} must be finite; row {bad[0]} holds NaN or infinite coordinates ({len(bad)} such rows)"
        )
    return points


def _read_labels(dataset: h5py.Dataset, path: Path, num_clouds: int, num_classes: int) -> np.ndarray:
    """Read the labels of all clouds, shape (N,) int64."""
    if dataset.shape not in ((num_clouds, 1), (num_clouds,)) or dataset.dtype.kind not in "iu":
        raise ValueError(
            f"label of {path} must be integers of shape ({num_clouds}, 1) or ({num_clouds},), one for each cloud of "
            f"data, got shape {dataset.shape} of {dataset.dtype}"
        )
    labels = dataset[()].reshape(-1).astype(np.int64)
    bad = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(bad):
        raise ValueError(
            f"label of {path} must be in [0, {num_classes - 1}], the {num_classes} classes of shape_names.txt; "
            f"row {bad[0]} holds {labels[bad[0]]} ({len(bad)} such rows)"
        )
    return labels


def _check_same_points(files: list[Path], parts: list[np.ndarray]) -> None:
    """Raise unless the clouds of all files have the same number of points; only `num_points=None` lets them differ."""
    for file, points in zip(files, parts, strict=True):
        if points.shape[1] != parts[0].shape[1]:
            raise ValueError(
                f"num_points must be given where files differ: {files[0]} stores {parts[0].shape[1]} points per cloud "
                f"and {file} {points.shape[1]}"
            )
