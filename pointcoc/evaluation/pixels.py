"""Images with a class for each pixel."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from pointcoc.checks import check_count, check_folder
from pointcoc.data import MaskFolder, PlainMask
from pointcoc.data.mask_folder import mask_class_names
from pointcoc.segmentation.tasks import PixelTask
from pointcoc.train.class_numbers import matched_classes, shown_names
from pointcoc.train.task import Task

SPLITS = ("validation", "val", "test")


def open_pixels(
    model: Any,
    data: str | Path,
    split: str | None = None,
    first_class: int | None = None,
    ignore: Collection[int | str] | None = None,
    window: int | None = None,
) -> tuple[Any, Task, dict[str, Any]]:
    """Open images and masks for a Semantic FPN.

    Args:
        model: a Semantic FPN.
        data: folder with images/SPLIT and annotations/SPLIT and, or not, names of classes in classes.txt.
        split: name of both folders; by default validation, val or test, whichever there is.
        first_class: number of the first class in the masks; as noted with the weights by default.
        ignore: numbers in the masks that count nowhere; as noted with the weights by default.
        window: side of sliding windows, in pixels; 0 reads whole images; as noted with the weights by default.
    """
    notes, root = model.weights_info.notes, check_folder("data", data)
    window = int(notes.get("window", 0)) if window is None else window
    check_count("window", window, 0)
    first_class = int(notes.get("first_class", 0)) if first_class is None else first_class
    noted = notes.get("ignore", (255,) if first_class == 0 else (0,))
    names = mask_class_names(root)
    numbers = None if names is None else matched_classes(model, names, str(root))
    masks = MaskFolder(
        root,
        split or _split(root),
        num_classes=model.num_classes if names is None else len(names),
        numbers=numbers,
        first_class=first_class,
        ignore=_numbers(noted if ignore is None else ignore),
        transform=PlainMask(int(notes.get("short_side", 0))),
    )
    shown = {"classes": shown_names(model, names, str(root))}
    return masks, PixelTask(model.num_classes, window, shown), {"batch_size": 1}


def _numbers(ignore: Collection[int | str]) -> tuple[int, ...]:
    try:
        return tuple(int(one) for one in ignore)
    except ValueError as error:
        raise ValueError(f"ignore must hold numbers in masks, got {', '.join(map(str, ignore))}") from error


def _split(root: Path) -> str:
    folder = check_folder("data/images", root / "images")
    held = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    for name in SPLITS:
        if name in held:
            return name
    raise FileNotFoundError(
        f"{folder} must hold {', '.join(SPLITS[:-1])} or {SPLITS[-1]}, or split must be given; it holds "
        f"{', '.join(held) or 'no folder'}"
    )
