"""COCO annotations: images with boxes, classes and masks of their objects."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pointcoc.checks import InputWarning, check_count, check_folder
from pointcoc.data.coco_file import read_coco
from pointcoc.data.image_files import read_image, upright_size

THREADS = 8
"""Threads that read the sizes of images."""


class CocoImages(Dataset):
    """Images of a COCO annotation file with the targets that detectors are trained on.

    The file is checked whole when it is opened, see `pointcoc.data.coco_file.read_coco`: what is damaged is an error,
    what was left out or derived is said. Polygons and both kinds of RLE are read. Crowds are no targets (`coco` has
    them, for the measure); an image without objects has targets of length 0. Images come upright, as viewers show them,
    and so are their annotations.

    Args:
        images: folder of the images.
        annotations: a file such as instances_train2017.json.
        num_classes: None for labels 1, 2, ... in the order of the category ids, with 0 the background; a number for the
            ids of the file as labels, which are then below it: 91 for COCO.
        transform: changes image and target, such as `MirrorObjects()`.
        ids: numbers of the images to read, in this order; all of the file by default.
        masks: whether targets have masks; None for what most objects of the file have.
        labels: label of each category by its id, in place of `num_classes`.

    Attributes:
        coco: a `pycocotools.coco.COCO` of what was read; its category ids are labels.
        classes: name of each class by its label.
        category_ids: id in the file of each class by its label.
        num_classes: one more than the highest label.
        has_masks: whether targets have masks.

    Raises:
        FileNotFoundError: if the folder, the file or an image is missing.
        ValueError: if the file holds no COCO annotations or something damaged, not all of `ids`, or a category id
            outside the classes; when an item is read whose image has another size than the file says.
        ImportError: if pycocotools is not installed.
    """

    def __init__(
        self,
        images: str | Path,
        annotations: str | Path,
        *,
        num_classes: int | None = None,
        transform: Callable[[Tensor, dict[str, Tensor]], tuple[Tensor, dict[str, Tensor]]] | None = None,
        ids: Sequence[int] | None = None,
        masks: bool | None = None,
        labels: Mapping[Any, int] | None = None,
    ):
        self.folder = check_folder("images", images)
        if num_classes is not None:
            check_count("num_classes", num_classes, 2)
        keep_ids = labels is None and num_classes is not None
        read = read_coco(annotations, self.folder, masks=masks, keep_ids=keep_ids, labels=labels)
        for remark in read.remarks:
            warnings.warn(remark, InputWarning, stacklevel=2)
        self.coco, self.classes, self.category_ids = read.coco, dict(read.classes), dict(read.category_ids)
        self.has_masks, self.transform = read.has_masks, transform
        self.num_classes = 1 + max(self.classes, default=1) if num_classes is None else num_classes
        used = {one["category_id"] for one in self.coco.dataset["annotations"]}
        if wrong := [one for one in used if not isinstance(one, int) or not 1 <= one < self.num_classes]:
            raise ValueError(
                f"{annotations} must hold category ids 1 to {self.num_classes - 1}, got "
                f"{', '.join(map(str, sorted(wrong, key=str)[:5]))}; leave out num_classes for labels of any ids"
            )
        self.ids: list[int] = sorted(self.coco.imgs) if ids is None else list(ids)
        if missing := [number for number in self.ids if number not in self.coco.imgs]:
            raise ValueError(f"ids must be numbers of images in {annotations}, got {missing[0]}")
        _check_files([Path(self.source(row)) for row in range(len(self))], Path(annotations))

    def __len__(self) -> int:
        return len(self.ids)

    def source(self, index: int) -> str:
        """Return the file of an image, for messages."""
        return str(self.folder / self.coco.imgs[self.ids[index]]["file_name"])

    def unused_classes(self) -> list[str]:
        """Return the names of the classes of which the images hold no object."""
        used = {one["category_id"] for number in self.ids for one in self.coco.imgToAnns[number]}
        return [name for label, name in sorted(self.classes.items()) if label not in used]

    def check_sizes(self) -> None:
        """Raise unless all images can be opened and have the sizes that the file says; their pixels are not read.

        Raises:
            ValueError: the message holds the file and both sizes.
        """
        with ThreadPoolExecutor(THREADS) as pool:
            sizes = pool.map(lambda row: upright_size(self.source(row)), range(len(self)))
            for row, size in enumerate(sizes):
                self._check_size(row, size)

    def _check_size(self, index: int, size: tuple[int, int]) -> None:
        entry = self.coco.imgs[self.ids[index]]
        stated = (entry["height"], entry["width"])
        if size != stated:
            turned = "; is it stored turned, and was it annotated as it is stored?" if size == stated[::-1] else ""
            raise ValueError(
                f"{self.source(index)} must have the size that the annotations say, {stated} (height, width), got "
                f"{size}{turned}"
            )

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        image = read_image(self.source(index))
        size = (image.shape[1], image.shape[2])
        self._check_size(index, size)
        target = self._target(self.ids[index], size)
        return (image, target) if self.transform is None else self.transform(image, target)

    def _target(self, image: int, size: tuple[int, int]) -> dict[str, Tensor]:
        found = [one for one in self.coco.imgToAnns[image] if not one["iscrowd"]]
        boxes = torch.tensor([one["bbox"] for one in found], dtype=torch.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        target = {
            "boxes": boxes,
            "labels": torch.tensor([one["category_id"] for one in found], dtype=torch.int64),
            "image_id": torch.tensor(image),
        }
        if self.has_masks:
            masks = np.array([self.coco.annToMask(one) for one in found], dtype=np.uint8).reshape(-1, *size)
            target["masks"] = torch.from_numpy(masks)
        return target


class MirrorObjects:
    """Mirror an image with its boxes and masks, with a probability of one half."""

    def __call__(self, image: Tensor, target: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the image and the target, or both mirrored."""
        if torch.rand(()) < 0.5:
            return image, target
        boxes = target["boxes"].clone()
        boxes[:, [0, 2]] = image.shape[2] - boxes[:, [2, 0]]
        masks = {"masks": target["masks"].flip(2)} if "masks" in target else {}
        return image.flip(2), {**target, "boxes": boxes, **masks}


def _check_files(files: Sequence[Path], annotations: Path) -> None:
    """Raise unless all images are there."""
    if missing := [file for file in files if not file.is_file()]:
        raise FileNotFoundError(
            f"{len(missing):,} of {len(files):,} images of {annotations} are missing, such as {missing[0]}"
        )
