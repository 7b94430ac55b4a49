"""Digital corruptions of CIFAR-10-C: images (H, W, C) with values in [0, 1]; the caller clips what leaves [0, 1].

Strengths are those of the benchmark (Hendrycks and Dietterich, ICLR 2019; create_c/make_cifar_c.py of its repository).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage


def brightness(image: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Raise the brightness, the largest channel, by 0.05, ..., 0.3; hue and saturation stay."""
    value = image.max(2, keepdims=True)
    brighter = np.minimum(value + (0.05, 0.1, 0.15, 0.2, 0.3)[strength - 1], 1)
    return np.where(value > 0, image / np.where(value > 0, value, 1), 1) * brighter


def contrast(image: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Draw all values towards the mean of their channel, to 0.75, ..., 0.15 of the distance."""
    mean = image.mean((0, 1), keepdims=True)
    return mean + (0.75, 0.5, 0.4, 0.3, 0.15)[strength - 1] * (image - mean)


def elastic(image: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Bend the image: a random affine map and a smooth random movement of every pixel."""
    amount, smoothness, corner = (
        (0, 0, 0.08),
        (0.05, 0.2, 0.07),
        (0.08, 0.06, 0.06),
        (0.1, 0.04, 0.05),
        (0.1, 0.03, 0.03),
    )[strength - 1]
    side, places = min(image.shape[:2]), np.indices(image.shape[:2], dtype=float)
    movement = draw.uniform(-1, 1, places.shape) * amount * side
    movement = ndimage.gaussian_filter(movement, smoothness * side, axes=(1, 2), mode="reflect", truncate=3)
    places = _affine(places + movement, side, corner * side, draw)
    channels = np.moveaxis(image, 2, 0)
    return np.stack([ndimage.map_coordinates(one, places, order=1, mode="mirror") for one in channels], axis=2)


def pixelate(image: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Shrink the sides to 0.95, ..., 0.65 and enlarge them again, both by averages over boxes."""
    factor = (0.95, 0.9, 0.85, 0.75, 0.65)[strength - 1]
    height, width = image.shape[:2]
    small = (max(1, int(width * factor)), max(1, int(height * factor)))
    box = Image.Resampling.BOX
    return _by_pillow(image, lambda picture: picture.resize(small, box).resize((width, height), box))


def jpeg(image: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Write and read the image as JPEG of quality 80, 65, 58, 50, 40."""
    return _by_pillow(image, partial(_written_and_read, quality=(80, 65, 58, 50, 40)[strength - 1]))


def _affine(places: np.ndarray, side: int, most: float, draw: np.random.Generator) -> np.ndarray:
    """Map places (2, H, W) by the affine map that moves three corners of the central square by up to `most`."""
    middle = (np.array(places.shape[1:]) // 2)[:, None]
    corners = middle + side // 3 * np.array([[1, 1, -1], [1, -1, -1]])
    moved = corners + draw.uniform(-most, most, corners.shape)
    matrix = moved @ np.linalg.pinv(np.concatenate([corners, np.ones((1, 3))]))
    return np.einsum("ij,jhw->ihw", matrix[:, :2], places) + matrix[:, 2, None, None]


def _written_and_read(picture: Any, quality: int) -> Any:
    file = BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file)


def _by_pillow(image: np.ndarray, change: Callable[[Any], Any]) -> np.ndarray:
    """Change an image as 8-bit picture: of three channels in color, else channel by channel."""
    bytes_ = np.round(image * 255).astype(np.uint8)
    parts = [bytes_] if image.shape[2] == 3 else list(np.moveaxis(bytes_, 2, 0))
    changed = [np.asarray(change(Image.fromarray(part))) / 255 for part in parts]
    return changed[0] if image.shape[2] == 3 else np.stack(changed, axis=2)
