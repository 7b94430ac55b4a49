"""Writes clouds with the class of each point: LAS, LAZ and PLY with all that their file held, others as colored PLY."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from pointcoc.checks import import_extra
from pointcoc.data.class_colors import class_colors
from pointcoc.data.cloud import Cloud
from pointcoc.data.cloud_columns import COLOR, canonical
from pointcoc.data.cloud_packages import EXTRA
from pointcoc.files import atomic

CLASS, SCORE = "label", "score"
MOST_CODES = {"old": 31, "new": 255}
"""Largest classification of LAS point formats 0 to 5, and of those from 6 on."""
FIRST_NEW_FORMAT = 6


@dataclass(frozen=True, eq=False)
class Labeled:
    """A cloud with classes.

    Args:
        pos: coordinates as they were read, shape (N, 3), float64.
        classes: shape (N,), int64.
        scores: probability of each of these classes, shape (N,), float32; None if it is not known.
        cloud: the cloud as its file has it; None if it did not come from one.
    """

    pos: Tensor
    classes: Tensor
    scores: Tensor | None = None
    cloud: Cloud | None = None


def write_cloud(target: str | Path, found: Labeled, num_classes: int, codes: Sequence[int] | None = None) -> Path:
    """Write a cloud with the class of each point, in the format of its file if that is LAS, LAZ or PLY, else as PLY.

    Of LAS and LAZ all fields stay and `classification` holds the class, or, where it is too large for the point format,
    the extra dimension `label`; of PLY all properties stay and `label` joins them, with colors of the classes where the
    file has none. Points that the reader dropped are not written. With scores there is a field `score`.

    Args:
        target: file to write, without an ending.
        found: points and classes.
        num_classes: number of classes.
        codes: number that the file shall hold for each class; the number of the class itself by default.

    Returns:
        The file.

    Raises:
        ImportError: if a package of the extra `clouds` is missing.
    """
    values = found.classes.numpy() if codes is None else np.asarray(codes)[found.classes.numpy()]
    source = None if found.cloud is None else found.cloud.path
    ending = "" if source is None else source.suffix.lower()
    path = Path(f"{target}{ending if ending in ('.las', '.laz') else '.ply'}")
    if ending in (".las", ".laz"):
        _write_las(path, found, values)
    elif ending == ".ply":
        _write_ply_fields(path, found, values, num_classes)
    else:
        _write_plain(path, found, values, num_classes)
    return path


def write_ply(path: str | Path, cloud: Labeled, num_classes: int) -> None:
    """Write a binary PLY file: x, y, z, red, green, blue of the class, and `label`, the class itself.

    Args:
        path: file to write.
        cloud: points and classes.
        num_classes: number of classes.
    """
    _write_plain(Path(path), cloud, cloud.classes.numpy(), num_classes)


def _write_plain(path: Path, found: Labeled, values: np.ndarray, num_classes: int) -> None:
    names = [("x", "<f8"), ("y", "<f8"), ("z", "<f8"), *((name, "u1") for name in COLOR), (CLASS, "<i4")]
    colors = class_colors(num_classes)[found.classes].numpy()
    columns = [*found.pos.numpy().T, *colors.T, values]
    if found.scores is not None:
        names, columns = [*names, (SCORE, "<f4")], [*columns, found.scores.numpy()]
    table = np.rec.fromarrays(columns, dtype=names)
    kinds = {"<f8": "double", "u1": "uchar", "<i4": "int", "<f4": "float"}
    properties = "".join(f"property {kinds[kind]} {name}\n" for name, kind in names)
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(table)}\n{properties}end_header\n"
    with atomic(path) as temporary:
        temporary.write_bytes(head.encode() + table.tobytes())


def _write_ply_fields(path: Path, found: Labeled, values: np.ndarray, num_classes: int) -> None:
    """Write a PLY file back with all properties of its vertices, and its other elements where no point was dropped."""
    assert found.cloud is not None and found.cloud.path is not None
    plyfile = import_extra("plyfile", EXTRA, "PLY files need")
    stored = plyfile.PlyData.read(str(found.cloud.path))
    vertex = stored["vertex"].data
    rows = found.cloud.rows
    vertex = vertex if rows is None else vertex[rows.numpy()]
    added: dict[str, np.ndarray] = {CLASS: values.astype("<i4")}
    if found.scores is not None:
        added[SCORE] = found.scores.numpy()
    if not set(COLOR) <= {canonical(name) for name in vertex.dtype.names}:
        colors = class_colors(num_classes)[found.classes].numpy().astype(np.uint8)
        added = {**{name: colors[:, c] for c, name in enumerate(COLOR)}, **added}
    kept = [name for name in vertex.dtype.names if name not in added]
    dtype: list[Any] = [*((name, vertex.dtype[name]) for name in kept), *((n, a.dtype) for n, a in added.items())]
    table = np.empty(len(vertex), dtype)
    for name in kept:
        table[name] = vertex[name]
    for name, column in added.items():
        table[name] = column
    elements = [
        plyfile.PlyElement.describe(table, "vertex") if one.name == "vertex" else one
        for one in stored.elements
        if one.name == "vertex" or rows is None
    ]
    written = plyfile.PlyData(
        elements, text=stored.text, byte_order=stored.byte_order, comments=stored.comments, obj_info=stored.obj_info
    )
    with atomic(path) as temporary:
        written.write(str(temporary))


def _write_las(path: Path, found: Labeled, values: np.ndarray) -> None:
    """Write a LAS or LAZ file back with all its fields."""
    assert found.cloud is not None and found.cloud.path is not None
    laspy = import_extra("laspy", EXTRA, "LAS files need")
    las = laspy.read(found.cloud.path)
    if found.cloud.rows is not None:
        las.points = las.points[found.cloud.rows.numpy()]
    is_new = las.header.point_format.id >= FIRST_NEW_FORMAT
    if values.max(initial=0) <= MOST_CODES["new" if is_new else "old"]:
        las.classification = values
    else:
        las.add_extra_dim(laspy.ExtraBytesParams(name=CLASS, type=np.int32))
        las[CLASS] = values
    if found.scores is not None:
        if SCORE not in set(las.point_format.dimension_names):
            las.add_extra_dim(laspy.ExtraBytesParams(name=SCORE, type=np.float32))
        las[SCORE] = found.scores.numpy()
    with atomic(path) as temporary, temporary.open("wb") as file:
        las.write(file, do_compress=path.suffix.lower() == ".laz")
