"""HDF5 files of clouds: opening them, their rows, and features that lie in further columns or datasets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from pointcoc.checks import check_choice
from pointcoc.data.cloud import STORED
from pointcoc.data.cloud_columns import COLOR, NORMAL, POSITION, Reading, canonical, scale_colors, scale_intensity
from pointcoc.models.weights import FEATURES

COLUMN_FEATURES = {
    **dict.fromkeys(COLOR, "color"),
    **dict.fromkeys(NORMAL, "normal"),
    "intensity": "intensity",
    "return_number": "return_number",
}
LARGEST_NORMAL = 1.1
"""Largest coordinate of a normal that passes as one: files store them rounded."""


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
        raise ValueError(f"{file.filename} must hold the datasets {needed}; {name} is missing, it holds {_held(file)}")
    return dataset


def read_rows(dataset: h5py.Dataset, num_points: int | None, width: int) -> tuple[np.ndarray, dict[int, str]]:
    """Read the first points of all clouds.

    Args:
        dataset: numbers of shape (N, P, C).
        num_points: points to read of each cloud; None reads all.
        width: columns to read.

    Returns:
        Shape (N, num_points, width), the type of the dataset or float32 where that holds its values, and why rows could
        not be read; they are NaN.
    """
    dtype = np.promote_types(dataset.dtype.newbyteorder("="), np.float32)
    try:
        return dataset[:, :num_points, :width].astype(dtype), {}
    except OSError:
        pass
    table = np.full((len(dataset), num_points or dataset.shape[1], width), np.nan, dtype)
    unreadable: dict[int, str] = {}
    for row in range(len(table)):
        try:
            table[row] = dataset[row, :num_points, :width]
        except OSError as error:
            if len(unreadable) == len(table) - 1:
                raise
            unreadable[row] = str(error)
    return table, unreadable


@dataclass(frozen=True)
class FeatureSource:
    """Where a file holds a feature.

    Args:
        feature: name of the feature.
        name: name of the dataset.
        columns: columns of that dataset.
    """

    feature: str
    name: str
    columns: tuple[int, ...]

    def read(self, file: h5py.File, data: np.ndarray, num_points: int | None) -> np.ndarray:
        """Read the feature, float32 of shape (N, P, C).

        Args:
            file: the file.
            data: what was read of the dataset data.
            num_points: points to read of each cloud; None reads all.
        """
        dataset = file[self.name]
        if self.name == "data":
            values = data[..., list(self.columns)]
        elif dataset.shape == file["data"].shape[:2]:
            values = dataset[:, :num_points][..., None]
        else:
            values = read_rows(dataset, num_points, len(self.columns))[0]
        where = f"{self.feature} in {self.name} of {file.filename}"
        return _scaled(self.feature, values, dataset.dtype, where).astype(np.float32)


def _scaled(feature: str, values: np.ndarray, stored: np.dtype, where: str) -> np.ndarray:
    """Return a feature (N, P, C) in the units of `Cloud`; raise ValueError if it can be no such feature."""
    if stored.kind in "iu" and np.isfinite(values).all():
        values = values.astype(stored)  # the type tells the scale
    if feature == "color":
        said: list[str] = []
        scaled = scale_colors(values.reshape(-1, values.shape[-1]), said)
        if scaled is None:
            raise ValueError(f"{where} must be colors: {said[0].rpartition(': ')[2]}; are they normals?")
        return scaled.reshape(values.shape)
    if feature == "intensity":
        return scale_intensity(values)
    if feature == "normal" and (np.abs(values) > LARGEST_NORMAL).any():
        largest = np.nanmax(np.abs(values))
        raise ValueError(f"{where} must be normals of length 1, got the coordinate {largest:g}; are they colors?")
    return values


def stored_features(names: Sequence[str]) -> tuple[str, ...]:
    """Return those of the features of a network that files hold, in their order."""
    for name in names:
        check_choice("feature", name, tuple(FEATURES))
    return tuple(name for name in names if name in STORED)


def find_features(file: h5py.File, names: Sequence[str], columns: Sequence[str] | None) -> dict[str, FeatureSource]:
    """Find the features of a file: datasets of their name or, for those that have none, further columns of data.

    Args:
        file: the file.
        names: names of `STORED`.
        columns: names of the columns of data; without them a single feature is all that follows the positions.

    Raises:
        ValueError: if the file lacks a feature or does not tell where it is.
    """
    shape = file["data"].shape
    found = {name: _dataset_source(file, name) for name in names if isinstance(file.get(name), h5py.Dataset)}
    rest = [name for name in names if name not in found]
    if not rest:
        return found
    if columns is None and (shape[2] == 3 or len(rest) > 1 or shape[2] != 3 + FEATURES[rest[0]]):
        wanted = " and ".join(f"{name} ({FEATURES[name]})" for name in rest)
        advice = "; name all of them by columns, such as x y z r g b nx ny nz" if shape[2] > 3 else ""
        raise ValueError(
            f"{file.filename} must hold {wanted} as datasets of this name, or in the columns of data that follow x, y, "
            f"z; data has {shape[2] - 3} further columns{advice}, and the file holds {_held(file)}"
        )
    places = {rest[0]: range(3, shape[2])} if columns is None else columns_of(columns, shape[2], file.filename)
    for name in rest:
        if name not in places:
            raise ValueError(f"{file.filename} has no {name} among its columns {' '.join(columns or ())}")
        found[name] = FeatureSource(name, "data", tuple(places[name]))
    return found


def columns_of(names: Sequence[str], width: int, where: str) -> dict[str, list[int]]:
    """Return the columns of each feature from the names of all columns.

    Args:
        names: as `read_cloud` takes them, x, y, z first.
        width: number of columns.
        where: the file, for the message.
    """
    reading = Reading(columns=tuple(names))  # checks the names
    if len(names) != width or tuple(names[:3]) != POSITION:
        raise ValueError(
            f"columns must name the {width} columns of data of {where}, x y z first, got {' '.join(names)}"
        )
    places: dict[str, list[int]] = {}
    for column, name in enumerate(map(canonical, reading.columns or ())):
        if name in COLUMN_FEATURES:
            places.setdefault(COLUMN_FEATURES[name], []).append(column)
    for feature, found in places.items():
        if len(found) != FEATURES[feature]:
            raise ValueError(f"columns must name {FEATURES[feature]} columns of {feature}, got {' '.join(names)}")
    return places


def spare_features(file: h5py.File, read: Mapping[str, FeatureSource]) -> tuple[str, ...]:
    """Say what features a file holds that nobody asked for."""
    spare = [name for name in STORED if name not in read and isinstance(file.get(name), h5py.Dataset)]
    sentences = [f"{file.filename} holds {name}, which is not read unless features name it" for name in spare]
    further = file["data"].shape[2] - 3 - sum(len(one.columns) for one in read.values() if one.name == "data")
    if further > 0:
        sentences.append(
            f"data of {file.filename} has {further} further columns, which are not read; ask for them by name, such as "
            "features=('color',) or ('normal',)"
        )
    return tuple(sentences)


def _dataset_source(file: h5py.File, name: str) -> FeatureSource:
    shape, width = file["data"].shape[:2], FEATURES[name]
    allowed = [(*shape, width), *([shape] if width == 1 else [])]
    dataset = file[name]
    if dataset.shape not in allowed or dataset.dtype.kind not in "fiu":
        raise ValueError(
            f"{name} of {file.filename} must be numbers of shape {allowed[0]}, one row a point of data, got shape "
            f"{dataset.shape} of {dataset.dtype}"
        )
    return FeatureSource(name, name, tuple(range(width)))


def _held(file: h5py.File) -> str:
    return ", ".join(sorted(file)) or "nothing"
