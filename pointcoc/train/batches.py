"""Batches of any epoch from any update on, split over processes and over the parts of an update."""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from threading import Thread
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from pointcoc.train.items import Batch, Items, Key, collate
from pointcoc.train.seeds import ITEM, ORDER, seeded


class Batches:
    """The updates of an epoch: each is a list of batches, the parts of it that this process computes one by one.

    The order of an epoch is what the sampler of the loader draws when it is seeded by (seed, epoch); the items of an
    update are dealt to the processes in turn. Neither depends on the workers, nor on where the run began.

    A loader of a stream (an iterable data set, or one without batches) is passed on as it is, from the start of an
    epoch only: a batch of it is one part of an update in one process. Several processes need a data set that deals
    itself out to them, and says so by its attribute `processes`; all must have the same number of batches, of the same
    sizes. If it has `set_epoch`, that is called first; what it draws then follows from (seed, epoch) and the process,
    for the same number of workers.

    Args:
        loader: yields pairs (input, labels).
        seed: seed of the run.
        processes: number of processes that share an update.
        process: number of this process, from 0.
        accumulate: parts of an update, computed one after the other.
        max_bad: items that may be replaced, see `Items`.

    Raises:
        ValueError: if a stream does not deal itself out to the processes, has fewer batches than an update has parts,
            or items of it are to be replaced; while it is read, if it ends before the updates that its length promises.
    """

    def __init__(
        self,
        loader: DataLoader,
        *,
        seed: int = 0,
        processes: int = 1,
        process: int = 0,
        accumulate: int = 1,
        max_bad: int = 0,
    ) -> None:
        self.loader = loader
        self.is_stream = isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None
        self._order = Order(loader.batch_sampler, seed, processes, process, accumulate)
        if self.is_stream:
            _check_stream(loader, processes, accumulate, max_bad)
            return
        self._parts = _rebuilt(loader, Items(loader.dataset, seed, max_bad), self._order)

    @property
    def readers(self) -> tuple[int, int] | None:
        """Processes and workers in each, if the data depends on them: those of a stream."""
        return (self._order.processes, self.loader.num_workers) if self.is_stream else None

    def __len__(self) -> int:
        """Return the number of updates of an epoch."""
        return len(self.loader) // self._order.accumulate if self.is_stream else len(self.loader)

    def updates(self, epoch: int, first: int = 0) -> Iterator[tuple[list[Batch], int]]:
        """Yield what each update computes here, and the number of items it has over all processes.

        Args:
            epoch: number of the epoch, from 0.
            first: updates of the epoch to leave out; their items are not read.

        Raises:
            ValueError: if an update has fewer items than processes and parts.
        """
        if self.is_stream:
            assert first == 0, "a stream starts at the start of an epoch"
            yield from self._stream(epoch)
            return
        self._order.start(epoch, first)
        sizes = [len(batch) for batch in self._order.drawn]
        if sizes and min(sizes) < self._order.processes * self._order.accumulate:
            raise ValueError(
                f"an update has {min(sizes)} items, too few for {self._order.processes} processes x "
                f"{self._order.accumulate} parts: "
                "raise the batch size, or give the loader drop_last=True if it is the last one"
            )
        parts = iter(self._parts)
        for size in sizes:
            yield list(islice(parts, self._order.accumulate)), size

    def _stream(self, epoch: int) -> Iterator[tuple[list[Batch], int]]:
        """Pass a stream on; what its workers, or without them its items, draw follows from the seed and the epoch."""
        if hasattr(self.loader.dataset, "set_epoch"):
            self.loader.dataset.set_epoch(epoch)
        with seeded(self._order.seed, ORDER, epoch, *self._own()):
            values = iter(self.loader)
        batches = self._read(values, epoch)
        for done in range(len(self)):
            parts = list(islice(batches, self._order.accumulate))
            if len(parts) < self._order.accumulate:
                raise ValueError(f"a stream ended after {done} of {len(self)} updates of epoch {epoch + 1}")
            yield parts, self._order.processes * sum(len(part.value[1]) for part in parts)

    def _read(self, values: Iterator[Any], epoch: int) -> Iterator[Batch]:
        for number in count():
            with seeded(self._order.seed, ITEM, epoch, number, *self._own()):
                value = next(values, None)
            if value is None:
                return
            yield Batch(value, (), ())

    def _own(self) -> tuple[int, ...]:
        """What tells the draws of this process from those of another."""
        return (self._order.process,) if self._order.process else ()

    def mine(self) -> Iterator[Batch]:
        """Yield the batches of this process, without augmentation that differs from pass to pass: to measure."""
        if self.is_stream:
            yield from (Batch(value, (), ()) for value in self.loader)
        else:
            self._order.start(0, 0)
            yield from self._parts


