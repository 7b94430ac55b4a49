"""Images with boxes and masks of objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pointcoc.checks import check_folder
from pointcoc.data import CocoImages, YoloImages
from pointcoc.data.coco_file import coco_category_names
from pointcoc.data.yolo import is_yolo, yolo_names
from pointcoc.detection.task import DetectionTask, collate_images
from pointcoc.train.task import Task

SPLITS = ("val2017", "val", "valid", "validation", "test2017", "test")


def open_objects(
    model: Any, data: str | Path, split: str | None = None, annotations: str | Path | None = None
) -> tuple[Any, Task, dict[str, Any]]:
    """Open images and annotations for a detector; categories are matched by their names.

    Args:
        model: a Mask R-CNN or a Faster R-CNN.
        data: folder of the images; or one with a folder of images for each split and annotations/instances_SPLIT.json;
            or one with labels as YOLO takes them, see `YoloImages`.
        split: name of the split, for such a folder; by default the first of val2017, val, ... that there is.
        annotations: a COCO file of the images in `data`.
    """
    root, has_masks, info = check_folder("data", data), model.config.kind == "mask_rcnn", model.weights_info
    images: CocoImages
    if annotations is None and is_yolo(root):
        names, labels = yolo_names(root), None
        if names is not None and info.class_names is not None:
            labels = info.match_classes(names, str(root))
        images = YoloImages(root, split or "val", masks=has_masks, labels=labels)
    else:
        folder, file = find_coco(root, split, annotations)
        labels = matched_labels(info, file)
        num_classes = model.config.num_classes if labels is None else None
        images = CocoImages(folder, file, masks=has_masks, labels=labels, num_classes=num_classes)
    images.check_sizes()
    task = DetectionTask(images.coco, {"classes": images.classes}, has_masks)
    return images, task, {"batch_size": 1, "collate_fn": collate_images}


def find_coco(root: Path, split: str | None, annotations: str | Path | None) -> tuple[Path, Path]:
    """Return the folder of the images of a split and the file of their annotations.

    Args:
        root: see `open_objects`.
        split: see there.
        annotations: see there.

    Raises:
        FileNotFoundError: if they cannot be found.
        ValueError: if a split is given beside a file.
    """
    if annotations is not None:
        if split is not None:
            raise ValueError("split is for folders with annotations/instances_SPLIT.json: leave it out, or annotations")
        return root, Path(annotations).expanduser()
    names = SPLITS if split is None else (split,)
    for name in names:
        for file in (root / "annotations" / f"instances_{name}.json", root / name / "_annotations.coco.json"):
            if file.is_file():
                images = next((one for one in (root / name, root / "images" / name) if one.is_dir()), root / name)
                return check_folder("the folder of the split", images), file
    held = ", ".join(sorted(entry.name for entry in root.iterdir())[:8]) or "nothing"
    raise FileNotFoundError(
        f"give annotations, a COCO file; or data {root} must hold annotations/instances_{names[0]}.json and the folder "
        f"{names[0]}, it holds {held}"
    )


def matched_labels(info: Any, annotations: str | Path) -> dict[Any, int] | None:
    """Return the label of the weights for each category of a COCO file, by name; None where the weights state none.

    Args:
        info: what is known of the weights.
        annotations: the file.

    Raises:
        ValueError: if the file has a category that the weights do not know; the message lists the names of both.
    """
    if info.class_names is None:
        return None
    names = coco_category_names(annotations)
    numbers = info.match_classes(dict(enumerate(names.values())), str(annotations))
    return {key: numbers[row] for row, key in enumerate(names)}
