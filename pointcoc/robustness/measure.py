"""Error rates under corruptions, and accuracy against the share of points removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from torch import nn
from torch.utils.data import DataLoader

from pointcoc.robustness.drawing import STRENGTHS, check_corruption
from pointcoc.robustness.views import Views
from pointcoc.train import evaluate

PERCENTS = tuple(range(0, 100, 10))
"""Shares of points that are removed, in percent."""


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """What came out; rates lie in [0, 1].

    Args:
        clean: error rate on the data as it is.
        errors: error rate by kind, then strength.
        removed: accuracy by the share of points removed, in percent.
        num_items: images or clouds that were measured.
    """

    clean: float
    errors: dict[str, dict[int, float]]
    removed: dict[int, float]
    num_items: int

    def of_kind(self, kind: str) -> float:
        """Mean error over the strengths of a kind."""
        return _mean(list(self.errors[kind].values()))

    @property
    def mean(self) -> float:
        """Mean error over corruptions, the mean of the kinds, each the mean of its strengths."""
        return _mean([self.of_kind(kind) for kind in self.errors])

    @property
    def added(self) -> float:
        """What corruption adds, the mean error over corruptions less the clean error."""
        return self.mean - self.clean


def measure(
    accuracy: Callable[[DataLoader], float],
    views: Views,
    kinds: Sequence[str] | None = None,
    strengths: Sequence[int] = STRENGTHS,
    percents: Sequence[int] = PERCENTS,
    progress: Callable[[str], object] = str,
) -> Robustness:
    """Measure a network of any make on all views of a data set.

    Args:
        accuracy: maps a loader of (input, labels) to an accuracy in [0, 1]: `accuracy_of(net)`, or a function that
            turns the batches into what another network takes first.
        views: `CloudViews` or `ImageViews`.
        kinds: corruptions to apply; None for all fifteen.
        strengths: of each, from 1 to 5.
        percents: shares of points to remove; empty for networks that take no sets.
        progress: called with the name of each pass when it ends.

    Raises:
        ValueError: if there is no kind or strength, one is unknown or there twice.
    """
    kinds = views.kinds if kinds is None else tuple(kinds)
    check_choices(kinds, strengths, views.kinds)

    def one(loader: DataLoader, name: str) -> float:
        value = accuracy(loader)
        progress(name)
        return value

    return Robustness(
        clean=1 - one(views.clean(), "clean"),
        errors={
            kind: {strength: 1 - one(views.corrupted(kind, strength), f"{kind} {strength}") for strength in strengths}
            for kind in kinds
        },
        removed={percent: one(views.reduced(percent), f"{percent} % removed") for percent in percents},
        num_items=len(views),
    )


def check_choices(kinds: Sequence[str], strengths: Sequence[int], known: tuple[str, ...]) -> None:
    """Raise unless kinds and strengths can be measured.

    Args:
        kinds: names of corruptions.
        strengths: of each.
        known: the names there are.

    Raises:
        ValueError: if one is missing, unknown or there twice.
    """
    for name, values in (("kinds", kinds), ("strengths", strengths)):
        if not values or len(set(values)) != len(values):
            raise ValueError(f"{name} must be one or more, each once, got {', '.join(map(str, values)) or 'none'}")
    for kind, strength in product(kinds, strengths):
        check_corruption(kind, strength, known)


def accuracy_of(net: nn.Module) -> Callable[[DataLoader], float]:
    """Return the function that measures a network of this library on a loader, see `pointcoc.train.evaluate`.

    Args:
        net: network from images or sets to logits, with `num_classes`, itself or in its `config`.
    """
    return lambda loader: evaluate(net, loader)["accuracy"]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
