"""Clouds in arrays: .npy, .npz, HDF5, and the raw floats of KITTI."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from pointcoc.data.cloud_columns import (
    COLOR,
    NAMES,
    NORMAL,
    POSITION,
    Columns,
    Reading,
    canonical,
    name_columns,
    named_columns,
)

ARRAYS = {
    "pos": POSITION, "points": POSITION, "xyz": POSITION, "coord": POSITION, "coords": POSITION, "positions": POSITION,
    "data": POSITION, "color": COLOR, "colors": COLOR, "rgb": COLOR, "normal": NORMAL, "normals": NORMAL,
}  # fmt: skip
"""Names of arrays in an archive, and what their columns are."""
KITTI, NUSCENES = ("x", "y", "z", "intensity"), ("x", "y", "z", "intensity", "_")
NUSCENES_ENDING = ".pcd.bin"
KITTI_BYTES = 4


def read_npy(path: Path, reading: Reading) -> tuple[Columns, list[str]]:
    """Read a table (N, C), or a structured array whose fields have names."""
    table = _load(path)
    if not isinstance(table, np.ndarray):
        raise ValueError("it is an archive of arrays, which must end with .npz")
    if table.dtype.names is None:
        return named_columns(table, path, reading)
    table = table.reshape(-1)
    return _from_arrays({name: table[name] for name in table.dtype.names}, path, reading)


def read_npz(path: Path, reading: Reading) -> tuple[Columns, list[str]]:
    """Read an archive of arrays: positions under a name of `ARRAYS` or alone, colors, normals, intensity, labels."""
    arrays, said = {}, []
    with path.open("rb") as file:
        archive = _load(file)
        if isinstance(archive, np.ndarray):
            raise ValueError("it is one array, which must end with .npy")
        for name in archive.files:
            try:
                arrays[name] = archive[name]
            except ValueError as error:
                if "allow_pickle" not in str(error):
                    raise
                said.append(f"{name} left out, since it holds Python objects")
    columns, more = _from_arrays(arrays, path, reading)
    return columns, said + more


def _load(file: Path | IO[bytes]) -> Any:
    try:
        return np.load(file, allow_pickle=False)
    except Exception as error:  # whatever the parser of its header meets
        is_other = "allow_pickle" in str(error)
        raise ValueError("it is no array of NumPy, or holds Python objects" if is_other else str(error)) from error


def _from_arrays(arrays: Mapping[str, np.ndarray], path: Path, reading: Reading) -> tuple[Columns, list[str]]:
    """Name the columns of named arrays; those that do not hold one row a point are left out, with a remark."""
    places = [name for name in arrays if ARRAYS.get(name.lower()) == POSITION]
    if not places and set(POSITION) <= {canonical(name) for name in arrays}:
        count = max(array.size for name, array in arrays.items() if canonical(name) in POSITION)
        columns, said = Columns(), list[str]()
    elif places or len(arrays) == 1:
        table = arrays[(places or list(arrays))[0]]
        columns, said = named_columns(table, path, reading)
        count = len(table)
    else:
        held = ", ".join(arrays) or "nothing"
        raise ValueError(f"it must hold pos, points, xyz, coord or data, or one array alone, and holds {held}")
    pairs: list[tuple[str, np.ndarray]] = []
    for name, array in arrays.items():
        meaning = ARRAYS.get(name.lower())
        if meaning in (COLOR, NORMAL) and array.ndim == 2 and array.shape[1] in (3, 4) and len(array) == count:
            columns |= {one: array[:, c] for c, one in enumerate(meaning)}
        elif meaning is None and array.size == count and array.dtype.kind in "fiu":
            pairs.append((name, array.reshape(-1)))
        elif meaning in (COLOR, NORMAL) or (canonical(name) in NAMES and array.size > 1):
            said.append(f"{name} left out, since it must hold one row for each of {count:,} points, got {array.shape}")
    return columns | name_columns(pairs), said


def read_h5(path: Path, reading: Reading) -> tuple[Columns, list[str]]:
    """Read the first cloud of the dataset `data`, (N, P, C) or (P, C), and what other datasets say of its points."""
    import h5py

    with h5py.File(path, "r") as file:
        sets = {name: one for name, one in file.items() if isinstance(one, h5py.Dataset)}
        if "data" not in sets:
            raise ValueError(
                f"it must hold the dataset data (N, P, 3), it holds {', '.join(sorted(file)) or 'nothing'}"
            )
        shape = sets["data"].shape
        if len(shape) not in (2, 3) or not all(shape):
            raise ValueError(f"its data must be (clouds, points, 3) or (points, 3), got {shape}")
        first = 0 if len(shape) == 3 else slice(None)
        known = [name for name, one in sets.items() if one.ndim and len(one) == shape[0] and _is_known(name)]
        arrays = {name: np.asarray(sets[name][first]) for name in known}
    remarks = [f"it holds {shape[0]:,} clouds; the first one was read"] if first == 0 and shape[0] > 1 else []
    columns, more = _from_arrays(arrays, path, reading)
    return columns, remarks + more


def _is_known(name: str) -> bool:
    """Whether a dataset holds positions or a feature of each point."""
    meaning = ARRAYS.get(name.lower())
    return name == "data" or meaning in (COLOR, NORMAL) or (meaning is None and canonical(name) in NAMES)


def read_bin(path: Path, reading: Reading) -> tuple[Columns, list[str]]:
    """Read rows of float32: x y z intensity as in KITTI, a ring more in nuScenes, or what `columns` names."""
    names = reading.columns or (NUSCENES if path.name.lower().endswith(NUSCENES_ENDING) else KITTI)
    size, row = path.stat().st_size, KITTI_BYTES * len(names)
    if size % row:
        raise ValueError(
            f"it must hold rows of {len(names)} float32 ({' '.join(names)}), {row} bytes each, and has {size:,} bytes, "
            f"{size % row} more than {size // row:,} rows; is it cut short, or has it other columns (--columns)?"
        )
    table = np.fromfile(path, "<f4").reshape(-1, len(names))
    said = []
    if reading.columns is None and (table[:, 3] < 0).any():
        said.append("column 4 was read as the intensity and is below 0; has it other columns (--columns)?")
    return name_columns([(name, table[:, c]) for c, name in enumerate(names)]), said
