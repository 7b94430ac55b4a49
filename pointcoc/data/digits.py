"""Handwritten digits of scikit-learn, as images or as the set of their inked pixels; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset
from torch_geometric.data import Data

from pointcoc.checks import check_choice, check_count, import_extra
from pointcoc.data.splits import split_validation
from pointcoc.pointset import PointSet, image_to_points

DIGITS_MEAN = 0.30579
"""Mean brightness of the training images at size 32, brightness in [0, 1]."""

DIGITS_STD = 0.32400
"""Standard deviation of the brightness of the training images at size 32."""

INK_THRESHOLD = 0.25
"""Pixels brighter than this, in [0, 1], are ink."""

TEST_FRACTION = 0.2
CLASSES = tuple("0123456789")
SPLITS = ("train", "test")


class DigitImages(Dataset):
    """Digits as images: item i is (image, label), image (1, size, size) normalized to mean 0 and deviation 1.

    Attributes:
        images: all images, float32 of shape (N, 1, size, size).
        labels: all labels, int64 of shape (N,).
        classes: names of the classes, "0" to "9".
        transform: maps the image tensor of an item, or None.
    """

    def __init__(self, images: Tensor, labels: Tensor, transform: Callable[[Tensor], Any] | None = None) -> None:
        self.images = images
        self.labels = labels
        self.classes = CLASSES
        self.transform = transform

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Return an image and its label."""
        image = self.images[index]
        return image if self.transform is None else self.transform(image), int(self.labels[index])


class DigitInk(Dataset):
    """Digits as ink sets: item i is a `Data` of the inked pixels only, so every set has its own size.

    An item has `x` (N, 3) = [brightness, x - 0.5, y - 0.5], normalized as the images are, `pos` (N, 2) = sites (row,
    column), `sizes` (1, 2) = (size, size) and `y` (1,). Its tensors are views of the data set: do not write into them.

    Attributes:
        points: all sets as one `PointSet`.
        labels: all labels, int64 of shape (N,).
        classes: names of the classes, "0" to "9".
        transform: a torch_geometric transform of an item, or None.
    """

    def __init__(self, points: PointSet, labels: Tensor, transform: Callable[[Data], Data] | None = None) -> None:
        self.points = points
        self.labels = labels
        self.classes = CLASSES
        self.transform = transform
        self._bounds = points.ptr.tolist()

    def __len__(self) -> int:
        """Return the number of sets."""
        return len(self.labels)

    def __getitem__(self, index: int) -> Data:
        """Return a set with its label."""
        number = range(len(self))[index]
        rows = slice(self._bounds[number], self._bounds[number + 1])
        assert self.points.sizes is not None
        data = Data(
            x=self.points.x[rows],
            pos=self.points.pos[rows],
            sizes=self.points.sizes[number, None],
            y=self.labels[number, None],
        )
        return data if self.transform is None else self.transform(data)


def digits(
    split: str, form: str = "image", size: int = 32, transform: Callable[[Any], Any] | None = None
) -> DigitImages | DigitInk:
    """Load a split of scikit-learn's 1,797 handwritten digits, enlarged from 8 x 8 pixels with bilinear interpolation.

    Split: 80 % train, 20 % test, stratified, always the same. The writers of both parts are the same people, so
    accuracies are higher than on digits of unseen writers.

    Args:
        split: "train" or "test".
        form: "image" for images, "ink" for the sets of pixels brighter than `INK_THRESHOLD`.
        size: height and width of the images in pixels, 8 or more.
        transform: applied to the image tensor or to the `Data` of an item.

    Returns:
        The data set, with `classes` and `labels`.

    Raises:
        ValueError: if split, form or size are not allowed.
        ImportError: if scikit-learn is not installed.
    """
    check_choice("split", split, SPLITS)
    check_choice("form", form, ("image", "ink"))
    check_count("size", size, minimum=8)
    brightness, labels = _load(split)
    brightness = functional.interpolate(brightness, size=(size, size), mode="bilinear", align_corners=False)
    if form == "ink":
        return DigitInk(ink_points(brightness), labels, transform)
    return DigitImages(_normalize(brightness), labels, transform)


def ink_points(images: Tensor, threshold: float = INK_THRESHOLD) -> PointSet:
    """Turn images of digits into the sets of their inked pixels.

    Args:
        images: brightness in [0, 1], shape (B, 1, H, W).
        threshold: pixels brighter than this are ink.

    Returns:
        B sets of lattice sites, the brightness normalized with `DIGITS_MEAN` and `DIGITS_STD`.

    Raises:
        ValueError: if the shape is another one or an image has no ink; the message holds the image.
    """
    if images.ndim != 4 or images.shape[1] != 1:
        raise ValueError(f"images must have shape (B, 1, H, W), got {tuple(images.shape)}")
    ink = images[:, 0] > threshold
    empty = (~ink.flatten(1).any(1)).nonzero()[:, 0].tolist()
    if empty:
        raise ValueError(
            f"images must have ink, pixels brighter than {threshold}; image {empty[0]} has none "
            f"(its brightest pixel is {images[empty[0]].max():.3g})"
        )
    return image_to_points(_normalize(images), mask=ink)


def _load(split: str) -> tuple[Tensor, Tensor]:
    """Load brightness (N, 1, 8, 8) in [0, 1] and labels (N,) of a split."""
    source = import_extra("sklearn.datasets").load_digits()
    labels = torch.from_numpy(source.target.astype(np.int64))
    images = torch.from_numpy((source.images / 16.0).astype(np.float32))[:, None]
    rows = split_validation(labels, fraction=TEST_FRACTION, seed=0)[SPLITS.index(split)]
    return images[rows], labels[rows]


def _normalize(brightness: Tensor) -> Tensor:
    return (brightness - DIGITS_MEAN) / DIGITS_STD
