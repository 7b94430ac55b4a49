"""RandAugment of the official recipe never asks Pillow for what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps
from timm.data import create_transform

from pointcoc.data import keep_posterize_bits


def posterize_of(transform):
    (augment,) = [part for part in transform.transforms if hasattr(part, "ops")]
    return next(operation for operation in augment.ops if operation.name == "PosterizeIncreasing")


def recipe():
    return create_transform(16, is_training=True, auto_augment="rand-m9-mstd0.5-inc1")


@pytest.mark.parametrize(("magnitude", "bits"), [(10.0, 1), (7.5, 1), (5.0, 2), (0.0, 4)])
def test_bits_of_posterize(magnitude: float, bits: int) -> None:
    operation = posterize_of(keep_posterize_bits(recipe()))
    operation.magnitude, operation.magnitude_std, operation.prob = magnitude, 0, 1.0
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    found = operation(Image.fromarray(pixels))
    assert np.array_equal(np.asarray(found), np.asarray(ImageOps.posterize(Image.fromarray(pixels), bits)))


def test_timm_alone_asks_for_no_bit() -> None:
    """The reason for it; once timm keeps one itself, this fails and the function can go."""
    assert posterize_of(recipe()).level_fn(10.0, {}) == (0,)


def test_a_part_of_a_transform_and_one_without_operations() -> None:
    augment = create_transform(16, is_training=True, separate=True, auto_augment="rand-m9-mstd0.5-inc1")[1]
    assert posterize_of(keep_posterize_bits(augment)).level_fn(10.0, {}) == (1,)
    plain = create_transform(16)
    assert keep_posterize_bits(plain) is plain