@dataclass(eq=False)
class Order:
    """Keys of the items, in the order in which a process reads them.

    Args:
        batches: the batch sampler of a loader; draws from the global generators, or from one that it holds.
        seed: seed of the run.
        processes: number of processes.
        process: number of this process.
        accumulate: parts of an update.
        epoch: the epoch that was drawn.
        drawn: items of its updates that are left, over all processes.
        repeats: how often the epoch had each of these before.
    """

    batches: Any
    seed: int
    processes: int
    process: int
    accumulate: int
    epoch: int = 0
    drawn: Sequence[list[int]] = ()
    repeats: Sequence[list[int]] = ()

    def start(self, epoch: int, first: int) -> None:
        """Draw the order of an epoch and leave out its first updates."""
        with seeded(self.seed, ORDER, epoch):
            generator = getattr(getattr(self.batches, "sampler", None), "generator", None)
            if isinstance(generator, torch.Generator):
                generator.manual_seed(torch.initial_seed())
            drawn = [list(batch) for batch in self.batches]
        sampler = getattr(self.batches, "sampler", None)
        repeats = count_repeats(drawn) if getattr(sampler, "replacement", False) else [[0] * len(one) for one in drawn]
        self.drawn, self.repeats, self.epoch = drawn[first:], repeats[first:], epoch

    def __iter__(self) -> Iterator[list[Key]]:
        for batch, repeats in zip(self.drawn, self.repeats, strict=True):
            keys = [Key(self.epoch, *pair) for pair in zip(batch, repeats, strict=True)]
            mine = keys[self.process :: self.processes]
            for part in range(self.accumulate):
                if chosen := mine[part :: self.accumulate]:
                    yield chosen


def count_repeats(drawn: Sequence[Sequence[int]]) -> list[list[int]]:
    """Say of each item of an epoch how often the epoch had it before.

    Args:
        drawn: items of each update.
    """
    seen: Counter[int] = Counter()
    repeats: list[list[int]] = []
    for batch in drawn:
        repeats.append([])
        for item in batch:
            repeats[-1].append(seen[item])
            seen[item] += 1
    return repeats


def _begin_worker(worker_init_fn: Callable[[int], None] | None, worker: int) -> None:
    """Leave signals to the training process, which ends its workers when it has saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # Linux; elsewhere SIGTERM to all processes of a job ends the workers
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        Thread(target=_end_when_the_parent_says, daemon=True).start()
    if worker_init_fn is not None:
        worker_init_fn(worker)


def _end_when_the_parent_says() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


def _rebuilt(loader: DataLoader, items: Items, order: Order) -> DataLoader:
    """Make the same loader with other items and another order."""
    return DataLoader(
        items,
        batch_sampler=order,
        num_workers=loader.num_workers,
        collate_fn=partial(collate, loader.collate_fn),
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=partial(_begin_worker, loader.worker_init_fn),
        multiprocessing_context=loader.multiprocessing_context,
        generator=torch.Generator(),  # a loader draws a number at each pass: not from the generators of the run
        prefetch_factor=loader.prefetch_factor,
        persistent_workers=loader.persistent_workers,
    )


def _check_stream(loader: DataLoader, processes: int, accumulate: int, max_bad: int) -> None:
    if max_bad:
        raise ValueError(f"max_bad must be 0 for a stream (a loader without a batch sampler), got {max_bad}")
    shared = getattr(loader.dataset, "processes", 1)
    if shared != processes:
        raise ValueError(
            f"a stream must deal itself out to the {processes} processes (pointcoc.train.make_stream_loader says so to "
            f"one that has set_loader), got a {type(loader.dataset).__name__} for {shared}"
        )
    if accumulate > 1 and len(loader) < accumulate:
        raise ValueError(f"accumulate must be at most {len(loader)}, the batches of an epoch, got {accumulate}")
