"""A panorama does not grow beyond memory."""

from __future__ import annotations

import pytest
import torch

from pointcoc.checks import InputWarning
from pointcoc.data import PlainMask, RandomMask


@pytest.mark.parametrize(
    ("transform", "size"),
    [
        (PlainMask(16), (3, 64)),
        (PlainMask(16, long_side=32), (2, 32)),
        (PlainMask(0, long_side=100), (5, 100)),
        (PlainMask(16, long_side=8), (1, 16)),
    ],
)
def test_long_sides_are_bounded(transform: PlainMask, size: tuple[int, int]) -> None:
    with pytest.warns(
        InputWarning, match="long side would be above .* pixels are made smaller, such as one of 10 x 200"
    ):
        image, mask = transform(torch.rand(3, 10, 200), torch.zeros(10, 200, dtype=torch.int64))
    again, _ = transform(torch.rand(3, 10, 200), mask)  # said once
    assert tuple(image.shape[1:]) == tuple(again.shape[1:]) == size
    assert mask.shape == (10, 200)


def test_usual_sides_are_not_changed() -> None:
    image, mask = torch.rand(3, 20, 60), torch.zeros(20, 60, dtype=torch.int64)
    assert PlainMask(16)(image, mask)[0].shape == (3, 16, 48)
    assert PlainMask(0)(image, mask)[0].shape == (3, 20, 60)
    assert PlainMask(0).long_side == 4096


def test_training_crops_of_a_panorama() -> None:
    torch.manual_seed(0)
    transform = RandomMask(8, short_side=16, scales=(1, 1), jitter=False)
    with pytest.warns(InputWarning, match="above 64 pixels"):
        image, mask = transform(torch.rand(3, 10, 200), torch.zeros(10, 200, dtype=torch.int64))
    assert (image.shape, mask.shape) == ((3, 8, 8), (8, 8))


def test_a_bound_is_at_least_a_pixel() -> None:
    with pytest.raises(ValueError, match="long_side must be an integer of at least 1, got 0"):
        PlainMask(0, long_side=0)
