"""Labels as YOLO takes them: a text file for each image, a row for each object."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from pointcoc.checks import check_folder
from pointcoc.data.coco import CocoImages
from pointcoc.data.image_files import ENDINGS, list_images, upright_size

SPLITS = {"train": ("train",), "val": ("val", "valid", "validation", "test"), "test": ("test",)}
NAME_FILES = ("data.yaml", "data.yml", "dataset.yaml", "classes.txt", "labels/classes.txt", "obj.names")


class YoloImages(CocoImages):
    """Images with labels as YOLO takes them, with the targets that detectors are trained on.

    A folder holds `images/train/*.jpg` and `labels/train/*.txt`, or `train/images/*.jpg` and `train/labels/*.txt`, and
    the names of the classes in data.yaml or classes.txt. A row of a label file is `class x y width height`, the center
    and the size of a box, or `class x1 y1 x2 y2 ...`, a polygon; all as shares of the width and the height of the image
    as viewers show it. An image without a label file, or with an empty one, has no objects. Class 0 gets label 1, since
    0 is the background.

    Args:
        path: the folder.
        split: "train", "val" (valid, validation or test stand in for it) or "test".
        transform: see `CocoImages`.
        masks: see `CocoImages`.
        labels: see `CocoImages`; ids are the numbers of the classes.

    Raises:
        FileNotFoundError: if the folder, the split, its images or the names of the classes are missing.
        ValueError: if a row is no label; the message holds file and row.
        ImportError: if pycocotools is not installed.
    """

    def __init__(
        self,
        path: str | Path,
        split: str = "train",
        *,
        transform: Callable[[Tensor, dict[str, Tensor]], tuple[Tensor, dict[str, Tensor]]] | None = None,
        masks: bool | None = None,
        labels: Mapping[Any, int] | None = None,
    ):
        root = check_folder("path", path)
        images, label_folder = find_yolo(root, split)
        names = yolo_names(root)
        content = _content(images, label_folder, names)
        super().__init__(images, label_folder, transform=transform, masks=masks, labels=labels, content=content)


def is_yolo(root: Path) -> bool:
    """Whether a folder looks like images with labels as YOLO takes them."""
    return (root / "labels").is_dir() or any((root / name / "labels").is_dir() for name in SPLITS["val"] + ("train",))


def find_yolo(root: Path, split: str) -> tuple[Path, Path]:
    """Return the folders of the images and of the labels of a split.

    Args:
        root: the folder of the data.
        split: see `YoloImages`.

    Raises:
        FileNotFoundError: if they are missing.
    """
    names = SPLITS.get(split, (split,))
    for name in names:
        outer = (root / "images" / name, root / "labels" / name)
        inner = (root / name / "images", root / name / "labels")
        for images, labels in (outer, inner):
            if images.is_dir() and labels.is_dir():
                return images, labels
    raise FileNotFoundError(
        f"{root} must hold images/{names[0]}/ and labels/{names[0]}/, or {names[0]}/images/ and {names[0]}/labels/; it "
        f"holds {', '.join(sorted(entry.name for entry in root.iterdir())[:8]) or 'nothing'}"
    )


def yolo_names(root: Path) -> tuple[str, ...]:
    """Return the names of the classes, in the order of their numbers.

    Args:
        root: the folder of the data.

    Raises:
        FileNotFoundError: if no file tells them.
        ValueError: if the file holds no names.
    """
    file = next((root / name for name in NAME_FILES if (root / name).is_file()), None)
    if file is None:
        raise FileNotFoundError(f"{root} must hold the names of the classes in data.yaml (names: ...) or classes.txt")
    text = file.read_text(encoding="utf-8-sig")
    names: Any = [line.strip() for line in text.splitlines() if line.strip()]
    if file.suffix in (".yaml", ".yml"):
        import yaml  # comes with huggingface-hub

        try:
            content = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"{file} must hold YAML: {error}") from error
        names = content.get("names") if isinstance(content, dict) else None
        names = [names[key] for key in sorted(names)] if isinstance(names, dict) else names
    if not isinstance(names, list) or not names:
        raise ValueError(f"{file} must hold the names of the classes, got none")
    return tuple(map(str, names))


def _content(images: Path, labels: Path, names: Sequence[str]) -> dict[str, Any]:
    """Return the content of a COCO file that says the same."""
    files = list_images(images)
    if not files:
        raise FileNotFoundError(f"{images} must hold images ({', '.join(ENDINGS)}), got none")
    entries, annotations = [], []
    for number, file in enumerate(files, 1):
        height, width = upright_size(file)
        entries.append({"id": number, "file_name": file.name, "height": height, "width": width})
        rows = labels / f"{file.stem}.txt"
        for row, line in enumerate(rows.read_text(encoding="utf-8-sig").splitlines() if rows.is_file() else (), 1):
            if line.strip():
                where = f"{rows.name} row {row}"
                one = _object(line, (height, width), len(names), f"{rows} row {row}")
                annotations.append({"id": where, "image_id": number, **one})
    categories = [{"id": number, "name": name} for number, name in enumerate(names)]
    return {"images": entries, "annotations": annotations, "categories": categories}


def _object(line: str, size: tuple[int, int], num_classes: int, where: str) -> dict[str, Any]:
    words = line.split()
    try:
        category, values = int(words[0]), [float(word) for word in words[1:]]
    except ValueError as error:
        raise ValueError(f"{where} must hold a class and numbers, got {line.strip()[:60]!r}") from error
    if not 0 <= category < num_classes:
        raise ValueError(f"{where} must hold a class from 0 to {num_classes - 1}, got {category}")
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        raise ValueError(f"{where} must hold 4 numbers of a box, or x and y of 3 points or more, got {len(values)}")
    if not all(math.isfinite(value) and -0.01 <= value <= 1.01 for value in values):
        raise ValueError(f"{where} must hold shares of width and height from 0 to 1, got {line.strip()[:60]!r}")
    height, width = size
    if len(values) == 4:
        x, y, box_width, box_height = values
        box = [(x - box_width / 2) * width, (y - box_height / 2) * height, box_width * width, box_height * height]
        return {"category_id": category, "bbox": box}
    return {
        "category_id": category,
        "segmentation": [[value * side for value, side in zip(values, (width, height) * len(values))]],
    }
