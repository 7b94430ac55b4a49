"""Loaders of a run: a part of the training set trains, the rest of it chooses the epoch, the test set stays aside."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from pointcoc.data import split_validation
from pointcoc.train.processes import place_of_process
from pointcoc.train.sampling import BalancedSampler
from pointcoc.train.settings import Settings

Sampling = Literal["plain", "balanced"]


class Loaders(NamedTuple):
    """What `fit` and `finish` read."""

    train: DataLoader
    """The training part, shuffled; a last batch that is not full is left out."""
    val: DataLoader | None
    """The part of the training set that chooses the epoch, in its own order; None for `val_fraction=0`."""
    test: DataLoader
    """The test set, in its own order."""


def make_loaders(
    train_set: Any,
    test_set: Any,
    settings: Settings,
    *,
    val_set: Any = None,
    collate_fn: Callable[[Sequence[Any]], Any] | None = None,
    sampling: Sampling = "plain",
) -> Loaders:
    """Split a training set and make the loaders of a run.

    Args:
        train_set: map-style data set with `labels` (N,); the split keeps the share of every class. Where items have
            several labels, `strata` (N,) stands for them.
        test_set: map-style data set.
        settings: `batch_size`, `workers`, `val_fraction`, `seed` and `smoke` are read.
        val_set: the items of `train_set` without augmentation; `train_set` itself if not given.
        collate_fn: joins items into (input, labels); torch's own if not given, `collate_sets` for point sets.
        sampling: "plain" for each item once an epoch, "balanced" for as many, drawn so that all classes are equally
            frequent.

    Raises:
        ValueError: if `val_set` has another length than `train_set`, or the labels cannot be split.
    """
    val_set = train_set if val_set is None else val_set
    if len(val_set) != len(train_set):
        raise ValueError(
            f"val_set must hold the {len(train_set)} items of train_set without augmentation, got {len(val_set)} items"
        )
    train_rows, val_rows = _split(getattr(train_set, "strata", train_set.labels), settings)
    return Loaders(
        train=_loader(train_set, train_rows, settings, collate_fn, is_training=True, sampling=sampling),
        val=_loader(val_set, val_rows, settings, collate_fn) if len(val_rows) else None,
        test=_loader(test_set, None, settings, collate_fn),
    )


def make_train_loader(
    train_set: Any, settings: Settings, *, collate_fn: Callable[[Sequence[Any]], Any] | None = None
) -> DataLoader:
    """Make the loader of a training set of which nothing is kept for validation.

    Args:
        train_set: map-style data set.
        settings: `batch_size`, `workers` and `smoke` are read.
        collate_fn: see `make_loaders`.
    """
    return _loader(train_set, None, settings, collate_fn, is_training=True)


def make_stream_loader(stream: Any, settings: Settings) -> DataLoader:
    """Make the loader of a stream, which has its own order: `ShardImages` and its like.

    Each process has a loader of its own share; to train, a batch is one part of an update.

    Args:
        stream: iterable data set; if it has `set_loader`, it is told who reads, as `ShardImages.set_loader` is. One
            whose `is_training` is false is read to measure.
        settings: `batch_size`, `accumulate` and `workers` are read.

    Raises:
        ValueError: if an update cannot be dealt evenly to all processes and parts.
    """
    process, processes = place_of_process()
    is_training = getattr(stream, "is_training", True)
    if is_training and settings.batch_size % (processes * settings.accumulate):
        raise ValueError(
            f"batch_size must be a multiple of processes x accumulate ({processes} x {settings.accumulate}) for a "
            f"stream, got {settings.batch_size}"
        )
    share = max(1, settings.batch_size // processes)
    if hasattr(stream, "set_loader"):
        # Whole shares of updates, whatever their parts: more parts, to save memory, leave the epoch as it is.
        stream.set_loader(settings.workers, process, processes, share)
    batch_size = share // settings.accumulate if is_training else share
    return DataLoader(stream, batch_size, num_workers=settings.workers, pin_memory=torch.cuda.is_available())


def make_test_loader(
    test_set: Any,
    settings: Settings,
    *,
    collate_fn: Callable[[Sequence[Any]], Any] | None = None,
    batch_size: int | None = None,
) -> DataLoader:
    """Make the loader of a test set alone, as `make_loaders` makes it.

    Args:
        test_set: map-style data set.
        settings: `batch_size`, `workers` and `smoke` are read.
        collate_fn: see `make_loaders`.
        batch_size: sets at a time, where they are not as many as in an update: 1 for images of many sizes.
    """
    return _loader(test_set, None, settings, collate_fn, batch_size=batch_size)


def training_labels(loader: DataLoader) -> Tensor:
    """Return the labels of the items that a loader reads, without reading them.

    Args:
        loader: reads a data set with `labels`, or a part of one.
    """
    dataset: Any = loader.dataset
    if isinstance(dataset, Subset):
        return dataset.dataset.labels[dataset.indices]  # type: ignore[attr-defined]  # ours have labels
    return dataset.labels


def _split(labels: Tensor, settings: Settings) -> tuple[Tensor, Tensor]:
    if settings.val_fraction == 0:
        return torch.arange(len(labels)), torch.arange(0)
    return split_validation(labels, settings.val_fraction, settings.seed)


def _loader(
    dataset: Any,
    rows: Tensor | None,
    settings: Settings,
    collate_fn: Callable[[Sequence[Any]], Any] | None,
    is_training: bool = False,
    batch_size: int | None = None,
    sampling: Sampling = "plain",
) -> DataLoader:
    batch_size = settings.batch_size if batch_size is None else batch_size
    if settings.smoke:  # a few rows, evenly spread: data sets are often sorted by class
        rows = torch.arange(len(dataset)) if rows is None else rows
        rows = rows[:: max(1, -(-len(rows) // settings.smoke_sets))]
    part = dataset if rows is None else Subset(dataset, rows.tolist())
    labels = None if sampling == "plain" else dataset.labels if rows is None else dataset.labels[rows]
    return DataLoader(
        part,
        batch_size=batch_size,
        shuffle=is_training and labels is None,
        sampler=None if labels is None else BalancedSampler(labels),
        drop_last=is_training and len(part) >= batch_size,
        num_workers=settings.workers,
        collate_fn=collate_fn,
        pin_memory=torch.cuda.is_available(),
    )
