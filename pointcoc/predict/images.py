"""Images with what a model found: drawn, and as masks of numbers."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import draw_bounding_boxes

from pointcoc.data.class_colors import class_colors

ALPHA = 0.5
"""Share of the color of a class over the image."""


def draw_classes(image: Tensor, classes: Tensor, num_classes: int) -> Tensor:
    """Lay the color of its class over each pixel, half transparent.

    Args:
        image: shape (3, H, W), in [0, 1].
        classes: shape (H, W), int64.
        num_classes: number of classes.

    Returns:
        Shape (3, H, W), uint8.
    """
    colors = class_colors(num_classes).to(image.device)[classes].movedim(-1, 0).to(image.dtype)
    return ((1 - ALPHA) * 255 * image + ALPHA * colors).round().to(torch.uint8)


def draw_objects(
    image: Tensor, found: Mapping[str, Tensor], names: Mapping[int, str], masks: Iterable[Tensor] | None = None
) -> Tensor:
    """Draw masks, boxes and labels with scores, in the color of their class.

    Args:
        image: shape (3, H, W), in [0, 1].
        found: boxes (n, 4), labels (n,), scores (n,) and, or not, masks (n, 1, H, W) of one image.
        names: names of classes; those without are drawn as numbers.
        masks: masks of the objects, shape (H, W), bool, one after the other, in place of those in `found`.

    Returns:
        Shape (3, H, W), uint8.
    """
    picture = (255 * image).round().to(torch.uint8)
    labels = found["labels"].tolist()
    if not labels:
        return picture
    table = class_colors(max(labels) + 1).tolist()
    colors: list[Any] = [tuple(table[label]) for label in labels]
    words = [
        f"{names.get(label, str(label))} {score:.0%}"
        for label, score in zip(labels, found["scores"].tolist(), strict=True)
    ]
    if masks is None and "masks" in found:
        masks = (mask[0] > 0.5 for mask in found["masks"])
    if masks is not None:
        picture = _paint(picture, masks, colors)
    return draw_bounding_boxes(
        picture,
        found["boxes"],
        words,
        colors,
        width=2,
        fill_labels=True,
        label_colors="white",
        label_background_colors=colors,
    )


def _paint(picture: Tensor, masks: Iterable[Tensor], colors: Sequence[Sequence[int]]) -> Tensor:
    """Lay colors over masks, half transparent, the later over the earlier; in memory of a few pictures."""
    painted = picture.clone()
    for mask, color in zip(masks, colors, strict=True):
        for channel, value in zip(painted, color, strict=True):
            channel.masked_fill_(mask, value)
    return torch.stack(
        [((1 - ALPHA) * old + ALPHA * new).to(torch.uint8) for old, new in zip(picture, painted, strict=True)]
    )


def write_picture(path: Path, pixels: Tensor) -> None:
    """Write an image (3, H, W), uint8, as PNG."""
    Image.fromarray(pixels.movedim(0, -1).cpu().numpy()).save(path)


def write_mask(path: Path, numbers: Tensor) -> None:
    """Write numbers (H, W) as a gray PNG that `MaskFolder` reads: 8 bits, or 16 where a number is above 255."""
    dtype = np.uint8 if int(numbers.max()) < 256 else np.uint16
    Image.fromarray(numbers.cpu().numpy().astype(dtype)).save(path)
