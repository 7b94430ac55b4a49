"""Files of clouds: one checked reader of every format, by the ending of the name."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from pointcoc.checks import check_file
from pointcoc.data.cloud import Cloud
from pointcoc.data.cloud_arrays import read_bin, read_h5, read_npy, read_npz
from pointcoc.data.cloud_columns import Columns, Reading, to_cloud
from pointcoc.data.cloud_las import read_las
from pointcoc.data.cloud_mesh import read_mesh
from pointcoc.data.cloud_pcd import read_pcd
from pointcoc.data.cloud_ply import read_ply
from pointcoc.data.cloud_text import read_ptx, read_text
from pointcoc.data.cloud_writers import Labeled, write_cloud, write_ply
from pointcoc.files import first_line


def read_cloud(
    path: str | Path,
    *,
    columns: Sequence[str] | None = None,
    decimal: str = ".",
    num_points: int = 2048,
    seed: int = 0,
) -> Cloud:
    """Read a cloud, or sample one on a mesh; `CLOUD_READERS` lists the endings, docs/clouds.md the formats.

    Colors are scaled by the type that the file stores them in. In text and arrays without names, columns 4 to 6 are
    colors only where all of them are whole numbers from 0 to 255. Points that are NaN or infinite are dropped. Whatever
    was left out, dropped or repaired is a sentence in `remarks`.

    Args:
        path: the file.
        columns: names of the columns of text, arrays, HDF5 and .bin where the file does not tell them: x y z, r g b, nx
            ny nz, intensity, return_number, label, and _ for one to skip.
        decimal: decimal mark of text, "." or ",".
        num_points: points that are sampled on a mesh.
        seed: of that sampling.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no cloud by its name, or cannot be understood; the message names file and row.
        ImportError: if a package of the extra `clouds` is missing; the message says how to install it.
    """
    path = Path(path)
    reader = CLOUD_READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"{path} is no cloud by its name; a cloud ends with {', '.join(CLOUD_READERS)}")
    reading = Reading(
        columns=None if columns is None else tuple(columns), decimal=decimal, num_points=num_points, seed=seed
    )
    check_file(path)
    try:
        found, remarks = reader(path, reading)
        return to_cloud(found, remarks, path)
    except DAMAGED as error:
        raise ValueError(f"{path} cannot be read as a cloud: {first_line(error)}") from error


def read_points(path: str | Path, *, colors: bool = True) -> np.ndarray:
    """Read all points of a cloud file, shape (N, 3) or, with colors 0 to 255, (N, 6), float64; see `read_cloud`.

    Args:
        path: the file.
        colors: whether to read them, where there are some.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read.
    """
    cloud = read_cloud(path)
    if not colors or "color" not in cloud.features:
        return cloud.pos.numpy()
    color = (255 * cloud.features["color"].double()).round(decimals=3)
    return np.concatenate([cloud.pos.numpy(), color.numpy()], axis=1)


DAMAGED = (
    OSError, ValueError, LookupError, EOFError, TypeError, RuntimeError, ArithmeticError, MemoryError, BadZipFile,
    zlib.error, struct.error,
)  # fmt: skip
"""What readers and their packages raise at files that are damaged."""
__all__ = ["CLOUD_READERS", "MESHES", "Labeled", "read_cloud", "read_points", "write_cloud", "write_ply"]

Reader = Callable[[Path, Reading], tuple[Columns, list[str]]]
CLOUD_READERS: dict[str, Reader] = {
    ".ply": read_ply,
    ".las": read_las,
    ".laz": read_las,
    ".pcd": read_pcd,
    ".off": read_mesh,
    ".obj": read_mesh,
    ".stl": read_mesh,
    ".bin": read_bin,
    ".npy": read_npy,
    ".npz": read_npz,
    ".h5": read_h5,
    ".hdf5": read_h5,
    ".txt": read_text,
    ".xyz": read_text,
    ".asc": read_text,
    ".csv": read_text,
    ".pts": read_text,
    ".ptx": read_ptx,
}
MESHES = (".off", ".obj", ".stl")
"""Endings of meshes, whose points are sampled."""
