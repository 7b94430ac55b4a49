"""COCO annotations: images with boxes, classes and masks of their objects."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pointcoc.checks import check_count, check_file, check_folder, import_extra
from pointcoc.data.image_files import read_image


class CocoImages(Dataset):
    """Images of a COCO annotation file with the targets that Mask R-CNN is trained on.

    Polygons and both kinds of RLE are read. Crowds are no targets (`coco` has them, for the measure), nor are boxes
    without area; an image without objects has targets of length 0. Images may be gray or have a palette. Labels are the
    category ids of the file: 1 to 90 for COCO, with 0 the background.

    Args:
        images: folder of the images.
        annotations: a file such as instances_train2017.json.
        num_classes: one more than the highest category id: 91 for COCO.
        transform: changes image and target, such as `MirrorObjects()`.
        ids: numbers of the images to read, in this order; all of the file by default.

    Raises:
        FileNotFoundError: if the folder or the file is missing.
        ValueError: if the file holds no COCO annotations, not all of `ids`, or a category id outside the classes; when
            an item is read whose image or mask has another size than the file says of the image.
        ImportError: if pycocotools is not installed.
    """

    def __init__(
        self,
        images: str | Path,
        annotations: str | Path,
        *,
        num_classes: int = 91,
        transform: Callable[[Tensor, dict[str, Tensor]], tuple[Tensor, dict[str, Tensor]]] | None = None,
        ids: Sequence[int] | None = None,
    ):
        check_count("num_classes", num_classes, 2)
        self.folder = check_folder("images", images)
        self.coco = _open(Path(annotations).expanduser())
        self.num_classes = num_classes
        self.transform = transform
        if wrong := {one["category_id"] for one in self.coco.dataset["annotations"]} - set(range(1, num_classes)):
            raise ValueError(
                f"{annotations} must hold category ids 1 to {num_classes - 1}, got "
                f"{', '.join(map(str, sorted(wrong)[:5]))}; give another num_classes, one more than the highest id"
            )
        self.ids: list[int] = sorted(self.coco.imgs) if ids is None else list(ids)
        if missing := [number for number in self.ids if number not in self.coco.imgs]:
            raise ValueError(f"ids must be numbers of images in {annotations}, got {missing[0]}")

    def __len__(self) -> int:
        return len(self.ids)

    def source(self, index: int) -> str:
        """Return the file of an image, for messages."""
        return str(self.folder / self.coco.imgs[self.ids[index]]["file_name"])

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        entry = self.coco.imgs[self.ids[index]]
        image = read_image(self.folder / entry["file_name"])
        size = (entry["height"], entry["width"])
        if tuple(image.shape[1:]) != size:
            raise ValueError(
                f"{self.folder / entry['file_name']} must have the size that the annotations say, {size} (height, "
                f"width), got {tuple(image.shape[1:])}"
            )
        target = self._target(self.ids[index], size)
        return (image, target) if self.transform is None else self.transform(image, target)

    def _target(self, image: int, size: tuple[int, int]) -> dict[str, Tensor]:
        found = [one for one in self.coco.imgToAnns[image] if not one.get("iscrowd") and min(one["bbox"][2:]) > 0]
        boxes = torch.tensor([one["bbox"] for one in found], dtype=torch.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        masks = np.array([self._mask(one, size) for one in found], dtype=np.uint8).reshape(-1, *size)
        return {
            "boxes": boxes,
            "labels": torch.tensor([one["category_id"] for one in found], dtype=torch.int64),
            "masks": torch.from_numpy(masks),
            "image_id": torch.tensor(image),
        }

    def _mask(self, one: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
        mask = self.coco.annToMask(one)
        if mask.shape != size:
            raise ValueError(
                f"a mask must have the size of its image: annotation {one['id']} has {mask.shape} and image "
                f"{one['image_id']} has {size} (height, width)"
            )
        return mask


class MirrorObjects:
    """Mirror an image with its boxes and masks, with a probability of one half."""

    def __call__(self, image: Tensor, target: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the image and the target, or both mirrored."""
        if torch.rand(()) < 0.5:
            return image, target
        boxes = target["boxes"].clone()
        boxes[:, [0, 2]] = image.shape[2] - boxes[:, [2, 0]]
        return image.flip(2), {**target, "boxes": boxes, "masks": target["masks"].flip(2)}


def _open(path: Path) -> Any:
    coco = import_extra("pycocotools.coco", "detection", "COCO needs")
    check_file(path, f"annotations must be an existing file, but nothing lies at {path}")
    try:
        content = json.loads(path.read_text())
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
            opened = coco.COCO()
            opened.dataset = {"images": content["images"], "annotations": content["annotations"], **content}
            opened.createIndex()
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path} must hold COCO annotations (images, annotations, categories), got {type(error).__name__}: {error}"
        ) from error
    return opened
