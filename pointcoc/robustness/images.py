"""The fifteen corruptions of CIFAR-10-C for small images, by name."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pointcoc.robustness import image_blur, image_digital, image_noise, image_weather
from pointcoc.robustness.drawing import Corruption, check_corruption, generator

IMAGE_CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": image_noise.gaussian_noise,
    "shot_noise": image_noise.shot_noise,
    "impulse_noise": image_noise.impulse_noise,
    "defocus_blur": image_blur.defocus_blur,
    "glass_blur": image_blur.glass_blur,
    "motion_blur": image_blur.motion_blur,
    "zoom_blur": image_blur.zoom_blur,
    "snow": image_weather.snow,
    "frost": image_weather.frost,
    "fog": image_weather.fog,
    "brightness": image_digital.brightness,
    "contrast": image_digital.contrast,
    "elastic": image_digital.elastic,
    "pixelate": image_digital.pixelate,
    "jpeg": image_digital.jpeg,
}
"""Corruptions of images by name: noise, blur, weather, digital."""


def corrupt_image(image: Tensor, kind: str, strength: int, seed: int = 0, index: int = 0) -> Tensor:
    """Corrupt a small image as CIFAR-10-C does.

    Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, ICLR 2019:
    the kinds of ImageNet-C with the strengths of CIFAR-10-C. Lengths grow with the shorter side where it is not 32.
    `frost` lays computed ice over the image where the benchmark has photographs, and what the benchmark asks
    ImageMagick and OpenCV for is done with scipy and pillow, so values are alike, not equal.

    Args:
        image: shape (C, H, W), values in [0, 1].
        kind: one of `IMAGE_CORRUPTIONS`.
        strength: 1 to 5.
        seed: of the measurement.
        index: number of the image in its data set; (seed, kind, strength, index) determine what is drawn.

    Returns:
        The image, same shape, dtype and device, values in [0, 1].

    Raises:
        ValueError: if the shape, a value, the kind or the strength is not allowed.
    """
    check_corruption(kind, strength, tuple(IMAGE_CORRUPTIONS))
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(f"image must have shape (C, H, W), got {tuple(image.shape)}")
    if not (image.min() >= 0 and image.max() <= 1):
        raise ValueError(f"image must have values in [0, 1], got {image.min():.3g} to {image.max():.3g}")
    values = np.ascontiguousarray(image.detach().cpu().double().permute(1, 2, 0).numpy())
    corrupted = IMAGE_CORRUPTIONS[kind](values, strength, generator(seed, kind, strength, index))
    return torch.from_numpy(np.clip(corrupted, 0, 1)).permute(2, 0, 1).contiguous().to(image)
