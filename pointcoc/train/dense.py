"""What the recipes of dense prediction (boxes, pixels, points) share, around `fit`."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self, TypeVar

import tyro
from torch import nn

from pointcoc.train.checkpoint import load_weights
from pointcoc.train.processes import say
from pointcoc.train.recipe import Measured

SMOKE_UPDATES = 2
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class DenseSettings(Measured):
    """Settings of a recipe whose last weights are measured: nothing is chosen by a part of the training set.

    Raises:
        ValueError: if a value is outside its range or two contradict each other.
    """

    smoke_sets: ClassVar[int] = 4

    warmup_epochs: float = 0.0
    """Epochs of linear warm-up, part of the run."""
    min_lr: float = 0.0
    """Learning rate at the end of the schedule."""
    # What has no meaning here is no option.
    label_smoothing: Annotated[float, tyro.conf.Suppress] = 0.0
    mixup: Annotated[float, tyro.conf.Suppress] = 0.0
    cutmix: Annotated[float, tyro.conf.Suppress] = 0.0
    val_fraction: Annotated[float, tyro.conf.Suppress] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.val_fraction:
            raise ValueError(f"val_fraction must be 0: the last weights are measured, got {self.val_fraction}")

    def shrink(self) -> Self:
        """The same settings, reduced to a run of seconds if `smoke` is set: two updates."""
        return replace(super().shrink(), updates=SMOKE_UPDATES) if self.smoke else self


def start_from(model: M, settings: DenseSettings) -> M:
    """Copy the weights that the settings name into a model, and say how large it is.

    Args:
        model: made as the one that was saved.
        settings: `weights` is read.

    Returns:
        The model.

    Raises:
        FileNotFoundError: if there are no such weights.
        ValueError: if they are those of another model.
    """
    if settings.weights is not None:
        load_weights(model, settings.weights)
    say(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters")
    return model


def check_positive(settings: object, *names: str) -> None:
    """Raise ValueError, with name and value, unless fields of settings are above 0."""
    for name in names:
        if not getattr(settings, name) > 0:
            raise ValueError(f"{name} must be positive, got {getattr(settings, name)}")


def check_not_negative(settings: object, *names: str) -> None:
    """Raise ValueError, with name and value, unless fields of settings are 0 or more, and finite."""
    for name in names:
        if not 0 <= getattr(settings, name) < math.inf:
            raise ValueError(f"{name} must be at least 0, got {getattr(settings, name)}")
