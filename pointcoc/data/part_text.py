"""ShapeNetPart as text, a file an object, brought into the HDF5 layout that `HDF5Parts` reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pointcoc.checks import check_count, check_file, check_folder
from pointcoc.data.generated import complete_or_absent, write_split
from pointcoc.data.part_clouds import CATEGORIES, PARTS_FILE, SPLITS, TEXT_CATEGORIES, list_name, read_categories
from pointcoc.files import first_line

FOUND_FILE = "converted.txt"
NORMAL_WIDTH = 7
"""Columns of text with normals."""
POINTS, LABELS = "points", "points_label"


def convert_part_text(folder: str | Path, out: str | Path, num_points: int = 2048, seed: int = 0) -> Path:
    """Write the HDF5 layout of ShapeNetPart as text, in either of the two layouts of its authors.

    Both hold `synsetoffset2category.txt` (name and key of each category) and
    `train_test_split/shuffled_{train,val,test}_file_list.json`. An object of
    shapenetcore_partanno_segmentation_benchmark_v0_normal is `KEY/OBJECT.txt` with rows `x y z nx ny nz part`; the part
    is the last column, unique over categories. One of shapenetcore_partanno_segmentation_benchmark_v0 is
    `KEY/points/OBJECT.pts` with rows `x y z` and `KEY/points_label/OBJECT.seg` with a part a row, from 1 in each
    category; they are numbered on from category to category, in the order of their list, as in the other layout.
    Normals are written where each object has them. The file `converted.txt` says what was found.

    Args:
        folder: the folder with text.
        out: where to write: a new or an empty folder.
        num_points: points of each object, drawn without repetition where it has as many.
        seed: of the draw.

    Returns:
        The folder written.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file holds something else than rows of numbers with a part; the message names file and row.
        FileExistsError: if `out` holds anything.
    """
    check_count("num_points", num_points)
    root, target = check_folder("folder", folder), Path(out).expanduser()
    keys = {key: name for name, key in read_categories(root / TEXT_CATEGORIES)}
    is_separate = any((root / key / POINTS).is_dir() for key in keys)
    rng = np.random.default_rng(seed)
    found: dict[str, set[int]] = {key: set() for key in keys}
    with complete_or_absent(target) as staging:
        splits = {
            split: _read_split(_objects(root, split, keys, is_separate), num_points, rng, found) for split in SPLITS
        }
        empty = [name for key, name in keys.items() if not found[key]]
        if empty:
            raise ValueError(f"{root} must hold objects of every category, got none of {', '.join(empty)}")
        parts = _number_on(found) if is_separate else {key: sorted(one) for key, one in found.items()}
        first = np.array([parts[key][0] - 1 if is_separate else 0 for key in keys])
        has_normals = all(one.values.shape[2] == 6 for one in splits.values())
        for split, objects in splits.items():
            number = np.array([list(keys).index(key) for key in objects.keys])
            write_split(
                staging,
                list_name(split),
                split,
                data=objects.values[..., :3],
                label=number[:, None],
                pid=objects.part + first[number, None],
                **({"normal": objects.values[..., 3:].astype(np.float32)} if has_normals else {}),
            )
        (staging / CATEGORIES).write_text("".join(f"{name}\t{key}\n" for key, name in keys.items()))
        (staging / PARTS_FILE).write_text(json.dumps(parts))
        counts = {split: len(objects.keys) for split, objects in splits.items()}
        (staging / FOUND_FILE).write_text(_sentence(root, counts, parts, is_separate, has_normals))
    return target


def _number_on(found: dict[str, set[int]]) -> dict[str, list[int]]:
    """Number parts, from 1 in each category, on from category to category: 0, 1, ... over all of them."""
    parts: dict[str, list[int]] = {}
    start = 0
    for key, one in found.items():
        parts[key] = list(range(start, start + max(one)))
        start += max(one)
    return parts


def _sentence(
    root: Path, counts: dict[str, int], parts: dict[str, list[int]], is_separate: bool, has_normals: bool
) -> str:
    """Say what was found."""
    kind = (
        "a .pts and a .seg file an object, parts from 1 in each category, numbered on over categories"
        if is_separate
        else "a text file an object, the part in its last column"
    )
    objects = ", ".join(f"{count} {split}" for split, count in counts.items())
    total = len({part for one in parts.values() for part in one})
    kind += ", with normals" if has_normals else ""
    return f"{root}: {kind}; objects: {objects}; {len(parts)} categories, {total} parts\n"


def _objects(root: Path, split: str, keys: dict[str, str], is_separate: bool) -> list[tuple[str, Path]]:
    """Key and file of each object of a split."""
    listing = root / "train_test_split" / f"shuffled_{split}_file_list.json"
    check_file(listing, f"folder {root} must hold train_test_split/{listing.name}")
    found = []
    for name in json.loads(listing.read_text()):
        key, stem = Path(name).parts[-2:]
        file = root / key / (f"{POINTS}/{stem}.pts" if is_separate else f"{stem}.txt")
        if key not in keys or not file.is_file():
            raise FileNotFoundError(f"{listing} names {name}, but there is no such category or no file {file}")
        found.append((key, file))
    if not found:
        raise ValueError(f"{listing} must name at least one object")
    return found


class _Objects(NamedTuple):
    """Objects of a split: keys (B,), positions and, if all have them, normals (B, P, 3 or 6), parts (B, P)."""

    keys: tuple[str, ...]
    values: np.ndarray
    part: np.ndarray


def _read_split(
    objects: Sequence[tuple[str, Path]], num_points: int, rng: np.random.Generator, found: dict[str, set[int]]
) -> _Objects:
    """Read objects, of each points drawn at random; add their parts to `found`."""
    drawn = []
    for key, file in objects:
        values, part = _read_pair(file) if file.suffix == ".pts" else _read(file)
        found[key] |= set(np.unique(part).tolist())
        rows = rng.choice(len(part), num_points, replace=len(part) < num_points)
        drawn.append((key, values[rows], part[rows]))
    keys, values, part = zip(*drawn, strict=True)
    width = min(one.shape[1] for one in values)
    return _Objects(keys, np.stack([one[:, :width] for one in values]), np.stack(part))


def _read(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read positions, normals where there are any, and parts of rows `x y z ... part`."""
    table = _table(file, "x y z ... part")
    if not len(table) or table.shape[1] < 4:
        raise ValueError(f"{file} must hold rows of at least four numbers x y z ... part, got {table.shape}")
    part = table[:, -1]
    bad = ~np.isfinite(table).all(1) | (part < 0) | (part % 1 != 0)
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(f"{file} must hold finite numbers and a part of 0 or more, row {row} is {table[row].tolist()}")
    return table[:, : 6 if table.shape[1] == NORMAL_WIDTH else 3], part.astype(np.int64)


def _read_pair(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read positions of KEY/points/OBJECT.pts and parts of KEY/points_label/OBJECT.seg."""
    labels = file.parent.parent / LABELS / f"{file.stem}.seg"
    check_file(labels, f"{file} must have its parts in {labels}, which is missing")
    table, part = _table(file, "x y z"), _table(labels, "one part")
    if not len(table) or table.shape[1] != 3 or part.shape != (len(table), 1):
        raise ValueError(
            f"{file} must hold rows x y z and {labels} as many rows of one part, got {table.shape} and {part.shape}"
        )
    bad = ~np.isfinite(table).all(1) | ~(part[:, 0] >= 1) | (part[:, 0] % 1 != 0)
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"{file} must hold finite numbers and {labels} parts of 1 or more, row {row} is {table[row].tolist()} and "
            f"{part[row, 0]:g}"
        )
    return table, part[:, 0].astype(np.int64)


def _table(file: Path, columns: str) -> np.ndarray:
    try:
        return np.loadtxt(file, ndmin=2)
    except ValueError as error:
        raise ValueError(f"{file} must hold rows of numbers {columns}: {first_line(error)}") from error
