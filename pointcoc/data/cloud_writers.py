"""Writes clouds with the class of each point: LAS, LAZ and PLY with all that their file held, others as colored PLY."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from pointcoc.checks import InputWarning, import_extra
from pointcoc.data.class_colors import class_colors
from pointcoc.data.cloud import Cloud
from pointcoc.data.cloud_columns import COLOR, EXTRA, POSITION, canonical
from pointcoc.files import atomic, first_line

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
        ImportError: if a package of the extra `clouds` is missing that the file needs.

    Warns:
        InputWarning: if fields of a PLY file are not written.
    """
    values = found.classes.numpy() if codes is None else np.asarray(codes)[found.classes.numpy()]
    source = None if found.cloud is None else found.cloud.path
    ending = "" if source is None else source.suffix.lower()
    path = Path(f"{target}{written_ending(source)}")
    if ending in (".las", ".laz"):
        _write_las(path, found, values)
    elif ending == ".ply":
        _write_ply_fields(path, found, values, num_classes)
    else:
        _write_plain(path, found, values, num_classes)
    return path


def written_ending(source: Path | None) -> str:
    """Return the ending of the file that `write_cloud` makes of the cloud of a file."""
    ending = "" if source is None else source.suffix.lower()
    return ending if ending in (".las", ".laz") else ".ply"


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
    """Write a PLY file back with all properties of its vertices, and its other elements where no point was dropped.

    Without plyfile, and where plyfile does not understand what was read here, positions and classes are written.
    """
    assert found.cloud is not None and found.cloud.path is not None
    source, rows = found.cloud.path, found.cloud.rows
    try:
        plyfile = import_extra("plyfile", EXTRA, "they need")
        stored = plyfile.PlyData.read(str(source))
    except (ImportError, ValueError, _ply_error()) as error:
        _warn(source, f"its further fields were left out of {path}: {first_line(error)}")
        return _write_plain(path, found, values, num_classes)
    vertex = stored["vertex"].data
    vertex = vertex if rows is None else vertex[rows.numpy()]
    if rows is not None and len(stored.elements) > 1:
        names = ", ".join(one.name for one in stored.elements if one.name != "vertex")
        _warn(source, f"left out of {path}, since points were dropped: {names}")
    elements = [
        plyfile.PlyElement.describe(_labeled_table(vertex, found, values, num_classes), "vertex")
        if one.name == "vertex"
        else one
        for one in stored.elements
        if one.name == "vertex" or rows is None
    ]
    written = plyfile.PlyData(
        elements, text=stored.text, byte_order=stored.byte_order, comments=stored.comments, obj_info=stored.obj_info
    )
    with atomic(path) as temporary:
        written.write(str(temporary))
    return None


def _ply_error() -> type[Exception]:
    """Return what plyfile raises at a file that it does not understand."""
    try:
        return import_extra("plyfile", EXTRA).PlyParseError
    except ImportError:
        return ImportError


def _labeled_table(vertex: np.ndarray, found: Labeled, values: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the properties of vertices beside their class, its color where they have none, and its score."""
    added: dict[str, np.ndarray] = {CLASS: values.astype("<i4")}
    if found.scores is not None:
        added[SCORE] = found.scores.numpy()
    if not set(COLOR) <= {canonical(name) for name in vertex.dtype.names or ()}:
        colors = class_colors(num_classes)[found.classes].numpy().astype(np.uint8)
        added = {**{name: colors[:, c] for c, name in enumerate(COLOR)}, **added}
    columns = {name: vertex[name] for name in vertex.dtype.names or () if name not in added}
    for name in columns:
        if canonical(name) in POSITION:
            exact = found.pos[:, POSITION.index(canonical(name))].numpy()
            columns[name] = columns[name] if np.array_equal(columns[name], exact) else exact  # text holds more digits
    columns |= added
    table = np.empty(len(vertex), [(name, column.dtype) for name, column in columns.items()])
    for name, column in columns.items():
        table[name] = column
    return table


def _warn(source: Path, sentence: str) -> None:
    warnings.warn(f"{source}: {sentence}", InputWarning, stacklevel=2)


def _write_las(path: Path, found: Labeled, values: np.ndarray) -> None:
    """Write a LAS or LAZ file back with all its fields."""
    assert found.cloud is not None and found.cloud.path is not None
    laspy = import_extra("laspy", EXTRA, "LAS files need")
    las = laspy.read(found.cloud.path)
    held = set(las.point_format.dimension_names)
    if found.cloud.rows is not None:
        las.points = las.points[found.cloud.rows.numpy()]
    is_new = las.header.point_format.id >= FIRST_NEW_FORMAT
    fits = values.max(initial=0) <= MOST_CODES["new" if is_new else "old"]
    if fits:
        las.classification = values
    if not fits or CLASS in held:  # labels of the file would be taken for those that were found
        _set(las, CLASS, values.astype(np.int32))
    if found.scores is not None:
        _set(las, SCORE, found.scores.numpy())
    with atomic(path) as temporary, temporary.open("wb") as file:
        las.write(file, do_compress=path.suffix.lower() == ".laz")


def _set(las: Any, name: str, values: np.ndarray) -> None:
    """Set an extra dimension of a LAS file; one of that name is replaced, with its type."""
    laspy = import_extra("laspy", EXTRA, "LAS files need")
    if name in set(las.point_format.dimension_names):
        las.remove_extra_dim(name)
    las.add_extra_dim(laspy.ExtraBytesParams(name=name, type=values.dtype))
    las[name] = values
