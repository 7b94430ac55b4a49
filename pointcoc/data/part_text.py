"""ShapeNetPart as text, a file an object, brought into the HDF5 layout that `HDF5Parts` reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from pointcoc.checks import check_count, check_file, check_folder
from pointcoc.data.generated import complete_or_absent, write_split
from pointcoc.data.part_clouds import CATEGORIES, PARTS_FILE, SPLITS, TEXT_CATEGORIES, list_name, read_categories
from pointcoc.files import first_line


def convert_part_text(folder: str | Path, out: str | Path, num_points: int = 2048, seed: int = 0) -> Path:
    """Write the HDF5 layout of a folder such as shapenetcore_partanno_segmentation_benchmark_v0_normal.

    That folder holds `synsetoffset2category.txt` (name and key of each category), `KEY/OBJECT.txt` (rows
    `x y z nx ny nz part`; the part is the last column, unique over categories) and
    `train_test_split/shuffled_{train,val,test}_file_list.json`. Normals are left out.

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
    rng = np.random.default_rng(seed)
    parts: dict[str, set[int]] = {key: set() for key in keys}
    with complete_or_absent(target) as staging:
        for split in SPLITS:
            objects = _objects(root, split, keys)
            table = np.stack([_read(file, num_points, rng) for _, file in objects])
            for (key, _), points in zip(objects, table, strict=True):
                parts[key] |= set(points[:, 3].astype(int).tolist())
            write_split(
                staging,
                list_name(split),
                split,
                data=table[..., :3].astype(np.float32),
                label=np.array([[list(keys).index(key)] for key, _ in objects], dtype=np.int64),
                pid=table[..., 3].astype(np.int64),
            )
        empty = [name for key, name in keys.items() if not parts[key]]
        if empty:
            raise ValueError(f"{root} must hold objects of every category, got none of {', '.join(empty)}")
        (staging / CATEGORIES).write_text("".join(f"{name}\t{key}\n" for key, name in keys.items()))
        (staging / PARTS_FILE).write_text(json.dumps({key: sorted(found) for key, found in parts.items()}))
    return target


def _objects(root: Path, split: str, keys: dict[str, str]) -> list[tuple[str, Path]]:
    """Key and file of each object of a split."""
    listing = root / "train_test_split" / f"shuffled_{split}_file_list.json"
    check_file(listing, f"folder {root} must hold train_test_split/{listing.name}")
    found = []
    for name in json.loads(listing.read_text()):
        key, stem = Path(name).parts[-2:]
        file = root / key / f"{stem}.txt"
        if key not in keys or not file.is_file():
            raise FileNotFoundError(f"{listing} names {name}, but there is no such category or no file {file}")
        found.append((key, file))
    if not found:
        raise ValueError(f"{listing} must name at least one object")
    return found


def _read(file: Path, num_points: int, rng: np.random.Generator) -> np.ndarray:
    """Read x, y, z and part of points drawn at random, shape (P, 4)."""
    try:
        table = np.loadtxt(file, ndmin=2)
    except ValueError as error:
        raise ValueError(f"{file} must hold rows of numbers x y z ... part: {first_line(error)}") from error
    if not len(table) or table.shape[1] < 4:
        raise ValueError(f"{file} must hold rows of at least four numbers x y z ... part, got {table.shape}")
    part = table[:, -1]
    bad = ~np.isfinite(table).all(1) | (part < 0) | (part % 1 != 0)
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(f"{file} must hold finite numbers and a part of 0 or more, row {row} is {table[row].tolist()}")
    rows = rng.choice(len(table), num_points, replace=len(table) < num_points)
    return np.column_stack([table[rows, :3], part[rows]])
