"""An item depends on (seed, epoch, index) alone; one that cannot be read is named and replaced."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import Dataset, Subset

from pointcoc.train.items import Bad, Items, Key, collate, source_of


class Noisy(Dataset):
    """Items are noise; some rows cannot be read."""

    def __init__(self, broken: tuple[int, ...] = (), error: type[Exception] = OSError) -> None:
        self.broken = broken
        self.error = error

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> torch.Tensor:
        if index in self.broken:
            raise self.error("image file is truncated\n  at byte 7")
        return torch.rand(3)

    def source(self, index: int) -> str:
        return f"clouds.h5 row {index}"


def test_an_item_is_the_same_whenever_it_is_read() -> None:
    items = Items(Noisy(), seed=3)
    first = items[Key(2, 4)][0]
    torch.rand(5)
    assert torch.equal(items[Key(2, 4)][0], first)
    for other in (Items(Noisy(), seed=4)[Key(2, 4)], items[Key(3, 4)], items[Key(2, 5)]):
        assert not torch.equal(other[0], first)


def test_reading_draws_nothing_from_the_generators_of_the_run() -> None:
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    Items(Noisy(), seed=3)[Key(0, 0)]
    assert torch.equal(torch.rand(2), expected)


def test_the_next_readable_item_stands_in() -> None:
    items = Items(Noisy(broken=(5, 0)), seed=0, max_bad=2)
    value, index, bad = items[Key(1, 5)]
    assert index == 1
    assert torch.equal(value, items[Key(1, 1)][0])
    assert bad == [Bad(row, f"clouds.h5 row {row}: image file is truncated") for row in (5, 0)]


@pytest.mark.parametrize("max_bad", [0, 1])
def test_without_a_stand_in_there_is_no_value(max_bad: int) -> None:
    value, index, bad = Items(Noisy(broken=(1, 2)), seed=0, max_bad=max_bad)[Key(0, 1)]
    assert (value, index, len(bad)) == (None, 1, max_bad + 1)


def test_a_data_set_without_a_readable_item_ends() -> None:
    value, _, bad = Items(Noisy(broken=tuple(range(6))), seed=0, max_bad=100)[Key(0, 0)]
    assert value is None
    assert len(bad) == 6


def test_a_mistake_in_code_is_not_taken_for_a_damaged_file() -> None:
    with pytest.raises(TypeError, match="truncated"):
        Items(Noisy(broken=(1,), error=TypeError), seed=0, max_bad=3)[Key(0, 1)]


def test_a_batch_holds_items_indices_and_what_is_bad() -> None:
    items = Items(Noisy(broken=(1,)), seed=0, max_bad=1)
    batch = collate(torch.stack, [items[Key(0, 0)], items[Key(0, 1)]])
    assert batch.value.shape == (2, 3)
    assert batch.indices == (0, 2)
    assert [bad.index for bad in batch.bad] == [1]
    assert collate(torch.stack, [Items(Noisy(broken=(1,)), seed=0)[Key(0, 1)]]).value is None


def test_items_are_named_by_file_row_or_number() -> None:
    folder = SimpleNamespace(samples=[("a/1.png", 0), ("b/2.png", 1)])
    assert source_of(folder, 1) == "b/2.png"
    assert source_of(Subset(folder, [1, 0]), 0) == "b/2.png"
    assert source_of(Noisy(), 3) == "clouds.h5 row 3"
    assert source_of(torch.zeros(3), 2) == "item 2"
