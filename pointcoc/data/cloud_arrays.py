"""Clouds in arrays: .npy, .npz, HDF5, and the raw floats of KITTI."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pointcoc.data.cloud_columns import COLOR, NORMAL, POSITION, Columns, Reading, canonical, check_table, named_columns

ARRAYS = {
    "pos": POSITION, "points": POSITION, "xyz": POSITION, "coord": POSITION, "coords": POSITION, "positions": POSITION,
    "data": POSITION, "color": COLOR, "colors": COLOR, "rgb": COLOR, "normal": NORMAL, "normals": NORMAL,
}  # fmt: skip
"""Names of arrays in an archive, and what their columns are."""
KITTI = ("x", "y", "z", "intensity")
KITTI_BYTES = 4


def read_npy(path: Path, reading: Reading) -> tuple[Columns, list[str]]:
    """Read a table (N, C), or a structured array whose fields have names."""
    table = np.load(path, allow_pickle=False)
    if table.dtype.names is None:
        return named_columns(table, path, reading)
    return {canonical(name): np.atleast_1d(table[name]) for name in table.dtype.names}, []


def read_npz(path: Path, reading: Reading) -> tuple[Columns, list[str]]:
    """Read an archive of arrays: positions under a name of `ARRAYS` or alone, colors, normals, intensity, labels."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    places = [name for name in arrays if ARRAYS.get(name.lower()) == POSITION]
    if not places and len(arrays) == 1:
        places = list(arrays)
    if not places:
        raise ValueError(
            f"it must hold pos, points, xyz, coord or data, or one array alone, and holds {', '.join(arrays)}"
        )
    table = arrays[places[0]]
    columns, remarks = named_columns(table, path, reading)
    for name, array in arrays.items():
        meaning = ARRAYS.get(name.lower())
        if meaning in (COLOR, NORMAL) and array.shape == (len(table), 3):
            columns |= {one: array[:, c] for c, one in enumerate(meaning)}
        elif meaning is None and array.size == len(table) and array.dtype.kind in "fiu":
            columns[canonical(name)] = array.reshape(-1)
    return columns, remarks


def read_h5(path: Path, reading: Reading) -> tuple[Columns, list[str]]:
    """Read the first cloud of the dataset `data`, (N, P, C) or (P, C)."""
    import h5py

    with h5py.File(path, "r") as file:
        if "data" not in file:
            raise ValueError(
                f"it must hold the dataset data (N, P, 3), it holds {', '.join(sorted(file)) or 'nothing'}"
            )
        data = file["data"]
        table = data[0] if data.ndim == 3 else data[:]
        remarks = [f"it holds {len(data):,} clouds; the first one was read"] if data.ndim == 3 and len(data) > 1 else []
    columns, more = named_columns(table, path, reading)
    return columns, remarks + more


def read_bin(path: Path, reading: Reading) -> tuple[Columns, list[str]]:
    """Read rows of float32: x y z intensity as KITTI stores them, or what `columns` names."""
    names = reading.columns or KITTI
    size, row = path.stat().st_size, KITTI_BYTES * len(names)
    if size % row:
        raise ValueError(
            f"it must hold rows of {len(names)} float32 ({' '.join(names)}), {row} bytes each, and has {size:,} bytes, "
            f"{size % row} more than {size // row:,} rows; is it cut short, or has it other columns (--columns)?"
        )
    table = check_table(np.fromfile(path, "<f4").reshape(-1, len(names)))
    return {canonical(name): table[:, c] for c, name in enumerate(names) if name != "_"}, []
