"""What segmentation does to an image and its mask together: resize, crop, mirror, normalize."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor
from torch.nn import functional as F

from pointcoc.checks import InputWarning, check_count, import_extra
from pointcoc.data.mask_folder import IGNORE
from pointcoc.models import ImageTransform

CROP_TRIES = 10
LONGEST, LONGEST_OF_ALL = 4, 4096
"""Most pixels of a long side: so many short sides, or so many where images keep their size."""


class PlainMask:
    """Resize an image to a short side and normalize it; the mask stays as it is, for the measure is on its pixels.

    The long side stays below a bound, so that a panorama fits into memory; a line says so once.

    Args:
        short_side: short side of the image in pixels; 0 leaves the size.
        long_side: most pixels of the long side; 4 times the short side by default, 4,096 where that is 0.
    """

    def __init__(self, short_side: int = 0, long_side: int | None = None):
        self.short_side = short_side
        self.long_side = bound_of(short_side, long_side)
        self.has_said = False

    def __call__(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the image that the network reads and the mask."""
        return normalize(resize(image, _short(self, image))), mask


class RandomMask:
    """Resize by a random factor, crop, mirror, change the colors, normalize: the training of Semantic FPN on ADE20K.

    A crop avoids, in ten tries, that one class has more than three quarters of it. Where the image is smaller than the
    crop, black and ignored pixels fill the rest.

    Args:
        crop: side of what is returned, in pixels.
        short_side: short side of the image before the random factor; 0 leaves the size.
        scales: lowest and highest factor.
        jitter: change brightness, contrast, saturation and hue.
        long_side: see `PlainMask`; before the random factor.
    """

    def __init__(
        self,
        crop: int,
        short_side: int = 0,
        scales: tuple[float, float] = (0.5, 2.0),
        jitter: bool = True,
        long_side: int | None = None,
    ):
        self.crop = crop
        self.short_side = short_side
        self.long_side = bound_of(short_side, long_side)
        self.has_said = False
        self.scales = scales
        color = {"brightness": 0.125, "contrast": 0.5, "saturation": 0.5, "hue": 0.07}
        self.jitter = import_extra("torchvision.transforms").ColorJitter(**color) if jitter else None

    def __call__(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return image (3, crop, crop) and mask (crop, crop)."""
        low, high = self.scales
        size = _short(self, image, low + (high - low) * torch.rand(()).item())
        image, mask = self._crop(resize(image, size), resize_mask(mask, size))
        if torch.rand(()) < 0.5:
            image, mask = image.flip(2), mask.flip(1)
        image = normalize(image if self.jitter is None else self.jitter(image))
        fill = (0, self.crop - image.shape[2], 0, self.crop - image.shape[1])
        return F.pad(image, fill), F.pad(mask, fill, value=IGNORE)

    def _crop(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        for _ in range(CROP_TRIES):
            rows, columns = (_span(length, self.crop) for length in mask.shape)
            part = mask[rows, columns]
            if _largest_share(part) <= 0.75:
                break
        return image[:, rows, columns], part


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize an image (3, H, W) to (height, width), bilinear, smoothed where it shrinks."""
    if tuple(image.shape[1:]) == size:
        return image
    return F.interpolate(image[None], size, mode="bilinear", align_corners=False, antialias=True)[0]


def resize_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a mask (H, W) to (height, width): each pixel has the class of the nearest one."""
    return F.interpolate(mask[None, None].double(), size, mode="nearest-exact")[0, 0].to(mask.dtype)


def normalize(image: Tensor) -> Tensor:
    """Subtract the mean of ImageNet and divide by its deviation."""
    mean, std = (
        torch.tensor(value, dtype=image.dtype)[:, None, None] for value in (ImageTransform.mean, ImageTransform.std)
    )
    return (image - mean) / std


def bound_of(short_side: int, long_side: int | None = None) -> int:
    """Return the most pixels of the long side of an image, see `PlainMask`.

    Args:
        short_side: short side, 0 for the size as it is.
        long_side: what was asked for; None for the default.
    """
    if long_side is not None:
        check_count("long_side", long_side)
        return max(long_side, short_side)
    return LONGEST * short_side if short_side else LONGEST_OF_ALL


def _short(transform: PlainMask | RandomMask, image: Tensor, factor: float = 1.0) -> tuple[int, int]:
    """Return height and width within the bounds of a transform, which says once that it made an image smaller."""
    short_side, long_side = transform.short_side, transform.long_side
    height, width = image.shape[1:]
    wanted = short_side / min(height, width) if short_side else 1.0
    scale = min(wanted, long_side / max(height, width))
    if scale < wanted and not transform.has_said:
        transform.has_said = True
        warnings.warn(
            f"images whose long side would be above {long_side:,} pixels are made smaller, such as one of {height:,} x "
            f"{width:,} (height x width)",
            InputWarning,
            stacklevel=3,
        )
    return max(1, round(height * scale * factor)), max(1, round(width * scale * factor))


def _span(length: int, crop: int) -> slice:
    start = int(torch.randint(max(0, length - crop) + 1, ()))
    return slice(start, start + crop)


def _largest_share(mask: Tensor) -> float:
    counts = torch.bincount(mask[mask != IGNORE])
    return float(counts.max() / counts.sum()) if counts.numel() else 0.0
