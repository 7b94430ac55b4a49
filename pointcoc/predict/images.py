"""Images with what a model found: drawn, as masks of numbers, and as a COCO file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from pointcoc.data.class_colors import class_colors
from pointcoc.data.mask_folder import read_image
from pointcoc.data.mask_transforms import PlainMask
from pointcoc.detection import coco_records
from pointcoc.segmentation import sliding_logits

ALPHA = 0.5
"""Share of the color of a class over the image."""


def read_pixels(path: Path) -> Tensor:
    """Read an image as three channels in [0, 1], shape (3, H, W).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no image.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file")
    try:
        return read_image(path)
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises on damaged files
        raise ValueError(f"{path} is not an image that can be read; give PNG, JPEG or the like") from error


def find_classes(model: nn.Module, image: Tensor, short_side: int, window: int | None) -> Tensor:
    """Return the class of each pixel of an image (3, H, W) in [0, 1], at its own size, shape (H, W).

    Args:
        model: a Semantic FPN.
        image: on the device of the model.
        short_side: short side that the network reads; 0 for the size as it is.
        window: side of sliding windows; None reads the image at once.
    """
    small, _ = PlainMask(short_side)(image, image[0])
    with torch.no_grad():
        logits = model(small[None]) if window is None else sliding_logits(model, small, window)[None]
    return F.interpolate(logits, image.shape[1:], mode="bilinear", align_corners=False)[0].argmax(0)


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


def draw_objects(image: Tensor, found: Mapping[str, Tensor], names: Mapping[int, str]) -> Tensor:
    """Draw masks, boxes and labels with scores, in the color of their class.

    Args:
        image: shape (3, H, W), in [0, 1].
        found: boxes (n, 4), labels (n,), scores (n,) and masks (n, 1, H, W) of one image.
        names: names of classes; those without are drawn as numbers.

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
    picture = draw_segmentation_masks(picture, found["masks"][:, 0] > 0.5, alpha=ALPHA, colors=colors)
    style: dict[str, Any] = {
        "width": 2,
        "fill_labels": True,
        "label_colors": "white",
        "label_background_colors": colors,
    }
    return draw_bounding_boxes(picture, found["boxes"], words, colors, **style)


def coco_dataset(
    files: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    found: Sequence[Mapping[str, Tensor]],
    names: Mapping[int, str],
) -> dict[str, Any]:
    """Describe objects as a COCO file, which `pycocotools.coco.COCO` opens.

    Its list `annotations` alone is what `loadRes` takes.

    Args:
        files: names of the images; image i has the id i + 1.
        sizes: height and width of each.
        found: boxes, labels, scores and masks of each.
        names: names of classes; those without get their number as name.

    Returns:
        `images`, `annotations` with scores and masks as RLE, and `categories`.
    """
    from pycocotools.mask import area  # optional

    records = [record for image, one in enumerate(found, 1) for record in coco_records(image, one)]
    for number, record in enumerate(records, 1):
        rle = record["segmentation"]
        record |= {"id": number, "iscrowd": 0, "area": int(area(rle))}
        record["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}  # JSON knows no bytes
    ids = sorted({record["category_id"] for record in records} | set(names))
    return {
        "images": [
            {"id": number, "file_name": file, "height": height, "width": width}
            for number, (file, (height, width)) in enumerate(zip(files, sizes, strict=True), 1)
        ],
        "annotations": records,
        "categories": [{"id": number, "name": names.get(number, str(number))} for number in ids],
    }


def write_picture(path: Path, pixels: Tensor) -> None:
    """Write an image (3, H, W), uint8, as PNG."""
    Image.fromarray(pixels.movedim(0, -1).cpu().numpy()).save(path)


def write_mask(path: Path, numbers: Tensor) -> None:
    """Write numbers (H, W) as a gray PNG that `MaskFolder` reads: 8 bits, or 16 where a number is above 255."""
    dtype = np.uint8 if int(numbers.max()) < 256 else np.uint16
    Image.fromarray(numbers.cpu().numpy().astype(dtype)).save(path)
