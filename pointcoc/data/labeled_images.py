"""Images with several labels each, named in a table."""

from __future__ import annotations

import csv
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from pointcoc.checks import InputWarning, check_choice, check_folder
from pointcoc.data.image_files import open_image, read_image
from pointcoc.data.splits import hold_out

SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation", "test", "testing")}
"""Words of a table for each split, the first of those of `val` that there is."""
FILE_COLUMNS = ("file", "filename", "file_name", "image", "image_name", "name", "path")
SPLIT_COLUMN = "split"
SEPARATORS = (";", "|", ",")
YES, NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no", "")


class LabeledImages(Dataset):
    """Images with any number of labels, from a table of text: item i is (image, labels).

    The first line of the table names its columns. One holds the files (`file`, `image` or the like, else the first),
    relative to the folder. The labels stand in one column, as names between `;`, `|` or `,` (between spaces where no
    cell has any of these), or in a column for each label, which holds 1 or 0. A column `split` (train, val, test) tells
    the split; without it, about a fifth of the images is held out for `val`, chosen by the names of the files, for each
    rarest label of an image by itself. A line says so.

    Args:
        folder: folder of the images.
        table: the table (CSV, with commas, semicolons or tabs).
        split: "train" or "val"; where the table names no rows of val, test stands in for it.
        transform: maps a PIL image (RGB) to what an item holds; without it, floats in [0, 1], shape (3, H, W).

    Attributes:
        classes: names of the labels, in the order of their numbers: sorted, or that of the columns.
        files: file of each image, relative to the folder.
        labels: float32, shape (N, num_classes), 1 for the labels that an image has.
        strata: number of the rarest label of each image, by which a part of the images is split off, int64 (N,).
        made_split: files of both parts, "train" and "val", if they were split here; else None.

    Raises:
        FileNotFoundError: if folder, table or an image is missing.
        ValueError: if the table has no such columns or rows; the message holds the row.
    """

    def __init__(
        self,
        folder: str | Path,
        table: str | Path,
        split: str = "train",
        transform: Callable[[Any], Any] | None = None,
    ) -> None:
        check_choice("split", split, tuple(SPLITS))
        self.root, self.transform = check_folder("folder", folder), transform
        path = Path(table)
        rows, columns = _read_rows(path)
        self.files = _files(rows, _file_column(columns), self.root, path)
        self.classes, self.labels = _labels(rows, columns, path)
        self.strata = _rarest(self.labels)
        self.made_split = None if SPLIT_COLUMN in columns else self._split_by(self.held_out())
        if self.made_split is None:
            mine = _rows_of(split, [row[SPLIT_COLUMN] for row in rows], path)
        else:
            chosen = set(self.made_split[split])
            mine = [number for number, name in enumerate(self.files) if name in chosen]
            if split == "val":
                warnings.warn(
                    f"{table} has no column {SPLIT_COLUMN!r}: {len(mine)} of {len(self.files)} images are held out to "
                    "measure on, chosen by their names",
                    InputWarning,
                    stacklevel=2,
                )
        self.files = [self.files[number] for number in mine]
        self.labels, self.strata = self.labels[mine], self.strata[mine]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Any, Tensor]:
        """Return an image with its labels, float32 (num_classes,)."""
        path = self.source(index)
        return (read_image(path) if self.transform is None else self.transform(open_image(path))), self.labels[index]

    def held_out(self) -> set[str]:
        """Return the files that `hold_out` chooses."""
        classes: dict[str, list[str]] = {}
        for name, stratum in zip(self.files, self.strata.tolist(), strict=True):
            classes.setdefault(str(stratum), []).append(name)
        return hold_out(classes)

    def _split_by(self, held_out: set[str]) -> dict[str, list[str]]:
        if not held_out:
            raise ValueError("a label must have two images or more, to hold out one to measure on, got one each")
        return {
            "train": [name for name in self.files if name not in held_out],
            "val": [name for name in self.files if name in held_out],
        }

    def source(self, index: int) -> str:
        """Return the file of an image, for messages."""
        return str(self.root / self.files[index])


