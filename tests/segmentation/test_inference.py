"""Whole images and sliding windows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pointcoc.segmentation import class_map, sliding_logits


class Seen(nn.Module):
    """Logits of a pixel are a function of it alone; notes the sizes it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append(tuple(images.shape[-2:]))
        return torch.cat([images, images.square()], 1)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (9, 23), (30, 5)])
@pytest.mark.parametrize("stride", [None, 3, 8])
def test_windows_cover_every_pixel_and_are_averaged(size: tuple[int, int], stride: int | None) -> None:
    image, model = torch.rand(3, *size), Seen()
    torch.testing.assert_close(sliding_logits(model, image, 8, stride), model(image[None])[0])
    assert set(model.sizes[:-1]) == {tuple(min(8, side) for side in size)}


def test_overlaps_are_the_mean() -> None:
    """Two windows of 4 over 6 pixels: columns 2 and 3 are seen by both."""
    values = iter([0.0, 6.0])
    logits = sliding_logits(lambda x: torch.full_like(x, next(values)), torch.rand(1, 4, 6), 4, 4)
    assert logits[0, 0].tolist() == [0, 0, 3, 3, 6, 6]


def test_classes_of_a_map() -> None:
    image = torch.tensor([[[2.0, 0.0]], [[0.0, 3.0]]])
    assert class_map(nn.Identity(), image).tolist() == [[0, 1]]
    assert class_map(nn.Identity(), image, window=1).tolist() == [[0, 1]]


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"image must have shape \(C, H, W\), got \(2, 2\)"):
        sliding_logits(nn.Identity(), torch.rand(2, 2), 1)
    with pytest.raises(ValueError, match="window must be at least 1, got 0"):
        sliding_logits(nn.Identity(), torch.rand(1, 2, 2), 0)
    with pytest.raises(ValueError, match=r"stride must be in \[1, 4\], the window, got 5"):
        sliding_logits(nn.Identity(), torch.rand(1, 2, 2), 4, 5)
