"""Columns of a cloud file: their names, and what they mean, whatever the format."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pointcoc.data.cloud import Cloud

POSITION, COLOR, NORMAL = ("x", "y", "z"), ("red", "green", "blue"), ("nx", "ny", "nz")
NAMES = (*POSITION, *COLOR, *NORMAL, "intensity", "return_number", "label")
"""What a column may be; every other name is left out."""
SKIP = "_"
EXTRA = "clouds"
"""Extra whose packages read formats."""
MOST_COLUMNS = 64
TRANSPOSED_ROWS, FEWEST_POINTS = 9, 12
"""A table of at most so many rows, and of more columns than that, holds one column a point."""
ALIASES = {
    "r": "red", "g": "green", "b": "blue", "diffuse_red": "red", "diffuse_green": "green", "diffuse_blue": "blue",
    "normal_x": "nx", "normal_y": "ny", "normal_z": "nz", "normalx": "nx", "normaly": "ny", "normalz": "nz",
    "reflectance": "intensity", "reflectivity": "intensity", "remission": "intensity", "strength": "intensity",
    "i": "intensity", "returnnumber": "return_number", "return_num": "return_number",
    "easting": "x", "northing": "y", "elevation": "z", "point_x": "x", "point_y": "y", "point_z": "z",
    "class": "label", "classification": "label", "labels": "label", "semantic": "label", "segment": "label",
}  # fmt: skip
UNIT = re.compile(r"[(\[].*?[)\]]")
"""A unit behind a name, such as [m]."""
Columns = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a caller says about a file.

    Args:
        columns: names of the columns that no file tells, of `NAMES` or their aliases; "_" skips one.
        decimal: decimal mark of text.
        num_points: points that are sampled on a mesh.
        seed: of that sampling.
    """

    columns: tuple[str, ...] | None = None
    decimal: str = "."
    num_points: int = 2048
    seed: int = 0

    def __post_init__(self) -> None:
        if self.decimal not in (".", ","):
            raise ValueError(f"decimal must be '.' or ',', got {self.decimal!r}")
        if self.columns is None:
            return
        names = [canonical(name) for name in self.columns]
        for given, name in zip(self.columns, names, strict=True):
            if name not in (*NAMES, SKIP):
                raise ValueError(
                    f"unknown column {given!r}; choose from {', '.join(NAMES)}, r, g, b, and {SKIP} to skip one"
                )
        if not set(POSITION) <= set(names):
            raise ValueError(f"columns must name x, y and z, got {' '.join(self.columns)}")
        twice = [name for name in NAMES if names.count(name) > 1]
        if twice:
            raise ValueError(f"columns must be named once each, got {twice[0]} {names.count(twice[0])} times")


def canonical(name: str) -> str:
    """Return the name of `NAMES` that a file or a person means, else the name in lower case."""
    plain = UNIT.sub("", name).strip().strip("\"'").lower().removeprefix("scalar_").replace(" ", "_")
    return ALIASES.get(plain, plain)


def split_table(table: np.ndarray, names: Sequence[str]) -> Columns:
    """Name the columns of a table (N, C).

    Raises:
        ValueError: if the names are not as many as the columns.
    """
    if len(names) != table.shape[1]:
        raise ValueError(f"columns names {len(names)} columns ({' '.join(names)}), and the file has {table.shape[1]}")
    return name_columns([(name, table[:, c]) for c, name in enumerate(names)])


def name_columns(pairs: Iterable[tuple[str, np.ndarray]]) -> Columns:
    """Name columns by the names that a file or a person gives them.

    Where two of them mean the same, such as label and classification, the one with a name of `NAMES` counts, else the
    first.

    Args:
        pairs: names and columns.

    Raises:
        ValueError: if a column is there twice under the same name.
    """
    columns: Columns = {}
    exact = set[str]()
    for given, values in pairs:
        name, is_exact = canonical(given), given.strip().lower() in NAMES
        if name in exact and is_exact:
            raise ValueError(f"it holds the column {name} twice")
        if name == SKIP or (name in columns and not is_exact):
            continue
        columns[name] = values
        exact |= {name} if is_exact else set()
    return columns


