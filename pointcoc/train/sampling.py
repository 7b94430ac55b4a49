"""Drawing the items of an epoch so that all classes are equally frequent."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler


class BalancedSampler(Sampler[int]):
    """Draws as many items as there are, with replacement: first a class, all alike, then one of its items.

    What is drawn follows from torch's global generator, which a run seeds for each epoch.

    Args:
        labels: class of each item, integers (N,).

    Raises:
        ValueError: if the items do not have one class each.
    """

    replacement = True

    def __init__(self, labels: Tensor) -> None:
        if labels.ndim != 1:
            raise ValueError(
                f"sampling must be plain where items have several labels, got labels of shape {tuple(labels.shape)}"
            )
        self._order = labels.argsort(stable=True)
        self._counts = torch.unique(labels, return_counts=True)[1]
        self._starts = self._counts.cumsum(0) - self._counts

    def __len__(self) -> int:
        """Return the number of items of an epoch."""
        return len(self._order)

    def __iter__(self) -> Iterator[int]:
        classes = torch.randint(len(self._counts), (len(self),))
        offsets = (torch.rand(len(self), dtype=torch.float64) * self._counts[classes]).long()
        yield from self._order[self._starts[classes] + offsets].tolist()
