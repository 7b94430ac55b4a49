"""From an image to the class of each pixel: whole, or window by window where an image is too large."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pointcoc.checks import check_range


@torch.no_grad()
def class_map(model: nn.Module, image: Tensor, window: int | None = None, stride: int | None = None) -> Tensor:
    """Return the class of each pixel of an image.

    Args:
        model: maps images (B, C, H, W) to logits (B, num_classes, H, W); its mode is left as it is.
        image: shape (C, H, W).
        window: side of the windows (see `sliding_logits`); the whole image at once by default.
        stride: pixels between two windows; two thirds of a window by default.

    Returns:
        Classes, shape (H, W), int64.
    """
    logits = model(image[None])[0] if window is None else sliding_logits(model, image, window, stride)
    return logits.argmax(0)


def sliding_logits(model: nn.Module, image: Tensor, window: int, stride: int | None = None) -> Tensor:
    """Average the logits of overlapping windows; those at the far edges are moved inward, never padded.

    Args:
        model: maps images (B, C, H, W) to logits (B, num_classes, H, W).
        image: shape (C, H, W).
        window: side of the windows, in pixels; a side of the image that is shorter is one window.
        stride: pixels between two windows, at most `window`; two thirds of a window by default.

    Returns:
        Logits, shape (num_classes, H, W).

    Raises:
        ValueError: if the image is not (C, H, W), or window or stride is not allowed.
    """
    if image.ndim != 3:
        raise ValueError(f"image must have shape (C, H, W), got {tuple(image.shape)}")
    check_range("window", window, 1)
    stride = max(1, window * 2 // 3) if stride is None else stride
    if not 1 <= stride <= window:
        raise ValueError(f"stride must be in [1, {window}], the window, got {stride}: pixels would be left out")
    total, count = None, image.new_zeros(image.shape[1:])
    for row in _starts(image.shape[1], window, stride):
        for column in _starts(image.shape[2], window, stride):
            part = (..., slice(row, row + window), slice(column, column + window))
            logits = model(image[part][None])[0]
            total = logits.new_zeros(logits.shape[0], *image.shape[1:]) if total is None else total
            total[part] += logits
            count[part] += 1
    assert total is not None
    return total / count


def _starts(length: int, window: int, stride: int) -> list[int]:
    last = max(0, length - window)
    return [*range(0, last, stride), last]
