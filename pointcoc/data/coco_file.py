"""A COCO annotation file, read and checked whole: what is left is what training and measure can rely on."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pointcoc.checks import check_file, import_extra
from pointcoc.data.coco_masks import mask_of
from pointcoc.data.image_files import upright_size

Entry = dict[str, Any]
LISTS = ("images", "annotations")


@dataclass(frozen=True, eq=False, kw_only=True)
class CocoFile:
    """Content of a COCO annotation file, in which everything is as it should be.

    Args:
        path: the file.
        coco: a `pycocotools.coco.COCO`: annotations have ids from 1 on, a box with an area, an area, `iscrowd` and,
            with masks, a segmentation; the category id of an annotation is the label of its class.
        classes: name of each class by its label; labels begin with 1, 0 is the background.
        category_ids: id of each class in the file by its label.
        has_masks: whether objects have masks.
        remarks: a sentence for whatever was left out, derived or renumbered.
    """

    path: Path
    coco: Any
    classes: Mapping[int, str]
    category_ids: Mapping[int, Any]
    has_masks: bool
    remarks: tuple[str, ...]


def read_coco(
    path: str | Path,
    folder: Path,
    *,
    masks: bool | None = None,
    keep_ids: bool = False,
    labels: Mapping[Any, int] | None = None,
) -> CocoFile:
    """Read a COCO annotation file and check it whole.

    Ids of annotations are renumbered, for pycocotools takes id 0 for no object and needs them to differ. Boxes without
    an area, polygons of fewer than three points and objects of images that are not listed are left out; missing boxes,
    areas, `iscrowd`, categories, heights and widths are derived. A sentence in `remarks` says so.

    Args:
        path: the file: JSON in UTF-8, UTF-16 or, as a last resort, Latin-1.
        folder: folder of the images; those without height and width are opened.
        masks: whether objects need masks; None for what most of them have.
        keep_ids: whether the label of a class is its id in the file, as 1 to 90 of COCO; else labels are 1, 2, ... in
            the order of the ids.
        labels: label of each class by its id in the file; in place of the above.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no COCO annotations, or something in it is damaged; the message holds file and
            annotation.
        ImportError: if pycocotools is not installed.
    """
    coco = import_extra("pycocotools.coco", "detection", "COCO needs")
    reading = _Reading(Path(path).expanduser(), folder)
    images = reading.images()
    sizes = {one["id"]: (one["height"], one["width"]) for one in images}
    categories = reading.categories()
    if labels is None:
        labels = {number: number if keep_ids else row for row, number in enumerate(categories, 1)}
    annotations = reading.annotations(sizes, categories)
    has_masks = _have_masks(annotations) if masks is None else masks
    kept = reading.usable(annotations, sizes, has_masks)
    for number, one in enumerate(kept, 1):
        one |= {"id": number, "category_id": labels[one["category_id"]]}
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        opened = coco.COCO()
        named = [{"id": labels[number], "name": name} for number, name in categories.items()]
        opened.dataset = {"images": images, "annotations": kept, "categories": sorted(named, key=lambda one: one["id"])}
        opened.createIndex()
    return CocoFile(
        path=reading.path,
        coco=opened,
        classes={labels[number]: name for number, name in categories.items()},
        category_ids={labels[number]: number for number in categories},
        has_masks=has_masks,
        remarks=tuple(reading.remarks),
    )


def coco_category_names(path: str | Path) -> dict[Any, str]:
    """Return the name of each category of a COCO file by its id.

    Args:
        path: see `read_coco`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no COCO annotations.
    """
    return _Reading(Path(path).expanduser(), Path()).categories()


class _Reading:
    """The parts of a file, one after the other, with remarks about them."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self.folder = path, folder
        self.remarks: list[str] = []
        self.content = self._open()
        self._numbers: dict[Any, int] | None = None

    def remark(self, found: Sequence[Any], what: str, example: str) -> None:
        """Note a sentence about some entries: how many, what happened to them, and the first."""
        if found:
            first = f"{example} {found[0]}".strip()
            self.remarks.append(f"{self.path}: {what}: {len(found):,}, such as {first}")

    def fail(self, sentence: str) -> ValueError:
        return ValueError(f"{self.path}: {sentence}")

    def _open(self) -> Entry:
        check_file(self.path, f"annotations must be an existing file, but nothing lies at {self.path}")
        text = self._decoded(self.path.read_bytes())
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            is_cut = not text[error.pos :].strip() or error.msg.startswith("Unterminated string")
            why = "it is cut short" if text.strip() and is_cut else str(error)
            raise self.fail(f"must hold COCO annotations as JSON: {why}") from error
        if isinstance(content, list):
            is_result = bool(content) and isinstance(content[0], dict) and "score" in content[0]
            kind = "results of a detector" if is_result else "a list"
            raise self.fail(f"must hold COCO annotations (images, annotations, categories), got {kind}")
        if not isinstance(content, dict) or any(not isinstance(content.get(name), list) for name in LISTS):
            held = ", ".join(list(content)[:5]) if isinstance(content, dict) else type(content).__name__
            raise self.fail(f"must hold COCO annotations (lists images and annotations), got {held or 'nothing'}")
        for name in (*LISTS, "categories"):
            for number, one in enumerate(content.get(name) or ()):
                if not isinstance(one, dict):
                    raise self.fail(f"entry {number} of {name} must be an object of JSON, got {one!r}")
        return content

    def _decoded(self, data: bytes) -> str:
        with contextlib.suppress(UnicodeDecodeError):
            return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        self.remarks.append(f"{self.path}: its text is not UTF-8 and was read as Latin-1")
        return data.decode("latin-1")

    def images(self) -> list[Entry]:
        """Return the images with ids that differ and are integers, heights and widths."""
        seen: dict[Any, Entry] = {}
        repeated, unsized = [], []
        for number, one in enumerate(self.content["images"]):
            if "id" not in one or not isinstance(one.get("file_name"), str):
                raise self.fail(f"entry {number} of images must have id and file_name, got {', '.join(one) or 'none'}")
            key = _id(one["id"])
            if key in seen:
                if seen[key]["file_name"] != one["file_name"]:
                    names = f"{seen[key]['file_name']} and {one['file_name']}"
                    raise self.fail(f"ids of images must differ, got id {key!r} for {names}")
                repeated.append(repr(key))
                continue
            if not (_is_size(one.get("height")) and _is_size(one.get("width"))):
                height, width = upright_size(self.folder / one["file_name"])
                unsized.append(one["file_name"])
                one = {**one, "height": height, "width": width}
            seen[key] = {**one, "id": key, "height": int(one["height"]), "width": int(one["width"])}
        self.remark(repeated, "images are listed more than once", "id")
        self.remark(unsized, "images have no height and width, which are read from them", "")
        if any(not isinstance(key, int) for key in seen):
            self._numbers = {key: number for number, key in enumerate(seen, 1)}
            self.remarks.append(f"{self.path}: ids of images are no integers and are renumbered")
        for key, one in seen.items():
            one["id"] = key if self._numbers is None else self._numbers[key]
        return list(seen.values())

    def categories(self) -> dict[Any, str]:
        """Return the name of each category by its id, ascending; those of the annotations where there is no list."""
        listed = self.content.get("categories")
        if not listed:
            used = {_id(one.get("category_id")) for one in self.content["annotations"]} - {None}
            self.remarks.append(f"{self.path}: there is no list of categories: their ids are their names")
            return {key: str(key) for key in _ordered(used)}
        found: dict[Any, str] = {}
        for number, one in enumerate(listed):
            if one.get("id") is None:
                raise self.fail(f"entry {number} of categories must have an id, got {', '.join(one) or 'none'}")
            key, name = _id(one["id"]), str(one.get("name", one["id"]))
            if found.get(key, name) != name:
                raise self.fail(f"ids of categories must differ, got id {key!r} for {found[key]} and {name}")
            found[key] = name
        twice = {name for name, count in Counter(found.values()).items() if count > 1}
        self.remark(sorted(twice), "names are those of several categories, and get their ids", "")
        return {key: f"{found[key]} ({key})" if found[key] in twice else found[key] for key in _ordered(found)}

    def annotations(self, sizes: Mapping[int, tuple[int, int]], categories: Mapping[Any, str]) -> list[Entry]:
        """Return the annotations of listed images, with category and image as they are numbered here."""
        kept, foreign, numbers = [], [], self._numbers
        for row, one in enumerate(self.content["annotations"]):
            image = _id(one.get("image_id"))
            image = image if numbers is None else numbers.get(image)
            if image not in sizes:
                foreign.append(_name(one, row))
                continue
            category = _id(one.get("category_id"))
            if category not in categories:
                raise self.fail(
                    f"annotation {_name(one, row)} must have the id of a category, got {one.get('category_id')!r}; "
                    f"there are {', '.join(map(str, list(categories)[:10]))}"
                )
            kept.append({**one, "image_id": image, "category_id": category, "file_id": _name(one, row)})
        self.remark(foreign, "objects of images that are not listed are left out", "annotation")
        return kept

    def usable(self, annotations: list[Entry], sizes: Mapping[int, tuple[int, int]], has_masks: bool) -> list[Entry]:
        """Return the annotations with a box and, with masks, a mask; everything that is missing is derived."""
        kept, flat, unmasked, unboxed = [], [], [], []
        for one in annotations:
            size, where = sizes[one["image_id"]], one["file_id"]
            mask = one.get("segmentation")
            try:
                mask = mask_of(mask, size) if mask else None
                box = one.get("bbox")
                if box is None:
                    if mask is None:
                        raise ValueError("must have a box or a mask, got neither")
                    unboxed.append(where)
                    box = _box_of(mask)
                _check_box(box, size)
            except ValueError as error:
                raise self.fail(f"annotation {where} {error}") from error
            if min(box[2:]) == 0:
                flat.append(where)
                continue
            if has_masks and mask is None:
                unmasked.append(where)
                continue
            area: Any = one.get("area")
            known = isinstance(area, (int, float)) and 0 < area < math.inf
            kept.append(
                {
                    "image_id": one["image_id"],
                    "category_id": one["category_id"],
                    "bbox": [float(value) for value in box],
                    "area": float(area) if known else _area(mask, box),
                    "iscrowd": int(bool(one.get("iscrowd", 0))),
                    "file_id": where,
                    **({"segmentation": mask} if has_masks else {}),
                }
            )
        self.remark(unboxed, "objects have no box: that of their masks is taken", "annotation")
        self.remark(flat, "objects whose boxes have no area are left out", "annotation")
        self.remark(unmasked, "objects without a mask (a polygon has at least three points) are left out", "annotation")
        return kept


