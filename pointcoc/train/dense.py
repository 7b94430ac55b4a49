"""What the recipes of dense prediction (boxes, pixels, points) share, around `fit`."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Self, TypeVar

import tyro
from torch import nn

from pointcoc.models.weights import find_weights
from pointcoc.train.checkpoint import load_weights, read_notes, saved_kind
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
        model: made as the one that was saved. Weights for another number of classes give it all but the classifier,
            which is new then, and a line says so.
        settings: `weights` and `eval_only` are read; what is measured alone needs a classifier from the weights.

    Returns:
        The model.

    Raises:
        FileNotFoundError: if there are no such weights.
        ValueError: if they are those of another model, or for other classes where they are measured alone.
    """
    if settings.weights is not None:
        _copy_weights(model, settings.weights, may_reset=not settings.eval_only)
    say(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters")
    return model


def _copy_weights(model: Any, weights: str, may_reset: bool) -> None:
    file, config = find_weights(weights), getattr(model, "config", None)
    found, num_classes = (read_notes(file)["config"] or {}).get("num_classes"), getattr(config, "num_classes", None)
    is_same_kind = saved_kind(file) == getattr(config, "kind", None)
    can_reset = may_reset and is_same_kind and hasattr(model, "reset_classifier")
    if not can_reset or None in (found, num_classes) or found == num_classes:
        load_weights(model, file)
        return
    model.reset_classifier(found)  # with it the model is the one that was saved
    load_weights(model, file)
    model.reset_classifier(num_classes)
    say(f"{weights}: a new classifier, for {num_classes} classes instead of {found}")


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
