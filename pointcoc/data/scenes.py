"""Scenes with the class of each point, such as scanned rooms and aerial lidar, in the layouts that people have."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_geometric.data import Data

from pointcoc.checks import check_folder
from pointcoc.data.cached import cached, fingerprint
from pointcoc.data.cloud import STORED
from pointcoc.data.cloud_columns import Reading
from pointcoc.data.mask_folder import IGNORE
from pointcoc.data.scene_labels import Labels, SceneLabels, class_names
from pointcoc.data.scene_rooms import RoomFormat, find_rooms, read_room
from pointcoc.files import first_line

S3DIS_CLASSES = (
    "ceiling", "floor", "wall", "beam", "column", "window", "door", "table", "chair", "sofa", "bookcase", "board",
    "clutter",
)  # fmt: skip
FORMAT = 1
"""Version of what the cache holds of a room; rises when a reader returns something else."""
NOTED = ("y", "remarks", "names", "points")


@dataclass(frozen=True, kw_only=True)
class _Note:
    """What is remembered of a room that was read."""

    key: list[tuple[str, int, int]]
    counts: Tensor
    remarks: list[tuple[str, str]]
    left: dict[str, int] = field(default_factory=dict)
    error: Exception | None = None


class SceneFolder(Dataset):
    """Rooms, or scenes of any kind, of some areas: item i holds the points of one as its files have them.

    An item has `pos` (N, 3), float64, with the offset that the file stores, `y` (N,), int64, with `IGNORE` (-100) for
    points without a class, and what the files hold of `color` (N, 3) in [0, 1], `normal` (N, 3), `intensity` (N, 1) and
    `return_number` (N, 1), float32. An area is a folder of rooms in one of these layouts:

    - `ROOM/Annotations/CLASS_NUMBER.txt`: an object a file with rows `x y z r g b` (S3DIS).
    - `ROOM/coord.npy` with `segment.npy` and, if there are, `color.npy`, `normal.npy` and `strength.npy` (Pointcept).
    - `ROOM.npy`: rows `x y z r g b class`, or a structured array.
    - `ROOM.txt`: rows `x y z r g b label` or `x y z label`, or under a header that names the columns.
    - `ROOM.ply`, `.las`, `.laz`, `.pcd`, `.csv` and all other formats of `read_cloud` that hold a label.

    Args:
        path: folder that holds the areas.
        areas: names of the folders to read, such as ("Area_1", "Area_2").
        classes: names of the classes; None for the names in `labels`, in its order, if it holds numbers, or those of
            S3DIS.
        labels: the class, by name or number, of each stored number, such as {2: "ground", 5: "tree", 6: "building"} for
            LAS codes, and of names of objects, such as {"Floor": "floor"}; IGNORE stands for none. Where it holds
            numbers, every other stored number is an error. None: a stored number is that of the class. `parse_labels`
            reads "2=ground 5=tree".
        ignore: stored numbers that stand for no class, such as -1, 255 or 0, and names of classes that count nowhere.
        columns: names of the columns of text and arrays where the files do not tell them, see `read_cloud`.
        decimal: decimal mark of text.
        segment: name of the array of classes in folders of arrays, such as "segment20".
        cache: folder that keeps parsed rooms until a file of theirs, or one of these arguments, is another; None parses
            at every visit.
        transform: maps an item to what the data set returns.

    Attributes:
        rooms: the folder or file of each room.
        classes: names of the classes.

    Raises:
        FileNotFoundError: if an area is missing or holds no rooms.
        ValueError: if the classes, labels or columns contradict each other; when an item is read whose files are
            damaged, hold no classes, or a label that is no class; the message names file and row.
    """

    def __init__(
        self,
        path: str | Path,
        areas: Sequence[str],
        *,
        classes: Sequence[str] | None = None,
        labels: Labels | None = None,
        ignore: Collection[int | str] = (),
        columns: Sequence[str] | None = None,
        decimal: str = ".",
        segment: str = "segment",
        cache: str | Path | None = None,
        transform: Callable[[Data], Data] | None = None,
    ) -> None:
        if isinstance(areas, str) or not areas:
            raise ValueError(f"areas must hold names of folders, such as ('Area_1', 'Area_2'), got {areas!r}")
        root = check_folder("path", path)
        self.areas = tuple(areas)
        self.classes = class_names(classes, labels, S3DIS_CLASSES)
        self.cache = None if cache is None else Path(cache).expanduser()
        self.transform = transform
        self._labels = SceneLabels(classes=self.classes, labels=labels, ignore=tuple(ignore))
        given = Reading(columns=None if columns is None else tuple(columns), decimal=decimal)  # checks both
        self._format = RoomFormat(columns=given.columns, decimal=decimal, segment=segment)
        found = [find_rooms(check_folder("path/AREA", root / area)) for area in self.areas]
        self._rooms = [room for rooms, _ in found for room in rooms]
        self.rooms = [room.path for room in self._rooms]
        self._left_out = (*self._labels.remarks(), *(remark for _, remarks in found for remark in remarks))
        self._notes: dict[int, _Note] = {}

    @property
    def codes(self) -> tuple[int, ...] | None:
        """The stored number of each class, such as LAS codes, the lowest of several; None where it is the class."""
        if self._labels.is_plain:
            return None
        lowest = {number: stored for stored, number in sorted(self._labels.numbers.items(), reverse=True)}
        found = [lowest.get(number) for number in range(len(self.classes))]
        return None if None in found else tuple(found)  # type: ignore[arg-type]

    def __len__(self) -> int:
        """Return the number of rooms."""
        return len(self.rooms)

    def source(self, index: int) -> str:
        """Return the folder or file of a room, for messages."""
        return str(self.rooms[index])

    def __getitem__(self, index: int) -> Data:
        """Return a room."""
        arrays = self._arrays(range(len(self))[index])
        tensors = {name: torch.from_numpy(arrays[name]) for name in ("pos", "y", *STORED) if name in arrays}
        data = Data(**tensors)
        return data if self.transform is None else self.transform(data)

    def class_counts(self, max_bad: int = 0) -> Tensor:
        """Count the points of each class over all rooms, shape (num_classes,), int64.

        All rooms that have not been read, or were edited since, are read for it, in this process, so that `remarks`
        covers all of them.

        Args:
            max_bad: rooms that may be unreadable; they are left out with a remark.

        Raises:
            ValueError: if more of them cannot be read; see the class.
        """
        for index, room in enumerate(self._rooms):
            if index not in self._notes or self._notes[index].key != fingerprint(room.sources()):
                self._try_note(index)
        errors = [note.error for note in self._notes.values() if note.error is not None]
        if len(errors) > max_bad:
            raise errors[0]
        return torch.stack([self._notes[index].counts for index in range(len(self))]).sum(0)

    def empty_classes(self, max_bad: int = 0) -> tuple[str, ...]:
        """Return the names of the classes, but those to ignore, of which no room has a point.

        Args:
            max_bad: see `class_counts`.
        """
        counts, ignored = self.class_counts(max_bad), self._labels.ignored_classes
        return tuple(name for number, name in enumerate(self.classes) if not counts[number] and number not in ignored)

    def check_classes(self, max_bad: int = 0) -> Tensor:
        """Return `class_counts` if each class, but those to ignore, has points.

        Args:
            max_bad: see `class_counts`.

        Raises:
            ValueError: if a class has none; the message names it, and what was left out.
        """
        empty = self.empty_classes(max_bad)
        if empty:
            raise ValueError(
                f"every class must have points, and no room of {', '.join(self.areas)} has a point of "
                f"{', '.join(empty)}{''.join(f'; {sentence}' for sentence in self._unnamed())}"
            )
        return self.class_counts(max_bad)

    @property
    def remarks(self) -> tuple[str, ...]:
        """A sentence for all that was left out, dropped or repaired in the rooms read so far, in this process.

        `class_counts` reads them all. Sentences that differ in their file alone come once.
        """
        said: dict[str, list[str]] = {}
        for note in (self._notes[index] for index in sorted(self._notes)):
            for where, sentence in note.remarks:
                said.setdefault(sentence, []).append(where)
        of_files = [
            f"{files[0]}{f' and {len(files) - 1:,} more' if files[1:] else ''}: {sentence}"
            for sentence, files in said.items()
        ]
        return (*self._left_out, *self._unnamed(), *of_files)

    def _unnamed(self) -> list[str]:
        """Say which objects are none of the classes."""
        found: dict[str, list[int]] = {}
        for note in self._notes.values():
            for name, points in note.left.items():
                found.setdefault(name, []).append(points)
        where = ", ".join(self.areas)
        return [self._labels.explain(name, sum(points), len(points), where) for name, points in sorted(found.items())]

    def _try_note(self, index: int) -> None:
        """Read what there is to say about a room, be it that it cannot be read."""
        try:
            self._arrays(index, NOTED)
        except (OSError, ValueError) as error:
            room = self._rooms[index]
            remarks = [(str(room.path), f"left out, since it cannot be read: {first_line(error)}")]
            counts = torch.zeros(len(self.classes), dtype=torch.int64)
            self._notes[index] = _Note(key=fingerprint(room.sources()), counts=counts, remarks=remarks, error=error)

    def _arrays(self, index: int, only: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Read a room, and remember what there is to say about it."""
        room = self._rooms[index]
        sources = room.sources()
        key = fingerprint(sources)
        arrays = cached(
            self.cache if room.is_slow else None,
            room.path,
            sources,
            self._facts(),
            lambda: read_room(room, self._labels, self._format),
            only=only,
        )
        y = arrays["y"]
        self._notes[index] = _Note(
            key=key,
            counts=torch.from_numpy(np.bincount(y[y != IGNORE], minlength=len(self.classes))),
            remarks=[(where, sentence) for where, sentence in arrays["remarks"].tolist()],
            left=dict(zip(arrays["names"].tolist(), arrays["points"].tolist(), strict=True)),
        )
        return arrays

    def _facts(self) -> dict[str, object]:
        given = self._format
        columns = None if given.columns is None else list(given.columns)
        return {
            "scenes": FORMAT,
            "columns": columns,
            "decimal": given.decimal,
            "segment": given.segment,
            **self._labels.facts(),
        }


def scene_features(pos: Tensor, color: Tensor) -> tuple[Tensor, Tensor]:
    """Return positions from the lowest corner, and features: position from the middle of the floor, and color.

    Weights of scenes without a note read scenes so.

    Args:
        pos: shape (N, 3), meters.
        color: shape (N, 3), 0 to 255; or (N, 0) for none.

    Returns:
        Float32 of shapes (N, 3) and (N, 6), or (N, 3) without color.
    """
    pos = (pos - pos.amin(0)).float()
    middle = torch.cat([(pos.amax(0) / 2)[:2], pos.new_zeros(1)])
    return pos, torch.cat([pos - middle, color.float() / 255 - 0.5], dim=1)