def cut_short(stated: int, held: int) -> ValueError:
    """Return the error for a file that says more points than it holds.

    Args:
        stated: number of points it says.
        held: number of points it holds.
    """
    return ValueError(f"it says {stated:,} points and holds {held:,}: the file is cut short after row {held}")


def guess_columns(table: np.ndarray, path: Path) -> tuple[Columns, list[str]]:
    """Name the columns of a table (N, C) that says nothing of them: x y z, then colors where they can be nothing else.

    Returns:
        The columns, and what was left out.
    """
    found = {name: table[:, c] for c, name in enumerate(POSITION)}
    width = table.shape[1]
    if path.suffix.lower() == ".pts" and width in (4, 7):
        found["intensity"] = table[:, 3]
        found |= {name: table[:, 4 + c] for c, name in enumerate(COLOR)} if width == 7 else {}
        return found, []
    is_color = width >= 6 and _are_bytes(table[:, 3:6])
    if is_color:
        found |= {name: table[:, 3 + c] for c, name in enumerate(COLOR)}
    first = 6 if is_color else 3
    if width == first:
        return found, []
    which = f"column {width}" if first == width - 1 else f"columns {first + 1} to {width}"
    example = " ".join(["x y z", *(["r g b"] if is_color else []), *(["..."])])
    return found, [f"{which} left out, since nothing tells what it is; name all columns, such as --columns {example}"]


def _are_bytes(values: np.ndarray) -> bool:
    """Whether all numbers are whole and from 0 to 255; rows that are not finite do not count."""
    finite = values[np.isfinite(values).all(1)]
    return bool(len(finite)) and bool(((finite >= 0) & (finite <= 255) & (finite % 1 == 0)).all())


def check_table(table: np.ndarray, *, is_named: bool = False) -> np.ndarray:
    """Return a table of numbers, a row a point, or raise ValueError with its shape.

    Args:
        table: the table.
        is_named: whether its columns are named, so that it cannot be transposed.
    """
    if table.dtype.kind not in "fiu" or table.ndim != 2:
        raise ValueError(f"it must hold one row of at least 3 numbers a point, got {table.shape} of {table.dtype}")
    if not is_named and 3 <= table.shape[0] <= TRANSPOSED_ROWS and table.shape[1] > FEWEST_POINTS:
        raise ValueError(
            f"it must hold one row a point, got {table.shape}: transposed, one column a point; store its transpose"
        )
    if len(table) and not 3 <= table.shape[1] <= MOST_COLUMNS:
        raise ValueError(f"it must hold one row of at least 3 numbers a point, got {table.shape} of {table.dtype}")
    return table if len(table) else table.reshape(0, 3)


def named_columns(table: np.ndarray, path: Path, reading: Reading) -> tuple[Columns, list[str]]:
    """Name the columns of a table as the caller says or, if nothing is said, as far as they can be guessed."""
    is_named = reading.columns is not None and table.ndim == 2 and len(reading.columns) == table.shape[1]
    table = check_table(table, is_named=is_named)
    if reading.columns is not None and len(table):
        return split_table(table, reading.columns), []
    return guess_columns(table, path)


@np.errstate(invalid="ignore", over="ignore")  # NaN of all kinds and numbers beyond float32
def to_cloud(columns: Columns, remarks: Iterable[str], path: Path) -> Cloud:
    """Make the cloud of the columns of a file; rows that are not finite are dropped.

    Args:
        columns: arrays (N,) in the types of the file, under names of `NAMES`; others are ignored.
        remarks: what the reader had to say.
        path: the file.

    Raises:
        ValueError: if positions are missing, or no point is left.
    """
    missing = [name for name in POSITION if name not in columns]
    if missing:
        raise ValueError(f"it must hold x, y and z, and has {', '.join(columns) or 'nothing'}")
    said = list(remarks)
    pos = np.stack([columns[name] for name in POSITION], axis=1).astype(np.float64)
    if not len(pos):
        raise ValueError("it has 0 points; give at least one")
    features = _features(columns, said)
    label = _label(columns.get("label"), said)
    said += [
        f"{' '.join(there)} left out: {' '.join(name for name in names if name not in there)} missing"
        for names in (COLOR, NORMAL)
        if (there := [name for name in names if name in columns]) and len(there) < len(names)
    ]
    good = np.isfinite(pos).all(1)
    for values in features.values():
        good &= np.isfinite(values).all(1)
    if not good.any():
        raise ValueError(f"none of its {len(pos):,} points is finite")
    rows = None
    if not good.all():
        rows = np.flatnonzero(good)
        first = int(np.flatnonzero(~good)[0]) + 1
        said.append(
            f"{len(pos) - len(rows):,} of {len(pos):,} points are NaN or infinite and were dropped, the first in row "
            f"{first}"
        )
        pos, features = pos[rows], {name: values[rows] for name, values in features.items()}
        label = None if label is None else label[rows]
    return Cloud(
        pos=torch.from_numpy(pos),
        features={name: torch.from_numpy(values.astype(np.float32)) for name, values in features.items()},
        label=None if label is None else torch.from_numpy(label),
        rows=None if rows is None else torch.from_numpy(rows),
        remarks=tuple(said),
        path=path,
    )


