"""Scanned rooms with the class of each point, in the layout of S3DIS: `Area_N/ROOM/Annotations/CLASS_NUMBER.txt`.

A file of Annotations holds one object, a row `x y z r g b` a point: meters, colors 0 to 255. A room may also come as
one array `Area_N/ROOM.npy` with rows `x y z r g b class`, which is what the cache of this module holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_geometric.data import Data

from pointcoc.checks import check_folder
from pointcoc.data.mask_folder import IGNORE
from pointcoc.files import atomic, first_line

S3DIS_CLASSES = (
    "ceiling", "floor", "wall", "beam", "column", "window", "door", "table", "chair", "sofa", "bookcase", "board",
    "clutter",
)  # fmt: skip
OTHER = "clutter"
"""Class of objects whose name is none of the list, such as the stairs of S3DIS; without it in the list, ignored."""


class SceneFolder(Dataset):
    """Rooms of some areas: item i has `pos` (N, 3) in meters, `x` (N, 6) = position and color, `y` (N,).

    Positions begin at the lowest corner of the room, colors are in [-0.5, 0.5], the first three columns of `x` are
    positions relative to the middle of the room's floor. Text is parsed once: with `cache` the room is read from there
    the next time.

    Args:
        path: folder that holds the areas.
        areas: names of the folders to read, such as ("Area_1", "Area_2").
        classes: names of the classes, those of S3DIS by default.
        cache: folder for the parsed rooms; None parses text at every visit.
        transform: maps an item to what the data set returns.

    Attributes:
        rooms: the folder or file of each room.

    Raises:
        FileNotFoundError: if an area is missing or holds no rooms.
        ValueError: when an item is read whose files hold no points, other columns, values that are no numbers, or
            unknown classes; the message names file and row.
    """

    def __init__(
        self,
        path: str | Path,
        areas: Sequence[str],
        *,
        classes: Sequence[str] = S3DIS_CLASSES,
        cache: str | Path | None = None,
        transform: Callable[[Data], Data] | None = None,
    ) -> None:
        if isinstance(areas, str) or not areas:
            raise ValueError(f"areas must hold names of folders, such as ('Area_1', 'Area_2'), got {areas!r}")
        root = check_folder("path", path)
        self.rooms = [room for area in areas for room in _rooms(check_folder("path/AREA", root / area))]
        self.classes = tuple(classes)
        self.cache = None if cache is None else Path(cache).expanduser()
        self.transform = transform

    def __len__(self) -> int:
        """Return the number of rooms."""
        return len(self.rooms)

    def source(self, index: int) -> str:
        """Return the folder or file of a room, for messages."""
        return str(self.rooms[index])

    def __getitem__(self, index: int) -> Data:
        """Return a room."""
        table = self._table(self.rooms[index])
        pos, x = scene_features(torch.from_numpy(table[:, :3]), torch.from_numpy(table[:, 3:6]))
        data = Data(x=x, pos=pos, y=torch.from_numpy(table[:, 6].astype(np.int64)))
        return data if self.transform is None else self.transform(data)

    def _table(self, room: Path) -> np.ndarray:
        """Read a room, shape (N, 7)."""
        if room.suffix == ".npy":
            return _read_array(room, len(self.classes))
        if self.cache is None:
            return _read_room(room, self.classes)
        kept = self.cache / room.parent.name / f"{room.name}.npy"
        if not kept.is_file():
            table = _read_room(room, self.classes).astype(np.float32)
            with atomic(kept, is_shared=True) as temporary, temporary.open("wb") as file:
                np.save(file, table)
        return _read_array(kept, len(self.classes))


def scene_features(pos: Tensor, color: Tensor) -> tuple[Tensor, Tensor]:
    """Return positions from the lowest corner, and features: position from the middle of the floor, and color.

    Args:
        pos: shape (N, 3), meters.
        color: shape (N, 3), 0 to 255; or (N, 0) for none.

    Returns:
        Float32 of shapes (N, 3) and (N, 6), or (N, 3) without color.
    """
    pos = (pos - pos.amin(0)).float()
    middle = torch.cat([(pos.amax(0) / 2)[:2], pos.new_zeros(1)])
    return pos, torch.cat([pos - middle, color.float() / 255 - 0.5], dim=1)


def _rooms(area: Path) -> list[Path]:
    """Rooms of an area: arrays, and folders with Annotations that have no array beside them."""
    folders = [one.parent for one in area.glob("*/Annotations")]
    rooms = sorted(area.glob("*.npy")) + sorted(one for one in folders if not (area / f"{one.name}.npy").exists())
    if not rooms:
        raise FileNotFoundError(f"{area} must hold rooms: ROOM/Annotations/*.txt or ROOM.npy, and holds neither")
    return rooms


def _read_room(room: Path, classes: Sequence[str]) -> np.ndarray:
    files = sorted((room / "Annotations").glob("*.txt"))
    if not files:
        raise ValueError(f"{room / 'Annotations'} must hold objects CLASS_NUMBER.txt, got none")
    return np.concatenate([np.insert(_read_object(file), 6, _class_of(file, classes), axis=1) for file in files])


def _class_of(file: Path, classes: Sequence[str]) -> int:
    numbers = {name: number for number, name in enumerate(classes)}
    return numbers.get(file.stem.rpartition("_")[0], numbers.get(OTHER, IGNORE))


def _read_object(file: Path) -> np.ndarray:
    """Read rows `x y z r g b`, shape (N, 6); the fast reader first, then row by row to say what is wrong."""
    with suppress(ValueError):
        table = np.loadtxt(file, ndmin=2)
        if table.size and table.shape[1] == 6 and np.isfinite(table).all():
            return table
    lines = file.read_text(errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        if line.strip() and not _is_row(line):
            raise ValueError(f"{file} must hold six finite numbers x y z r g b in each row, row {number} is {line!r}")
    raise ValueError(f"{file} must hold points, rows of x y z r g b, got {len(lines)} empty rows")


def _is_row(line: str) -> bool:
    try:
        values = [float(value) for value in line.split()]
    except ValueError:
        return False
    return len(values) == 6 and bool(np.isfinite(values).all())


def _read_array(path: Path, num_classes: int) -> np.ndarray:
    try:
        table = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} cannot be read as an array of NumPy: {first_line(error)}") from error
    if table.ndim != 2 or table.shape[1] != 7 or table.dtype.kind not in "fiu" or not len(table):
        raise ValueError(f"{path} must hold rows x y z r g b class, got {table.dtype} {table.shape}")
    label = table[:, 6]
    bad = ~np.isfinite(table).all(1) | ((label != IGNORE) & ((label < 0) | (label >= num_classes) | (label % 1 != 0)))
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"{path} must hold finite numbers and classes 0 to {num_classes - 1}, or {IGNORE} to ignore, row {row} is "
            f"{table[row].tolist()}"
        )
    return table