def _read_rows(table: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Read the rows of a table by the names of its columns."""
    if not table.is_file():
        raise FileNotFoundError(f"table of labels {table} does not exist")
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{table} must be text in UTF-8 ({error})") from error
    lines = [line for line in text.splitlines() if line.strip()]
    first = lines[0] if lines else ""
    delimiter = "\t" if "\t" in first else ";" if ";" in first and "," not in first else ","
    reader = csv.reader(lines, delimiter=delimiter)
    columns = [name.strip() for name in next(reader, [])]
    if len(columns) < 2 or len(set(columns)) < len(columns):
        raise ValueError(
            f"{table} must begin with the names of its columns, each once: the file and the labels, got "
            f"{', '.join(columns) or 'nothing'}"
        )
    rows = []
    for number, cells in enumerate(reader, 2):
        if len(cells) != len(columns):
            raise ValueError(f"{table}, row {number} must have {len(columns)} cells, got {len(cells)}")
        rows.append(dict(zip(columns, (cell.strip() for cell in cells), strict=True)))
    if not rows:
        raise ValueError(f"{table} must have a row for each image, got none")
    return rows, columns


def _file_column(columns: Sequence[str]) -> str:
    return next((name for name in columns if name.lower() in FILE_COLUMNS), columns[0])


def _files(rows: Sequence[Mapping[str, str]], column: str, root: Path, table: Path) -> list[str]:
    files = [row[column] for row in rows]
    if twice := [name for name, count in Counter(files).items() if count > 1]:
        raise ValueError(f"{table} must name each image once, got {twice[0]} several times")
    if missing := [name for name in files if not (root / name).is_file()]:
        raise FileNotFoundError(
            f"{len(missing)} of {len(files)} images of {table} are missing in {root}, such as {missing[0]} (row "
            f"{files.index(missing[0]) + 2})"
        )
    return files


def _labels(rows: Sequence[Mapping[str, str]], columns: Sequence[str], table: Path) -> tuple[tuple[str, ...], Tensor]:
    """Return the names of the labels and, for each row, which it has."""
    named = [name for name in columns if name not in (_file_column(columns), SPLIT_COLUMN)]
    if not named:
        raise ValueError(f"{table} must have a column of labels, got {', '.join(columns)}")
    if len(named) == 1 and not all(row[named[0]].lower() in (*YES, *NO) for row in rows):
        lists = _lists([row[named[0]] for row in rows])
        classes = tuple(sorted({name for names in lists for name in names}))
    else:
        lists = [_marked(row, named, number, table) for number, row in enumerate(rows, 2)]
        classes = tuple(named)
    numbers = {name: number for number, name in enumerate(classes)}
    labels = torch.zeros(len(rows), len(classes))
    for row, names in zip(labels, lists, strict=True):
        row[[numbers[name] for name in names]] = 1
    return classes, labels


def _lists(cells: Sequence[str]) -> list[list[str]]:
    separator = next((one for one in SEPARATORS if any(one in cell for cell in cells)), None)
    return [[name for part in cell.split(separator) if (name := part.strip())] for cell in cells]


def _marked(row: Mapping[str, str], named: Sequence[str], number: int, table: Path) -> list[str]:
    for name in named:
        if row[name].lower() not in (*YES, *NO):
            raise ValueError(f"{table}, row {number}, column {name!r} must hold 1 or 0, got {row[name]!r}")
    return [name for name in named if row[name].lower() in YES]


def _rarest(labels: Tensor) -> Tensor:
    """Return the number of the rarest label of each row; one more than the last for a row without labels."""
    counts = torch.where(labels > 0, labels.sum(0), torch.inf)
    return torch.where(labels.any(1), counts.argmin(1), labels.shape[1])


def _rows_of(split: str, words: Sequence[str], table: Path) -> list[int]:
    """Return the rows of a split; the first word of those of val that there is."""
    lower = [word.lower() for word in words]
    for number, word in enumerate(lower, 2):
        if not any(word in known for known in SPLITS.values()):
            raise ValueError(f"{table}, row {number}: split must be train, val or test, got {word!r}")
    for known in SPLITS[split]:
        if found := [number for number, word in enumerate(lower) if word == known]:
            return found
    raise ValueError(f"{table} must have rows of the split {split!r}, got {', '.join(sorted(set(lower)))}")
