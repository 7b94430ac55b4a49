"""timm's RandAugment beside current Pillow."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


def keep_posterize_bits(transform: T) -> T:
    """Let RandAugment keep at least one bit of a color.

    At its largest magnitude timm's posterize keeps none (a black image), which the official recipe (magnitude 9 with a
    deviation of 0.5) draws for about one image in 650; Pillow 13 raises ValueError there, which ends a training.

    Args:
        transform: from `timm.data.create_transform`, or a part of it; its operations are changed in place.

    Returns:
        The transform.
    """
    for part in (transform, *getattr(transform, "transforms", ())):
        for operation in getattr(part, "ops", ()):
            if str(getattr(operation, "name", "")).startswith("Posterize"):
                operation.level_fn = partial(_at_least_one, operation.level_fn)
    return transform


def _at_least_one(level: Callable[..., tuple[int, ...]], magnitude: float, settings: Any) -> tuple[int, ...]:
    return tuple(max(1, kept) for kept in level(magnitude, settings))
