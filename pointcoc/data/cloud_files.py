"""Files of clouds: one checked reader of every format, and colored PLY with the class of each point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pointcoc.checks import check_file
from pointcoc.data.class_colors import class_colors
from pointcoc.data.cloud import Cloud
from pointcoc.files import first_line

NPZ_NAMES = ("pos", "points", "data")
PLY_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}  # fmt: skip
COLORS = ("red", "green", "blue")
PLY_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True, eq=False)
class Labeled:
    """A cloud with classes.

    Args:
        pos: coordinates as they were read, shape (N, 3), float64.
        classes: shape (N,), int64.
    """

    pos: Tensor
    classes: Tensor


def read_points(path: str | Path, *, colors: bool = True) -> np.ndarray:
    """Read all points of a cloud file, shape (N, 3) or, with colors 0 to 255, (N, 6), float64.

    .npy, .npz, .h5 and text hold a row `x y z` or `x y z r g b` a point, further columns are left out; of .npz the
    array `pos`, `points` or `data` is read, or its only one, and of .h5 the first cloud of `data` (N, P, 3), the layout
    of ModelNet40; .ply may have red, green and blue.

    Args:
        path: the file.
        colors: whether to read them, where there are some.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged or no cloud, or holds no points or numbers that are not finite; the message names
            file and row.
    """
    path = Path(path)
    reader = CLOUD_READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"{path} is no cloud by its name; a cloud ends with {', '.join(CLOUD_READERS)}")
    check_file(path)
    try:
        table = np.asarray(reader(path))
    except (OSError, ValueError, KeyError, EOFError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be read as a cloud: {first_line(error)}") from error
    return _checked(table, path, colors)


def read_cloud(path: str | Path, *, columns: Sequence[str] | None = None, decimal: str = ".") -> Cloud:
    """Read a cloud file.

    Args:
        path: the file.
        columns: names of the columns of text and arrays.
        decimal: decimal mark of text.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read; the message names file and row.
    """
    table = torch.from_numpy(read_points(path))
    features = {"color": (table[:, 3:6] / 255).float()} if table.shape[1] >= 6 else {}
    return Cloud(pos=table[:, :3].clone(), features=features, path=Path(path))


def _checked(table: np.ndarray, path: Path, colors: bool) -> np.ndarray:
    if table.dtype.kind not in "fiu" or table.ndim != 2 or (len(table) and table.shape[1] < 3):
        raise ValueError(f"{path} must hold one row of at least 3 numbers a point, got {table.shape} of {table.dtype}")
    if len(table) == 0:
        raise ValueError(f"{path} is a cloud with 0 points; give at least one")
    table = table[:, : 6 if colors and table.shape[1] >= 6 else 3].astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(table).all(1))
    if len(bad):
        raise ValueError(f"{path} must hold finite numbers, got {table[bad[0]].tolist()} in row {bad[0]}")
    return table


def write_ply(path: str | Path, cloud: Labeled, num_classes: int) -> None:
    """Write a binary PLY file: x, y, z, red, green, blue of the class, and `label`, the class itself.

    Args:
        path: file to write.
        cloud: points and classes.
        num_classes: number of classes.
    """
    names = [("x", "<f8"), ("y", "<f8"), ("z", "<f8"), ("red", "u1"), ("green", "u1"), ("blue", "u1"), ("label", "<i4")]
    colors = class_colors(num_classes)[cloud.classes]
    table = np.rec.fromarrays([*cloud.pos.numpy().T, *colors.numpy().T, cloud.classes.numpy()], dtype=names)
    kinds = {"<f8": "double", "u1": "uchar", "<i4": "int"}
    properties = "".join(f"property {kinds[kind]} {name}\n" for name, kind in names)
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(table)}\n{properties}end_header\n"
    Path(path).write_bytes(head.encode() + table.tobytes())


def read_npz(path: Path) -> np.ndarray:
    """Read the array `pos`, `points` or `data` of an archive of NumPy, or the only one."""
    with np.load(path, allow_pickle=False) as archive:
        names = [name for name in NPZ_NAMES if name in archive.files] or archive.files
        if len(names) != 1 and names[0] not in NPZ_NAMES:
            raise ValueError(f"it must hold pos, points or data, or one array alone, and holds {', '.join(names)}")
        return archive[names[0]]


def read_text(path: Path) -> np.ndarray:
    """Read numbers in rows, between spaces or commas; lines that begin with # or // are left out."""
    lines = [line.replace(",", " ") for line in path.read_text().splitlines()]
    rows = [line.split() for line in lines if line.strip() and not line.lstrip().startswith(("#", "//"))]
    if rows and len(rows[0]) == 1 and rows[0][0].isdigit():  # .xyz and .pts may begin with the number of points
        rows = rows[1:]
    width = 6 if rows and min(map(len, rows)) >= 6 else 3  # with the colors, or with none
    return np.array([[float(value) for value in row[:width]] for row in rows]).reshape(len(rows), -1 if rows else 3)


def read_h5(path: Path) -> np.ndarray:
    """Read the first cloud of the dataset `data`, (N, P, 3) or (P, 3)."""
    import h5py

    with h5py.File(path, "r") as file:
        if "data" not in file:
            raise ValueError(
                f"it must hold the dataset data (N, P, 3), it holds {', '.join(sorted(file)) or 'nothing'}"
            )
        data = file["data"]
        return data[0] if data.ndim == 3 else data[:]


def read_ply(path: Path) -> np.ndarray:
    """Read x, y, z and, where they are, red, green, blue of the vertices, which must come first, of a .ply file."""
    content = path.read_bytes()
    head, found, body = content.replace(b"end_header\r\n", b"end_header\n", 1).partition(b"end_header\n")
    if not found or not head.startswith(b"ply"):
        raise ValueError("it has no header of a .ply file")
    lines = [line.split() for line in head.decode("ascii", "replace").splitlines() if line.split()]
    encoding = next(line[1] for line in lines if line[0] == "format")
    count, names, types = _vertex(lines)
    wanted = [*"xyz", *(COLORS if set(COLORS) <= set(names) else ())]
    columns = [names.index(name) for name in wanted]
    if encoding == "ascii":
        rows = [line.split() for line in body.decode("ascii", "replace").splitlines()[:count]]
        return np.array([[float(row[c]) for c in columns] for row in rows]).reshape(-1, len(columns))
    dtype = np.dtype([(str(i), PLY_ORDERS[encoding] + one) for i, one in enumerate(types)])
    table = np.frombuffer(body, dtype, count)
    return np.stack([table[str(c)].astype(np.float64) for c in columns], axis=1)


def _vertex(lines: list[list[str]]) -> tuple[int, list[str], list[str]]:
    """Return the number of vertices, and names and types of their properties."""
    elements = [i for i, line in enumerate(lines) if line[0] == "element"]
    if not elements or lines[elements[0]][1] != "vertex":
        raise ValueError("its first element must be vertex")
    end = elements[1] if len(elements) > 1 else len(lines)
    properties = [line for line in lines[elements[0] + 1 : end] if line[0] == "property"]
    if any(line[1] not in PLY_TYPES for line in properties):
        raise ValueError("its vertices must have numbers as properties, no lists")
    return int(lines[elements[0]][2]), [line[2] for line in properties], [PLY_TYPES[line[1]] for line in properties]


CLOUD_READERS: dict[str, Callable[[Path], np.ndarray]] = {
    ".npy": np.load,
    ".npz": read_npz,
    ".ply": read_ply,
    ".xyz": read_text,
    ".txt": read_text,
    ".pts": read_text,
    ".h5": read_h5,
    ".hdf5": read_h5,
}
