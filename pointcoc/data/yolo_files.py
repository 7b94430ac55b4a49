"""Files of YOLO data sets: folders of images and labels, names of classes, rows of labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pointcoc.checks import check_folder
from pointcoc.data.image_files import is_hidden

ALIASES = (("val", "valid", "validation"), ("train", "training"))
"""Names that stand for the same split."""
NAME_FILES = ("classes.txt", "obj.names")
"""Files with a name of a class in each line."""
SLACK = 0.01
"""How far a label may lie outside its image, in shares of its sides; it is clipped."""


@dataclass(frozen=True, kw_only=True)
class YoloRow:
    """A row of a file of labels.

    Args:
        number: of the row in its file, from 1.
        label: number of the class, from 0.
        box: x, y, width and height in shares of the width and the height of the image, inside it.
        polygon: x, y, x, y, ... in the same shares; None of a row that is a box.
    """

    number: int
    label: int
    box: tuple[float, float, float, float]
    polygon: tuple[float, ...] | None


def find_yolo(path: str | Path, split: str) -> tuple[Path, Path] | None:
    """Return the folders of the images and of the labels of a split, None if there are none.

    They are `images/SPLIT` and `labels/SPLIT`, or `SPLIT/images` and `SPLIT/labels`, or where data.yaml says.

    Args:
        path: folder of the data set.
        split: such as "train" or "val"; "valid" and "validation" stand for "val", and "val" for them.
    """
    root, names = Path(path).expanduser(), _same_split(split)
    stated = [value for name in names if isinstance(value := _yaml(root).get(name), str)]
    # Exports of Roboflow say ../train/images of the folder that data.yaml lies in.
    folders = [root / where.replace("../", "") for where in stated]
    folders += [root / part for name in names for part in (f"images/{name}", f"{name}/images")]
    for folder in folders:
        labels = _labels_of(folder, root)
        if labels is not None and folder.is_dir() and labels.is_dir():
            return folder, labels
    return None


def is_yolo(path: str | Path) -> bool:
    """Whether a folder holds training images with labels as YOLO reads them."""
    return find_yolo(path, "train") is not None


def _same_split(split: str) -> list[str]:
    """Return all names of a split, that which was asked for first."""
    return list(dict.fromkeys((split, *(name for names in ALIASES if split in names for name in names))))


def _labels_of(images: Path, root: Path) -> Path | None:
    """Return the folder of labels: the last "images" of the path is "labels"."""
    parts = list(images.relative_to(root).parts) if images.is_relative_to(root) else []
    if "images" not in parts:
        return None
    parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return root.joinpath(*parts)


def yolo_names(path: str | Path, labels: Path | None = None) -> dict[int, str] | None:
    """Return the name of each class by its number, from 0; None where no file tells.

    Args:
        path: folder of the data set, with data.yaml (or another .yaml with names), classes.txt or obj.names.
        labels: folder of labels, where some tools write classes.txt.

    Raises:
        ValueError: if the names are damaged.
    """
    root = check_folder("path", path)
    content = _yaml(root)
    if "names" in content:
        return _named(content, root)
    for folder in (root, root / "labels", labels):
        for name in NAME_FILES if folder is not None else ():
            if folder is not None and (folder / name).is_file():
                lines = [line.strip() for line in _text(folder / name).splitlines()]
                return dict(enumerate(line for line in lines if line))
    return None


def _named(content: dict[str, Any], root: Path) -> dict[int, str]:
    names, count = content["names"], content.get("nc")
    pairs = enumerate(names) if isinstance(names, list) else names.items() if isinstance(names, dict) else ()
    try:
        found = {int(number): str(name) for number, name in pairs}
    except (TypeError, ValueError):
        found = {}
    if not found or min(found) < 0:
        raise ValueError(f"{content['file']}: names must be a list, or names by the numbers of classes, got {names!r}")
    if count is not None and count != len(found):
        raise ValueError(f"{content['file']}: nc must be the number of names ({len(found)}), got {count!r}")
    return found


def _yaml(root: Path) -> dict[str, Any]:
    """Return what the first YAML file that tells of a data set says, with its path as "file"; empty without one."""
    import yaml  # huggingface_hub always brings it

    files = [path for path in root.glob("*.y*ml") if path.suffix in (".yaml", ".yml") and not is_hidden(path)]
    for path in sorted(files, key=lambda path: (path.stem != "data", path.name)):
        try:
            content = yaml.safe_load(_text(path))
        except yaml.YAMLError as error:
            raise ValueError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
        if isinstance(content, dict) and {"names", "train", "val"} & set(content):
            return {**content, "file": path}
    return {}


def read_rows(path: Path, names: Any = None) -> list[YoloRow]:
    """Read a file of labels: rows of class, center x, center y, width, height, or of class, x, y, x, y, ...

    Args:
        path: the file; an empty one has no objects.
        names: the numbers of the classes that there are; None for any.

    Raises:
        ValueError: if a row is damaged; the message holds file and row.
    """
    rows = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        words = line.split()
        if words:
            try:
                rows.append(_row(number, words, names))
            except ValueError as error:
                raise ValueError(f"{path}, row {number}: {error}") from error
    return rows


def _row(number: int, words: Sequence[str], names: Any) -> YoloRow:
    try:
        label, *values = (float(word) for word in words)
    except ValueError:
        raise ValueError(f"must hold numbers alone, got {' '.join(words)[:60]!r}") from None
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        raise ValueError(
            "must hold a class and a box (center x, center y, width, height) or a class and at least three points, got "
            f"{len(words)} numbers{'; is the last one the score of a detector?' if len(values) == 5 else ''}"
        )
    if not all(map(math.isfinite, values)) or min(values) < -SLACK or max(values) > 1 + SLACK:
        raise ValueError(
            f"must hold shares of the width and height of the image, from 0 to 1, got {' '.join(words[1:])[:60]}"
        )
    if not label.is_integer() or label < 0 or (names is not None and label not in names):
        known = "" if names is None else f"; there are {', '.join(map(str, list(names)[:10]))}"
        raise ValueError(f"must begin with the number of a class, got {words[0]}{known}")
    is_box = len(values) == 4
    polygon = None if is_box else tuple(min(max(value, 0.0), 1.0) for value in values)
    return YoloRow(number=number, label=int(label), box=_box(values, polygon), polygon=polygon)


def _box(values: Sequence[float], polygon: Sequence[float] | None) -> tuple[float, float, float, float]:
    """Return x, y, width, height inside the image."""
    if polygon is None:
        x, y, width, height = values
        if width < 0 or height < 0:
            raise ValueError(f"must hold a width and a height of at least 0, got {width:g} and {height:g}")
        corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        left, top, right, bottom = (min(max(value, 0.0), 1.0) for value in corners)
    else:
        left, right, top, bottom = min(polygon[::2]), max(polygon[::2]), min(polygon[1::2]), max(polygon[1::2])
    return left, top, right - left, bottom - top


def _text(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")
