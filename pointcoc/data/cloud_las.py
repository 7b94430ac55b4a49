"""Clouds of lidar, .las and .laz."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from pointcoc.checks import import_extra
from pointcoc.data.cloud_columns import COLOR, EXTRA, NORMAL, POSITION, Columns, Reading

HEADER = 227
"""Bytes of the shortest header."""
NEW_HEADER = 375
"""Bytes of that of LAS 1.4."""
RECORD = 54
"""Bytes of the shortest further record."""
COMPRESSED = 0x80
"""Bit of the point format that says so."""


def read_las(path: Path, reading: Reading) -> tuple[Columns, list[str]]:
    """Read the points of a .las or .laz file: scaled positions, colors, intensity, return numbers, classification."""
    laspy = import_extra("laspy", EXTRA, "LAS files need")
    if path.suffix.lower() == ".laz":
        import_extra("lazrs", EXTRA, "LAZ files need")
    _check_header(path)
    try:
        las = laspy.read(path)
    except Exception as error:  # laspy and lazrs have classes of their own
        sentence = str(error) if " " in str(error) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{sentence}{_stated_points(laspy, path)}") from error
    if len(las.points) < las.header.point_count:
        raise ValueError(
            f"it says {las.header.point_count:,} points and holds {len(las.points):,}: the file is cut short"
        )
    said: list[str] = []
    columns: Columns = {name: np.asarray(getattr(las, name)) for name in POSITION}
    held = set(las.point_format.dimension_names)
    if set(COLOR) <= held:
        color = {name: np.asarray(las[name]) for name in COLOR}
        if any(values.any() for values in color.values()):
            columns |= color
        else:
            said.append("its colors are all 0, which stands for none: left out")
    for name in ("intensity", "return_number", *NORMAL):
        if name in held:
            columns[name] = np.asarray(las[name])
    columns["label"] = np.asarray(las["label" if "label" in held else "classification"]).astype(np.int64)
    return columns, said


def _check_header(path: Path) -> None:
    """Check what would otherwise be an error of no use or, where a number of records is damaged, take all memory."""
    with path.open("rb") as file:
        head = file.read(NEW_HEADER)
    if head[:4] != b"LASF":
        raise ValueError(f"it must begin with LASF, got {head[:4]!r}")
    stated = int.from_bytes(head[94:96], "little")
    if len(head) < HEADER or path.stat().st_size < stated:
        size = path.stat().st_size
        raise ValueError(f"its header must have {stated or HEADER} bytes, the file has {size}: it is cut short")
    points, records = (int.from_bytes(head[at : at + 4], "little") for at in (96, 100))
    if records * RECORD > max(points - stated, 0):
        raise ValueError(
            f"its header is damaged: it says {records:,} records before the points, which do not fit there"
        )
    if stated >= NEW_HEADER:
        further = int.from_bytes(head[243:247], "little")
        if further * RECORD > path.stat().st_size:
            raise ValueError(f"its header is damaged: it says {further:,} records behind the points, more than fit")
    if head[104] & COMPRESSED:
        _check_chunks(path, points)


def _check_chunks(path: Path, start: int) -> None:
    """Check that the list of compressed chunks, if there is one, is not longer than the file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(start)
        place = int.from_bytes(file.read(8), "little", signed=True)
        if place == -1:  # written as a stream: the place follows the points
            file.seek(max(size - 8, 0))
            place = int.from_bytes(file.read(8), "little", signed=True)
        if not start < place <= size - 8:
            return  # lazrs says what is wrong
        file.seek(place + 4)
        if int.from_bytes(file.read(4), "little") > size:
            raise ValueError("its list of compressed chunks is damaged")


def _stated_points(laspy: Any, path: Path) -> str:
    """Say how many points a damaged file should hold, if its header can be read."""
    with suppress(Exception), laspy.open(path) as file:
        header = file.header
        size = path.stat().st_size - header.offset_to_point_data
        held = "" if header.are_points_compressed else f" and holds {size // header.point_format.size:,}"
        return f"; it says {header.point_count:,} points{held}: is the file cut short or damaged?"
    return ""
