"""Images and masks stay together through resizing, cropping and mirroring."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pointcoc.data import IGNORE, PlainMask, RandomMask
from pointcoc.data.mask_transforms import normalize, resize_mask


def pair(height: int, width: int) -> tuple[Tensor, Tensor]:
    """An image that shows its mask: class 1 is white, class 0 black, in blocks of 8 pixels."""
    mask = (torch.arange(height)[:, None] // 8 + torch.arange(width) // 8) % 2
    return mask.float().expand(3, -1, -1).clone(), mask


@pytest.mark.parametrize("size", [(1, 1), (40, 64), (100, 30)])
def test_crops_have_one_size_and_show_their_mask(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    for _ in range(20):
        image, mask = RandomMask(48, scales=(1.0, 2.0), jitter=False)(*pair(*size))
        assert image.shape == (3, 48, 48)
        assert mask.shape == (48, 48)
        white = image[0] > normalize(torch.full((3, 1, 1), 0.5))[0]
        seen = mask != IGNORE
        assert (white == mask.bool())[seen].double().mean() > 0.8  # smoothing moves edges by a part of a pixel
        assert not image[:, ~seen].any()


def test_without_resizing_nothing_is_smoothed() -> None:
    torch.manual_seed(0)
    image, mask = RandomMask(32, scales=(1.0, 1.0), jitter=False)(*pair(40, 40))
    assert torch.equal(image, normalize(mask.float().expand(3, -1, -1)))


def test_a_crop_avoids_a_single_class() -> None:
    torch.manual_seed(0)
    mask = torch.zeros(64, 64, dtype=torch.int64)
    mask[:, 32:] = 1
    transform = RandomMask(16, scales=(1.0, 1.0), jitter=False)
    both = [len(transform(torch.rand(3, 64, 64), mask)[1].unique()) == 2 for _ in range(50)]
    assert sum(both) > 40  # about 15 of 49 places hold both: without tries a third would


def test_validation_keeps_the_mask() -> None:
    image, mask = PlainMask(20)(*pair(40, 60))
    assert image.shape == (3, 20, 30)
    assert mask.shape == (40, 60)
    assert PlainMask()(*pair(7, 5))[0].shape == (3, 7, 5)


def test_colors_change_and_classes_survive() -> None:
    torch.manual_seed(0)
    image, _ = RandomMask(32, scales=(1.0, 1.0))(*pair(32, 32))
    assert image.isfinite().all()
    assert resize_mask(torch.tensor([[IGNORE, 3]]), (2, 4)).tolist() == [[IGNORE, IGNORE, 3, 3]] * 2
