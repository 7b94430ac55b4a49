"""Items of a data set as a run reads them: augmentation by (seed, epoch, index), and a name for what cannot be read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from PIL import Image
from torch.utils.data import Dataset, Subset

from pointcoc.files import first_line
from pointcoc.train.seeds import ITEM, seeded

# What readers raise on damaged files. Anything else is a mistake in code, and keeps its traceback.
UNREADABLE = (OSError, EOFError, SyntaxError, ValueError, Image.DecompressionBombError)


class Key(NamedTuple):
    """Which item, and in which epoch: what a sampler hands to `Items`."""

    epoch: int
    item: int
    repeat: int = 0
    """How often the epoch had the item before, where items are drawn with replacement."""


@dataclass(frozen=True)
class Bad:
    """An item that could not be read; it travels to the training process, where it is counted."""

    index: int
    sentence: str


class Batch(NamedTuple):
    """What a loader of `Items` yields."""

    value: Any
    """What the collate function made: (input, labels); None if an item could not be read nor replaced."""
    indices: tuple[int, ...]
    """The items in it, numbered as in the data set of the loader."""
    bad: tuple[Bad, ...]
    """Items that could not be read; others stand in for them where that is allowed."""


@dataclass(eq=False)
class Items(Dataset):
    """The items of a map-style data set, with all random choices of item i in epoch e made from (seed, e, i) alone.

    An item that an epoch has several times is changed anew each time, by how often it was there before.

    So neither the number of workers nor where a run began matters. An item that cannot be read is returned as `Bad`,
    with the item that stands in for it: the next one that can be read.

    Args:
        dataset: map-style data set; its transform draws from the generators of Python, NumPy or torch.
        seed: seed of the run.
        max_bad: how many items in a row are tried in place of one.
    """

    dataset: Any
    seed: int
    max_bad: int = 0

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.dataset)

    def __getitem__(self, key: Key) -> tuple[Any, int, list[Bad]]:
        """Return the item or what stands in for it (None if nothing does), its index, and what could not be read."""
        bad: list[Bad] = []
        for offset in range(min(self.max_bad, len(self) - 1) + 1):
            index = (key.item + offset) % len(self)
            try:
                with seeded(self.seed, ITEM, key.epoch, index, *((key.repeat,) if key.repeat else ())):
                    return self.dataset[index], index, bad
            except UNREADABLE as error:
                bad.append(Bad(index, f"{source_of(self.dataset, index)}: {first_line(error)}"))
        return None, key.item, bad


def collate(collate_fn: Callable[[Any], Any], items: Sequence[tuple[Any, int, list[Bad]]]) -> Batch:
    """Join what `Items` returns into a batch; without a value if one of its items is missing.

    Args:
        collate_fn: joins the items themselves.
        items: each with its index and what could not be read.
    """
    values, indices, bad = zip(*items, strict=True)
    is_whole = all(value is not None for value in values)
    return Batch(collate_fn(values) if is_whole else None, indices, tuple(one for part in bad for one in part))


def num_items(batch: Batch) -> int:
    """Return the number of items of a batch; for a stream the length of its targets."""
    return len(batch.indices) or len(batch.value[1])


def source_of(dataset: Any, index: int) -> str:
    """Say where an item comes from: the file of an image folder, what `dataset.source` says, or its number.

    Args:
        dataset: map-style data set; subsets are looked through.
        index: number of the item.
    """
    if isinstance(dataset, Subset):
        return source_of(dataset.dataset, dataset.indices[index])
    if hasattr(dataset, "source"):
        return str(dataset.source(index))
    samples = getattr(dataset, "samples", None)
    return str(samples[index][0]) if isinstance(samples, list) else f"item {index}"
