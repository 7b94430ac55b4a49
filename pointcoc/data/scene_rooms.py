"""Rooms of scenes on disk: which layouts there are, which files a room has, and how its points are read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pointcoc.data.cloud import Cloud
from pointcoc.data.cloud_columns import COLOR, NORMAL, POSITION, Columns, Reading, split_table, to_cloud
from pointcoc.data.cloud_files import CLOUD_READERS, MESHES, read_cloud
from pointcoc.data.cloud_text import decode, find_layout, read_text
from pointcoc.data.mask_folder import IGNORE
from pointcoc.data.scene_labels import SceneLabels
from pointcoc.files import first_line

OBJECT_COLUMNS = ("x", "y", "z", "r", "g", "b")
LABELED_COLUMNS = {4: ("x", "y", "z", "label"), 7: (*OBJECT_COLUMNS, "label")}
"""Columns of text without a header whose last one is the class; other numbers of columns must be named."""
FILES = tuple(ending for ending in CLOUD_READERS if ending not in (*MESHES, ".h5", ".hdf5"))
TEXT = (".txt", ".xyz", ".asc", ".csv")
LAS = (".las", ".laz")
NO_ROOMS = ("readme", "license")
"""Beginnings of names of text that lies beside rooms."""
FAST = (".npy", ".npz", ".bin")
"""Endings of files that are read as fast as the cache."""
NUMBER = re.compile(r"_\d+$")
STRAY = re.compile(r"(?<=[\d.])[\x00-\x08\x0b-\x1f\x7f-\xff\ufffd]+(?=[\d.])")
"""Bytes within a number, or between two."""


@dataclass(frozen=True, kw_only=True)
class RoomFormat:
    """What a caller says about the files of rooms.

    Args:
        columns: names of the columns of text and arrays, see `pointcoc.data.read_cloud`; None if the files tell them.
        decimal: decimal mark of text.
        segment: name of the array that holds the classes in folders of arrays.
    """

    columns: tuple[str, ...] | None = None
    decimal: str = "."
    segment: str = "segment"


@dataclass(frozen=True, kw_only=True)
class Room:
    """A room on disk.

    Args:
        path: its folder or file.
        layout: "objects" (a folder with Annotations), "arrays" (a folder with coord.npy) or "file".
    """

    path: Path
    layout: str

    @property
    def is_slow(self) -> bool:
        """Whether the room takes longer to parse than to read from a cache."""
        return self.layout == "objects" or (self.layout == "file" and self.path.suffix.lower() not in FAST)

    def objects(self) -> list[Path]:
        """Return the files of the objects of a room in Annotations."""
        return sorted(one for one in (self.path / "Annotations").glob("*.txt") if not one.name.startswith("."))

    def sources(self) -> list[Path]:
        """Return all files of the room."""
        if self.layout == "objects":
            return self.objects()
        return [self.path] if self.layout == "file" else sorted(self.path.glob("*.npy"))


def find_rooms(area: Path) -> tuple[list[Room], list[str]]:
    """Return the rooms of an area, by name, and what was left out.

    A file wins over a folder of the same name, and an array over other files.

    Raises:
        FileNotFoundError: if there are none.
    """
    found: dict[str, list[Room]] = {}
    others = []
    for path in sorted(area.iterdir(), key=_priority):
        layout = _layout(path)
        if layout is not None:
            found.setdefault(path.stem if layout == "file" else path.name, []).append(Room(path=path, layout=layout))
        elif path.is_dir() and not path.name.startswith("."):
            others.append(path.name)
    if not found:
        raise FileNotFoundError(
            f"{area} must hold rooms: ROOM/Annotations/CLASS_NUMBER.txt, ROOM/coord.npy with segment.npy, or "
            f"ROOM{', ROOM'.join(FILES)}, and holds none"
        )
    remarks = [
        f"{one.path} was left out: {rooms[0].path.name} is the same room"
        for rooms in found.values()
        for one in rooms[1:]
    ]
    if others:
        remarks.append(f"{area}: folders without Annotations or coord.npy were left out: {', '.join(others)}")
    return [found[name][0] for name in sorted(found)], remarks


def _layout(path: Path) -> str | None:
    if path.name.startswith("."):
        return None
    if path.is_dir():
        return "objects" if (path / "Annotations").is_dir() else "arrays" if (path / "coord.npy").is_file() else None
    is_room = path.suffix.lower() in FILES and not path.name.lower().startswith(NO_ROOMS)
    return "file" if is_room else None


def _priority(path: Path) -> tuple[bool, bool, str]:
    return path.is_dir(), path.suffix.lower() != ".npy", path.name


def read_room(room: Room, labels: SceneLabels, given: RoomFormat) -> dict[str, np.ndarray]:
    """Read the points of a room.

    Args:
        room: from `find_rooms`.
        labels: tells the class of each stored label.
        given: what is known about the files.

    Returns:
        `pos` (N, 3) float64 as stored, `y` (N,) int64, and each feature of `pointcoc.data.cloud.STORED` that the files
        hold, float32 (N, C); `remarks` (R, 2), a file and a sentence about it; `names` and `points` of the objects that
        are none of the classes.

    Raises:
        ValueError: if a file is damaged, or a label means nothing; the message names file and row.
    """
    if room.layout == "objects":
        return _read_objects(room, labels, given)
    cloud = _read_arrays(room.path, given.segment) if room.layout == "arrays" else _read_file(room.path, given)
    if cloud.label is None:
        reasons = "; ".join(one for one in cloud.remarks if "label" in one) or "it has no column of that meaning"
        raise ValueError(
            f"{room.path} must hold the class of each point, named label or class, and does not: {reasons}"
        )
    file = room.path if room.layout == "file" else room.path / f"{given.segment}.npy"
    rows = np.arange(len(cloud)) if cloud.rows is None else cloud.rows.numpy()
    y = labels.of_numbers(cloud.label.numpy(), lambda entry: f"{file}, row {rows[entry] + 1},")
    remarks = list(cloud.remarks)
    if room.path.suffix.lower() in LAS and labels.is_plain and (y != IGNORE).any():
        code = int(cloud.label.numpy()[y != IGNORE][0])
        remarks.append(
            f"its LAS codes are read as numbers of classes, such as {code} as {labels.classes[code]!r}, since labels "
            "do not tell what they mean"
        )
    return _arrays(cloud, y, [(room.path, remark) for remark in remarks], {})


def _arrays(
    cloud: Cloud, y: np.ndarray, remarks: Sequence[tuple[Path, str]], left: dict[str, int]
) -> dict[str, np.ndarray]:
    return {
        "pos": cloud.pos.numpy(),
        "y": y,
        **{name: values.numpy() for name, values in cloud.features.items()},
        "remarks": np.array([(str(where), said) for where, said in remarks], dtype=str).reshape(-1, 2),
        "names": np.array(list(left), dtype=str),
        "points": np.array(list(left.values()), dtype=np.int64),
    }


def _read_file(path: Path, given: RoomFormat) -> Cloud:
    if given.columns is None and path.suffix.lower() == ".npy":
        cloud = _read_table(path)
        if cloud is not None:
            return cloud
    columns = given.columns
    if columns is None and path.suffix.lower() in TEXT:
        columns = _text_columns(path, given.decimal)
    return read_cloud(path, columns=columns, decimal=given.decimal)


def _text_columns(path: Path, decimal: str) -> tuple[str, ...] | None:
    """Return the columns of text without a header; None if it has one."""
    text = decode(path.read_bytes())
    layout = find_layout(text, Reading(decimal=decimal))
    if layout.names is not None:
        return None
    line = next((one for one in text.split("\n")[layout.skip :] if one.strip()), "")
    words = [word for word in line.strip().split(layout.delimiter) if word.strip()]
    if words and len(words) not in LABELED_COLUMNS:
        raise ValueError(
            f"{path} must have the columns x y z r g b label, a header, or columns that are named, and has "
            f"{len(words)} columns without a header; name them, such as --columns x y z intensity label"
        )
    return LABELED_COLUMNS.get(len(words))


def _read_table(path: Path) -> Cloud | None:
    """Read rows x y z r g b class of an array; None if its columns have names."""
    table = _load(path)
    if table.dtype.names is not None:
        return None
    if table.ndim != 2 or table.shape[1] != 7 or table.dtype.kind not in "fiu" or not len(table):
        raise ValueError(
            f"{path} must hold rows x y z r g b class, or have columns that are named, got {table.dtype} {table.shape}"
        )
    label = table[:, 6]
    bad = np.isfinite(label) & (label % 1 != 0)
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(f"{path} must hold whole numbers as classes, row {row + 1} is {table[row].tolist()}")
    columns = {name: table[:, c] for c, name in enumerate(POSITION)}
    columns |= dict(zip(COLOR, to_unit(table[:, 3:6]).T, strict=True))
    return _to_cloud(columns | {"label": label}, [], path)


def _read_arrays(folder: Path, segment: str) -> Cloud:
    """Read a folder of arrays as Pointcept has them: coord, color, normal and strength, and the classes."""
    coord = _load(folder / "coord.npy")
    if coord.ndim != 2 or coord.shape[1] != 3 or coord.dtype.kind not in "fiu":
        raise ValueError(f"{folder / 'coord.npy'} must hold rows x y z, got {coord.dtype} {coord.shape}")
    held = sorted(one.stem for one in folder.glob("segment*.npy"))
    if segment not in held:
        raise ValueError(
            f"{folder} must hold the classes as {segment}.npy, and does not; of that kind it holds "
            f"{', '.join(held) or 'nothing'} (segment names another one)"
        )
    columns = {name: coord[:, c] for c, name in enumerate(POSITION)}
    for name, parts in (("color", COLOR), ("normal", NORMAL), ("strength", ("intensity",)), (segment, ("label",))):
        file = folder / f"{name}.npy"
        if file.is_file():
            values = _load(file)
            if values.dtype.kind not in "fiu" or values.size != len(coord) * len(parts) or len(values) != len(coord):
                raise ValueError(
                    f"{file} must hold {len(parts)} numbers for each of the {len(coord):,} points of coord.npy, got "
                    f"{values.dtype} {values.shape}"
                )
            values = values.reshape(len(coord), len(parts))
            columns |= dict(zip(parts, (to_unit(values) if name == "color" else values).T, strict=True))
    return _to_cloud(columns, [], folder)


def _read_objects(room: Room, labels: SceneLabels, given: RoomFormat) -> dict[str, np.ndarray]:
    """Read the objects of a room, a file each; the name of the file tells the class."""
    files = room.objects()
    folder = room.path / "Annotations"
    if not files:
        raise ValueError(f"{folder} must hold objects CLASS_NUMBER.txt, got none")
    others = sorted(one.name for one in folder.iterdir() if one not in files and not one.name.startswith("."))
    remarks = [(folder, f"{', '.join(others)} left out, since objects end with .txt")] if others else []
    tables: list[Columns] = []
    left: dict[str, int] = {}
    for file in files:
        columns, said = read_object(file, given.columns or OBJECT_COLUMNS, given.decimal)
        remarks += [(file, remark) for remark in said]
        name = NUMBER.sub("", file.stem)
        count = len(columns["x"])
        tables.append(columns | {"label": np.full(count, labels.of_name(name))})
        if name not in labels.names:
            left[name] = left.get(name, 0) + count
    joined = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    if set(COLOR) <= set(joined):
        color = to_unit(np.stack([joined[name] for name in COLOR], axis=1))
        joined |= dict(zip(COLOR, color.T, strict=True))
    y = joined.pop("label")
    cloud = _to_cloud(joined, [], room.path)
    return _arrays(cloud, y, remarks + [(room.path, remark) for remark in cloud.remarks], left)


def read_object(file: Path, names: Sequence[str], decimal: str = ".") -> tuple[Columns, list[str]]:
    """Read an object of a room; what can be repaired or dropped is, with a remark that names the row.

    Args:
        file: text with a row a point.
        names: names of the columns.
        decimal: decimal mark.

    Returns:
        The columns, all finite and of equal length, and the remarks.

    Raises:
        ValueError: if there are no points, or a row cannot be understood; the message names file and row.
    """
    try:
        if not file.read_bytes().strip():
            raise ValueError("it has 0 points; give at least one")
        columns, said = _read_columns(file, names, decimal)
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read as rows {' '.join(names)}: {first_line(error)}") from error
    good = np.isfinite(np.stack(list(columns.values()), axis=1)).all(1)
    if not good.any():
        raise ValueError(f"{file} must hold finite points, and none of its {len(good):,} is")
    if not good.all():
        dropped = (
            f"{int((~good).sum()):,} of {len(good):,} points are NaN or infinite and were dropped, the first in row"
        )
        said = [*said, f"{dropped} {int(good.argmin()) + 1}"]
        columns = {name: values[good] for name, values in columns.items()}
    return columns, said


def _read_columns(file: Path, names: Sequence[str], decimal: str) -> tuple[Columns, list[str]]:
    try:
        return read_text(file, Reading(columns=tuple(names), decimal=decimal))
    except ValueError:
        found = _read_split(file, names)
        if found is None:
            raise
        return found


def _read_split(file: Path, names: Sequence[str]) -> tuple[Columns, list[str]] | None:
    """Read rows of known length in which stray bytes are left out, or stand for a space; None if that is not enough."""
    rows, said = [], []
    for number, line in enumerate(decode(file.read_bytes()).replace("\r", "\n").split("\n"), 1):
        if not line.strip():
            continue
        ways = (line, STRAY.sub("", line), STRAY.sub(" ", line))
        read = [values for values in map(_row, ways) if values is not None and len(values) == len(names)]
        if not read:
            return None
        stray = STRAY.search(line)
        if stray is not None:
            said.append(
                f"row {number} had the byte 0x{ord(stray[0][0]):02x} and was read as {' '.join(map(repr, read[0]))}"
            )
        rows.append(read[0])
    return split_table(np.array(rows), names), said


def _row(line: str) -> list[float] | None:
    try:
        return [float(word) for word in line.split()]
    except ValueError:
        return None


def to_unit(color: np.ndarray) -> np.ndarray:
    """Scale colors (N, 3) of arrays and objects to [0, 1]: fractions stay, others are of 8 or of 16 bits.

    Args:
        color: shape (N, 3); larger numbers than those of 16 bits, and negative ones, stay for `to_cloud` to refuse.
    """
    if color.dtype == np.uint8:
        return color / 255.0
    finite = color[np.isfinite(color)]
    high = finite.max(initial=0)
    if finite.min(initial=0) < 0 or high > 65535 or (high <= 1 and color.dtype.kind == "f"):
        return color
    return color / (255.0 if high <= 255 else 65535.0)


def _load(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} cannot be read as an array of NumPy: {first_line(error)}") from error


def _to_cloud(columns: Columns, remarks: Sequence[str], path: Path) -> Cloud:
    try:
        return to_cloud(columns, remarks, path)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as a room: {error}") from error
