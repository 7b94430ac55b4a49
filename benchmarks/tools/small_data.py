"""Small real data in memory: images decoded once, clouds read once, both augmented as tensors of a whole batch."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad
from torchvision.transforms.functional import pil_to_tensor

from pointcoc.data import HDF5Clouds, image_folder, split_validation
from tools.timed_training import Recipe, Split

# B items a batch, C channels, P points a cloud.
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of the training set of CIFAR-10
BATCH = {"images": 64, "clouds": 16}
SHIFT_PIXELS = 4
STRETCH, SHIFT = 1.5, 0.2


def images(folder: Path) -> tuple[Split, Split, Split, int]:
    """Return training, validation and test part of an image folder of one size, and the number of classes."""
    train, test = (image_folder(folder, split, pil_to_tensor) for split in ("train", "val"))
    return *_parts(_decode(train), _decode(test)), len(train.classes)


def clouds(folder: Path, num_points: int) -> tuple[Split, Split, Split, int]:
    """Return training, validation and test part of an HDF5 folder, and the number of classes."""
    train, test = (HDF5Clouds(folder, split, num_points) for split in ("train", "test"))
    parts = _parts(Split(train.points, train.labels), Split(test.points, test.labels))
    return *parts, len(train.classes)


def _parts(train: Split, test: Split) -> tuple[Split, Split, Split]:
    """Split off a tenth of the training set, the same in all runs."""
    rows, val_rows = split_validation(train.labels)
    return train.rows(rows), train.rows(val_rows), test


def _decode(dataset: torch.utils.data.Dataset) -> Split:
    pixels = torch.stack([image for image, _ in dataset])  # type: ignore[attr-defined]
    mean, std = (torch.tensor(value)[:, None, None] for value in (MEAN, STD))
    return Split((pixels / 255 - mean) / std, dataset.labels)  # type: ignore[attr-defined]


def augment_images(images: Tensor) -> Tensor:
    """Shift each image (B, C, H, W) by up to 4 pixels, with zeros from outside, and mirror every other one."""
    num, _, height, width = images.shape
    mirrored = torch.where(torch.rand(num, 1, 1, 1) < 0.5, images.flip(3), images)
    wide = pad(mirrored, [SHIFT_PIXELS] * 4).permute(0, 2, 3, 1)  # (B, H + 8, W + 8, C)
    top, left = torch.randint(2 * SHIFT_PIXELS + 1, (2, num))
    rows, columns = top[:, None] + torch.arange(height), left[:, None] + torch.arange(width)
    shifted = wide[torch.arange(num)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return shifted.permute(0, 3, 1, 2)


def augment_clouds(clouds: Tensor) -> Tensor:
    """Stretch the axes of each cloud (B, P, 3) by factors from 1 / 1.5 to 1.5 and move it by up to 0.2 an axis."""
    factor = STRETCH ** torch.empty(len(clouds), 1, 3).uniform_(-1, 1)
    return clouds * factor + torch.empty(len(clouds), 1, 3).uniform_(-SHIFT, SHIFT)


def recipe_of(column: str) -> Recipe:
    """Return what all networks of a column share."""
    augment = augment_images if column == "images" else augment_clouds
    return Recipe(augment=augment, batch=BATCH[column], bfloat16=True)
