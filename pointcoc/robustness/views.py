"""A data set as a robustness measurement reads it: clean, corrupted, or with a share of its points removed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset
from torch_geometric.data import Data

from pointcoc.checks import check_count, check_range
from pointcoc.data import PrepareCloud, collate_sets
from pointcoc.data.prepare import place, take_rows
from pointcoc.models.weights import CloudTransform
from pointcoc.pointset import image_to_points
from pointcoc.robustness.clouds import CLOUD_CORRUPTIONS, corrupt_cloud
from pointcoc.robustness.drawing import generator
from pointcoc.robustness.images import IMAGE_CORRUPTIONS, corrupt_image
from pointcoc.train.items import source_of

Change = Callable[[Any, int], Any]


@dataclass(eq=False)
class Changed(Dataset):
    """A data set, each item changed by a function of the item and its number.

    Args:
        dataset: map-style data set.
        change: maps (item, number) to an item.
    """

    dataset: Any
    change: Change

    def __getitem__(self, index: int) -> Any:
        """Return a changed item."""
        return self.change(self.dataset[index], index)

    def source(self, index: int) -> str:
        """Return where an item comes from, for messages."""
        return source_of(self.dataset, index)


class Views(ABC):
    """What is measured: items of a data set, some or all, changed as they are read, always in the same order.

    Attributes:
        kinds: names of the corruptions.
    """

    kinds: tuple[str, ...]

    def __init__(self, items: Any, limit: int | None, seed: int, **loading: Any) -> None:
        self._items, self._seed, self._loading = items, seed, loading
        self._numbers = chosen(len(items), limit, seed)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._numbers)

    def clean(self) -> DataLoader:
        """Return the items as they are."""
        return self._loader(self._plain)

    def corrupted(self, kind: str, strength: int) -> DataLoader:
        """Return the items under a corruption."""
        return self._loader(partial(self._corrupted, kind=kind, strength=strength))

    def reduced(self, percent: int) -> DataLoader:
        """Return the items as sets, without `percent` % of their points or pixels."""
        return self._loader(partial(self._reduced, percent=percent), collate_fn=collate_sets)

    def _loader(self, change: Change, **options: Any) -> DataLoader:
        return DataLoader(Subset(Changed(self._items, change), self._numbers), **self._loading | options)

    @abstractmethod
    def _plain(self, item: Any, index: int) -> Any:
        """Return what the network reads of an item."""

    @abstractmethod
    def _corrupted(self, item: Any, index: int, kind: str, strength: int) -> Any:
        """Return what it reads under a corruption."""

    @abstractmethod
    def _reduced(self, item: Any, index: int, percent: int) -> Data:
        """Return the set of the points that stay."""


class CloudViews(Views):
    """Clouds under the corruptions of `corrupt_cloud`; batches are (PointSet, labels).

    Args:
        clouds: map-style data set of `Data` with `pos` (N, 3) and `y` (1,), such as `HDF5Clouds`.
        limit: items to take, drawn at random; None takes all.
        seed: of the corruptions and of what `limit` draws.
        batch_size: clouds of a batch.
        workers: processes that read and corrupt.
        transform: how clouds become the input of the network; they are corrupted before it. By default they are read as
            stored, and y is up.

    Raises:
        ValueError: if a number is too small, the data set is empty, or the transform has features besides positions.
    """

    kinds = tuple(CLOUD_CORRUPTIONS)

    def __init__(
        self,
        clouds: Any,
        limit: int | None = None,
        seed: int = 0,
        batch_size: int = 32,
        workers: int = 0,
        transform: CloudTransform | None = None,
    ) -> None:
        super().__init__(clouds, limit, seed, batch_size=batch_size, num_workers=workers, collate_fn=collate_sets)
        transform = CloudTransform(up="y") if transform is None else transform
        if transform.features != ("position",):
            raise ValueError(
                f"corruptions change positions alone, and the network reads {', '.join(transform.features)}"
            )
        self._prepare = PrepareCloud(transform)
        first = transform.up_axis - 1  # the axes in an order in which the second is up, without a reflection
        self._axes = [axis % 3 for axis in range(first, first + 3)]

    def _plain(self, item: Data, index: int) -> Data:
        return self._prepare(item)

    def _corrupted(self, item: Data, index: int, kind: str, strength: int) -> Data:
        upright = self._chosen(item).pos[:, self._axes]
        corrupted = corrupt_cloud(upright, kind, strength, self._seed, index)
        return self._finished(Data(pos=corrupted[:, [self._axes.index(axis) for axis in range(3)]], y=item.y))

    def _reduced(self, item: Data, index: int, percent: int) -> Data:
        chosen = self._chosen(item)
        rows = torch.from_numpy(kept(len(chosen.pos), percent, self._seed, index))
        return self._finished(Data(pos=chosen.pos[rows], y=item.y))

    def _chosen(self, item: Data) -> Data:
        """Return the points that the network reads of a clean cloud, so that corruptions change what it would see."""
        rows = self._prepare.choose(len(item.pos))
        return item if rows is None else take_rows(item, rows)

    def _finished(self, item: Data) -> Data:
        """Center and scale what was corrupted; points that a corruption added stay."""
        return Data(pos=place(item.pos, self._prepare.transform), y=item.y)


class ImageViews(Views):
    """Images under the corruptions of `corrupt_image`; batches are (images, labels).

    With pixels removed, batches are (PointSet, labels).

    Args:
        images: map-style data set of (image, label), images (C, H, W) of one size with values in [0, 1].
        normalize: maps a corrupted image to what the network takes.
        limit: items to take, drawn at random; None takes all.
        seed: of the corruptions and of what `limit` draws.
        batch_size: images of a batch.
        workers: processes that read and corrupt.

    Raises:
        ValueError: if a number is too small or the data set is empty.
    """

    kinds = tuple(IMAGE_CORRUPTIONS)

    def __init__(
        self,
        images: Any,
        normalize: Callable[[Tensor], Tensor],
        limit: int | None = None,
        seed: int = 0,
        batch_size: int = 128,
        workers: int = 0,
    ) -> None:
        super().__init__(images, limit, seed, batch_size=batch_size, num_workers=workers)
        self._normalize = normalize

    def _plain(self, item: tuple[Tensor, int], index: int) -> tuple[Tensor, int]:
        return self._normalize(item[0]), item[1]

    def _corrupted(self, item: tuple[Tensor, int], index: int, kind: str, strength: int) -> tuple[Tensor, int]:
        return self._normalize(corrupt_image(item[0], kind, strength, self._seed, index)), item[1]

    def _reduced(self, item: tuple[Tensor, int], index: int, percent: int) -> Data:
        points = image_to_points(self._normalize(item[0])[None])
        rows = torch.from_numpy(kept(len(points.x), percent, self._seed, index))
        return Data(x=points.x[rows], pos=points.pos[rows], sizes=points.sizes, y=item[1])


def chosen(count: int, limit: int | None, seed: int) -> list[int]:
    """Draw which items of a data set are measured, in their order.

    Args:
        count: items there are.
        limit: items to take; None, or more than there are, takes all.
        seed: of the draw.

    Raises:
        ValueError: if there are none, or the limit is below 1.
    """
    if limit is not None:
        check_count("limit", limit)
    if count == 0:
        raise ValueError("the data set must hold at least one item, got none")
    return sorted(generator(seed, "limit", 0, 0).permutation(count)[:limit].tolist())


def kept(count: int, percent: int, seed: int, index: int) -> np.ndarray:
    """Draw the points of an item that stay when a share is removed: fewer are a part of those of a smaller share.

    Args:
        count: points of the item.
        percent: share to remove, 0 to 99.
        seed: of the measurement.
        index: number of the item.

    Returns:
        Numbers of the points, ascending, at least one.

    Raises:
        ValueError: if the share is not allowed.
    """
    check_range("percent", percent, 0, 99)
    order = generator(seed, "removed", 0, index).permutation(count)
    return np.sort(order[: max(1, round(count * (100 - percent) / 100))])