def _id(value: Any) -> Any:
    """Return an id as an integer where it is one, in whatever form."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, str) and value.strip().lstrip("-").isdecimal():
        return int(value)
    return value if isinstance(value, (int, str)) else repr(value)


def _ordered(ids: Any) -> list[Any]:
    return sorted(ids, key=lambda key: (not isinstance(key, int), key if isinstance(key, int) else 0, str(key)))


def _name(annotation: Entry, row: int) -> Any:
    return annotation.get("id", f"(entry {row}, without an id)")


def _is_size(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 1


def _check_box(box: Any, size: tuple[int, int]) -> None:
    """Raise ValueError, which goes on after "annotation 7", unless a box can be one of its image."""
    is_list = isinstance(box, (list, tuple)) and len(box) == 4
    if not is_list or not all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in box):
        raise ValueError(f"must have a box of x, y, width and height, got {box!r}")
    if not all(map(math.isfinite, box)):
        raise ValueError(f"must have a box of finite numbers, got {box}")
    x, y, width, height = box
    if width < 0 or height < 0:
        raise ValueError(f"must have a box with a width and a height of at least 0, got {box}")
    if x >= size[1] or y >= size[0] or x + width < 0 or y + height < 0:
        raise ValueError(f"must have a box that meets its image of {size[0]} x {size[1]} (height x width), got {box}")


def _have_masks(annotations: Sequence[Entry]) -> bool:
    """Whether most objects have a mask; without objects, yes."""
    return 2 * sum(bool(one.get("segmentation")) for one in annotations) >= len(annotations)


def _box_of(mask: Any) -> list[float]:
    if isinstance(mask, dict):
        return [float(one) for one in import_extra("pycocotools.mask", "detection", "COCO needs").toBbox(mask)]
    x, y = (np.concatenate([np.asarray(polygon[axis::2], dtype=float) for polygon in mask]) for axis in (0, 1))
    return [float(x.min()), float(y.min()), float(np.ptp(x)), float(np.ptp(y))]


def _area(mask: Any, box: Sequence[Any]) -> float:
    if mask is None:
        return float(box[2] * box[3])
    if isinstance(mask, dict):
        return float(import_extra("pycocotools.mask", "detection", "COCO needs").area(mask))
    return sum(_polygon_area(np.asarray(polygon, dtype=float).reshape(-1, 2)) for polygon in mask)


def _polygon_area(points: np.ndarray) -> float:
    x, y = points.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)
