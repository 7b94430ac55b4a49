"""Images with labels as YOLO reads them: boxes or outlines of their objects, one text file an image."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from torch import Tensor

from pointcoc.checks import InputWarning, check_folder, import_extra
from pointcoc.data.coco import THREADS, CocoImages
from pointcoc.data.image_files import ENDINGS, list_images, upright_size
from pointcoc.data.yolo_files import NAME_FILES, YoloRow, find_yolo, is_yolo, read_rows, yolo_names

__all__ = ["YoloImages", "is_yolo", "yolo_names"]
Entry = dict[str, Any]


class YoloImages(CocoImages):
    """Images of a YOLO data set, with the targets of `CocoImages`.

    A split lies in `images/SPLIT` and `labels/SPLIT`, in `SPLIT/images` and `SPLIT/labels`, or where data.yaml says.
    Names come from data.yaml or classes.txt. A row of labels holds the number of a class and a box (center x, center y,
    width, height) or an outline (x, y, x, y, ...), in shares of the image as viewers show it. All labels are read and
    checked when the data set is opened; an image without a file of labels has no objects, and a line says how many.

    Args:
        path: folder of the data set.
        split: "train", "val" (or "valid"), or another name of a folder.
        transform: changes image and target, such as `MirrorObjects()`.
        masks: whether targets have masks; None for what most rows have.
        labels: label of each class by its number in the files; one more than the number by default.

    Raises:
        FileNotFoundError: if there is no such split, or no image in it.
        ValueError: if a row is damaged, with file and row; if two images would share their labels.
        ImportError: if pycocotools is not installed.
    """

    def __init__(
        self,
        path: str | Path,
        split: str = "train",
        *,
        transform: Callable[[Tensor, dict[str, Tensor]], tuple[Tensor, dict[str, Tensor]]] | None = None,
        masks: bool | None = None,
        labels: Mapping[int, int] | None = None,
    ):
        root = check_folder("path", path)
        self.folder, label_folder = _folders(root, split)
        files = _images(self.folder)
        names = yolo_names(root, label_folder)
        rows = _read_all(files, label_folder, names)
        if names is None:
            names = {
                number: str(number) for number in range(1 + max((row.label for one in rows for row in one), default=0))
            }
            _note(f"{root}: no data.yaml or classes.txt names the classes: their numbers are their names")
        label_of = {number: number + 1 for number in names} if labels is None else dict(labels)
        self.classes = {label_of[number]: name for number, name in sorted(names.items())}
        self.category_ids = {label_of[number]: number for number in sorted(names)}
        self.num_classes = 1 + max(self.classes)
        self.transform = transform
        found = [row for one in rows for row in one]
        self.has_masks = _have_masks(found) if masks is None else masks
        self.coco = self._coco(files, rows, label_folder, label_of)
        self.ids = sorted(self.coco.imgs)

    def _coco(
        self, files: Sequence[Path], rows: Sequence[Sequence[YoloRow]], labels: Path, label_of: Mapping[int, int]
    ) -> Any:
        """Describe everything as a `pycocotools.coco.COCO`."""
        with ThreadPoolExecutor(THREADS) as pool:
            sizes = list(pool.map(upright_size, files))
        images, flat, unmasked = [], [], []
        objects: list[Entry] = []
        for number, (file, (height, width), one) in enumerate(zip(files, sizes, rows, strict=True), 1):
            images.append({"id": number, "file_name": file.name, "height": height, "width": width})
            for row in one:
                where = f"{labels / file.stem}.txt, row {row.number}"
                if min(row.box[2:]) == 0:
                    flat.append(where)
                elif self.has_masks and row.polygon is None:
                    unmasked.append(where)
                else:
                    entry = _entry(row, (height, width), self.has_masks)
                    entry |= {"id": 1 + len(objects), "image_id": number, "category_id": label_of[row.label]}
                    objects.append(entry | {"file_id": where})
        _remark(flat, "objects whose boxes have no area are left out")
        _remark(unmasked, "objects without an outline, where most have one, are left out")
        coco = import_extra("pycocotools.coco", "detection", "YOLO data sets need").COCO()
        names = [{"id": label, "name": name} for label, name in sorted(self.classes.items())]
        coco.dataset = {"images": images, "annotations": objects, "categories": names}
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
            coco.createIndex()
        return coco


def _folders(root: Path, split: str) -> tuple[Path, Path]:
    folders = find_yolo(root, split)
    if folders is None:
        raise FileNotFoundError(
            f"{root} must hold images/{split} and labels/{split}, or {split}/images and {split}/labels; got neither"
        )
    return folders


def _images(folder: Path) -> list[Path]:
    files = list_images(folder)
    if not files:
        raise FileNotFoundError(f"{folder} must hold images ({', '.join(ENDINGS)}), got none")
    if twice := [stem for stem, count in Counter(path.stem for path in files).items() if count > 1]:
        raise ValueError(f"{folder} must hold one image for each file of labels, got several named {twice[0]}")
    return files


def _read_all(files: Sequence[Path], labels: Path, names: Mapping[int, str] | None) -> list[list[YoloRow]]:
    """Read the labels of all images; rows that repeat are left out."""
    texts = {path.stem: path for path in labels.glob("*.txt") if path.name not in NAME_FILES}
    if not any(file.stem in texts for file in files):
        raise FileNotFoundError(f"{labels} must hold NAME.txt for images NAME in {files[0].parent}, got none of them")
    _remark([str(file) for file in files if file.stem not in texts], "images without a file of labels have no objects")
    stems = {file.stem for file in files}
    _remark(
        [str(path) for stem, path in sorted(texts.items()) if stem not in stems], "labels without an image are left out"
    )
    rows, repeated = [], []
    for file in files:
        kept: dict[Any, YoloRow] = {}
        for row in read_rows(texts[file.stem], names) if file.stem in texts else ():
            if kept.setdefault((row.label, row.box, row.polygon), row) is not row:
                repeated.append(f"{texts[file.stem]}, row {row.number}")
        rows.append(list(kept.values()))
    _remark(repeated, "rows that repeat another one are left out")
    return rows


def _have_masks(rows: Sequence[YoloRow]) -> bool:
    """Whether most objects have an outline; without objects, no."""
    return 2 * sum(row.polygon is not None for row in rows) > len(rows)


def _entry(row: YoloRow, size: tuple[int, int], has_mask: bool) -> Entry:
    """Return box, area and outline in pixels."""
    height, width = size
    x, y, w, h = row.box
    box = [x * width, y * height, w * width, h * height]
    entry: Entry = {"bbox": box, "area": box[2] * box[3], "iscrowd": 0}
    if has_mask and row.polygon is not None:
        points = [value * (height if place % 2 else width) for place, value in enumerate(row.polygon)]
        entry |= {"segmentation": [points], "area": _area(points) or entry["area"]}
    return entry


def _area(points: Sequence[float]) -> float:
    """Return the area of an outline x, y, x, y, ..."""
    xs, ys = points[::2], points[1::2]
    turns = zip(xs, ys, (*xs[1:], xs[0]), (*ys[1:], ys[0]), strict=True)
    return abs(sum(x * next_y - next_x * y for x, y, next_x, next_y in turns)) / 2


def _remark(found: Sequence[str], what: str) -> None:
    if found:
        _note(f"{what}: {len(found):,}, such as {found[0]}")


def _note(sentence: str) -> None:
    warnings.warn(sentence, InputWarning, stacklevel=4)
