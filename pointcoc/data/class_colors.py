"""Colors of classes."""

import torch
from torch import Tensor


def class_colors(num: int) -> Tensor:
    """Return a color for each class, shape (num, 3), uint8: those of PASCAL VOC without its black.

    The bits of a class's number, from 1, go in turn to red, green and blue, the lowest to the highest bit of each; so
    255 classes have colors of their own, and then they come again.

    Args:
        num: number of classes.
    """
    number = torch.arange(num)[:, None, None] % 255 + 1
    channel, bit = torch.arange(3)[:, None], torch.arange(3)
    return (((number >> (3 * bit + channel)) & 1) << (7 - bit)).sum(2).to(torch.uint8)
