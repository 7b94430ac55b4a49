"""Folders of images with a mask of classes each: `images/SPLIT/*` and `annotations/SPLIT/*.png`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pointcoc.checks import check_count, check_folder
from pointcoc.data.image_files import ENDINGS, list_images, opened, read_image

IGNORE = -100
"""The class of pixels that count nowhere, as in torch's cross entropy."""
NAME_FILES = ("classes.txt", "objectInfo150.txt")
MASK_MODES = ("1", "L", "P", "I", "I;16", "I;16L", "I;16B")


class MaskFolder(Dataset):
    """Images with the class of each pixel: `path/images/SPLIT/NAME.jpg` with `path/annotations/SPLIT/NAME.png`.

    Images come as three channels, upright (see `pointcoc.data.image_files`); hidden files are none, and a line tells
    how many files look like images that are not read. A mask holds one number per pixel; of a mask with a palette those
    numbers are read, not its colors.

    Args:
        path: folder that holds `images/` and `annotations/`.
        split: name of the folders in both.
        num_classes: classes of a pixel.
        first_class: the number of class 0 in the masks: 1 for ADE20K, whose 0 is to be ignored.
        ignore: numbers in the masks whose pixels count nowhere.
        numbers: other number of each class, as weights have it; None to keep them.
        transform: maps image (3, H, W), floats in [0, 1], and classes (H, W) to what the data set returns.

    Raises:
        FileNotFoundError: if a folder or the mask of an image is missing; no images count as that.
        ValueError: if two images would share a mask; when an item is read whose mask has another size than its image,
            colors in place of numbers, or a number outside the classes.
    """

    def __init__(
        self,
        path: str | Path,
        split: str,
        *,
        num_classes: int,
        first_class: int = 0,
        ignore: Collection[int] = (255,),
        numbers: Mapping[int, int] | None = None,
        transform: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    ):
        check_count("num_classes", num_classes)
        check_count("first_class", first_class, 0)
        root = check_folder("path", path)
        self.images = _images(check_folder("path/images/SPLIT", root / "images" / split))
        self.masks = _masks(self.images, check_folder("path/annotations/SPLIT", root / "annotations" / split))
        self.num_classes = num_classes
        self.first_class = first_class
        self.ignore = tuple(ignore)
        self.numbers = numbers
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def source(self, index: int) -> str:
        """Return the file of an image, for messages."""
        return str(self.images[index])

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = read_image(self.images[index])
        mask = self._read_mask(self.masks[index])
        if mask.shape != image.shape[1:]:
            raise ValueError(
                f"a mask must have the size of its image: {self.masks[index]} has {tuple(mask.shape)} and "
                f"{self.images[index].name} has {tuple(image.shape[1:])} (height, width)"
            )
        return (image, mask) if self.transform is None else self.transform(image, mask)

    def _read_mask(self, path: Path) -> Tensor:
        numbers = _numbers(path)
        is_ignored = np.isin(numbers, self.ignore)
        classes = np.where(is_ignored, IGNORE, numbers - self.first_class)
        wrong = np.unique(numbers[~is_ignored & ((classes < 0) | (classes >= self.num_classes))])
        if len(wrong):
            last = self.first_class + self.num_classes - 1
            raise ValueError(
                f"{path} must hold classes {self.first_class} to {last}, or "
                f"{', '.join(map(str, self.ignore)) or 'none'} for pixels to ignore, "
                f"got {', '.join(map(str, wrong[:5]))}"
            )
        return torch.from_numpy(classes if self.numbers is None else self._renumbered(classes))

    def _renumbered(self, classes: np.ndarray) -> np.ndarray:
        """Return the classes with the numbers that were asked for."""
        assert self.numbers is not None
        table = np.full(self.num_classes + 1, IGNORE, dtype=np.int64)  # the last entry is that of ignored pixels
        for number, other in self.numbers.items():
            table[number] = other
        return table[np.where(classes == IGNORE, self.num_classes, classes)]


def mask_class_names(path: str | Path) -> tuple[str, ...] | None:
    """Return the names of the classes that a folder of masks tells, in the order of their numbers; None if it does not.

    Args:
        path: folder with classes.txt, a name a line, or objectInfo150.txt of ADE20K; or such a file.

    Raises:
        FileNotFoundError: if there is neither a folder nor a file.
        ValueError: if the file holds no names.
    """
    root = Path(path).expanduser()
    file = root if root.is_file() else next((root / name for name in NAME_FILES if (root / name).is_file()), None)
    if file is None:
        if not root.is_dir():
            raise FileNotFoundError(f"class names must be in a file, but nothing lies at {root}")
        return None
    lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    if lines and lines[0].startswith("Idx"):  # ADE20K: Idx Ratio Train Val Name, between tabs
        lines = [line.split("\t")[-1].split(",")[0].strip() for line in lines[1:]]
    if not lines:
        raise ValueError(f"{file} must hold the names of the classes, a line each, got none")
    return tuple(lines)


def _numbers(path: Path) -> np.ndarray:
    with opened(path) as file:
        if file.mode not in MASK_MODES:
            raise ValueError(
                f"{path} must hold one number per pixel (mode {', '.join(MASK_MODES)}), got mode {file.mode}: "
                "colors are not classes"
            )
        return np.asarray(file).astype(np.int64)


def _images(folder: Path) -> list[Path]:
    found = list_images(folder)
    if not found:
        raise FileNotFoundError(f"{folder} must hold images ({', '.join(ENDINGS)}), got none")
    if twice := [stem for stem, count in Counter(path.stem for path in found).items() if count > 1]:
        raise ValueError(f"{folder} must hold one image for each mask, got several named {twice[0]}")
    return found


def _masks(images: list[Path], folder: Path) -> list[Path]:
    masks = [folder / f"{image.stem}.png" for image in images]
    missing = [mask.name for mask in masks if not mask.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder} must hold a mask for every image; {len(missing)} of {len(masks)} are missing: "
            f"{', '.join(missing[:5])}"
        )
    return masks