def _features(columns: Columns, said: list[str]) -> dict[str, np.ndarray]:
    """Return the features in the units of `Cloud`; what cannot be one is left out, with a remark."""
    found: dict[str, np.ndarray] = {}
    color = _stacked(columns, COLOR)
    if color is not None:
        scaled = scale_colors(color, said)
        found |= {} if scaled is None else {"color": scaled}
    normal = _stacked(columns, NORMAL)
    if normal is not None:
        normal = normal.astype(np.float64)
        length = np.linalg.norm(normal, axis=1, keepdims=True)
        found["normal"] = np.divide(normal, length, out=normal, where=length > 0)
    if "intensity" in columns:
        found["intensity"] = scale_intensity(columns["intensity"])[:, None]
    if "return_number" in columns:
        found["return_number"] = columns["return_number"].astype(np.float64)[:, None]
    return found


def _stacked(columns: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray | None:
    return np.stack([columns[name] for name in names], axis=1) if set(names) <= set(columns) else None


def scale_colors(values: np.ndarray, said: list[str]) -> np.ndarray | None:
    """Scale colors (N, 3) to [0, 1] by the type that stores them; None, with a remark, if they can be no colors.

    Integers of 8 bits go to 255, those of 16 bits to 65535, unless none is above 255; of other types the values tell:
    fractions from 0 to 1, whole numbers to 255 or to 65535.

    Args:
        values: shape (N, 3).
        said: gets the remark.
    """
    finite = values[np.isfinite(values).all(1)] if values.dtype.kind == "f" else values
    low, high = (finite.min(), finite.max()) if len(finite) else (0, 0)
    if values.dtype == np.uint8:
        return values / 255.0
    if values.dtype == np.uint16:
        if high <= 255 and high > 0:
            said.append("its colors are stored in 16 bits and none is above 255: read as colors of 8 bits")
            return values / 255.0
        return values / 65535.0
    is_whole = values.dtype.kind in "iub" or bool((finite % 1 == 0).all())
    if low >= 0 and high <= 1 and values.dtype.kind == "f":
        return values.astype(np.float64)
    if low < 0 or high > 65535 or not is_whole:
        said.append(f"its colors were left out: they must be 0 to 1, 0 to 255 or 0 to 65535, got {low:g} to {high:g}")
        return None
    return values / (255.0 if high <= 255 else 65535.0)


def scale_intensity(values: np.ndarray) -> np.ndarray:
    """Scale an intensity that is stored as integers to [0, 1] by their type; floats stay as stored."""
    return values / float(np.iinfo(values.dtype).max) if values.dtype.kind in "iu" else values.astype(np.float64)


def _label(values: np.ndarray | None, said: list[str]) -> np.ndarray | None:
    if values is None:
        return None
    finite = values[np.isfinite(values)]
    if (finite % 1 != 0).any():
        row = int(np.flatnonzero(values % 1 > 0)[0])
        said.append(f"its labels were left out: they must be whole numbers, got {values[row]:g} in row {row + 1}")
        return None
    if len(finite) < len(values):
        said.append(f"{len(values) - len(finite):,} labels are NaN or infinite and were read as -1")
    return np.where(np.isfinite(values), values, -1).astype(np.int64)
