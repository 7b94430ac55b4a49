"""A part of the training set chooses the epoch; the test set stays as it is."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import Dataset

from pointcoc.train import Settings, make_loaders, make_test_loader, make_train_loader


class Numbers(Dataset):
    """Items are (row, class); classes are sorted, as in image folders."""

    def __init__(self, size: int) -> None:
        self.labels = torch.arange(10).repeat_interleave(size // 10)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[int, int]:
        return index, int(self.labels[index])


def rows(loader) -> list[int]:
    return [row for batch, _ in loader for row in batch.tolist()]


def test_the_parts_share_no_row_and_hold_every_class() -> None:
    loaders = make_loaders(Numbers(200), Numbers(50), Settings(batch_size=18, val_fraction=0.1))
    train, val, test = rows(loaders.train), rows(loaders.val), rows(loaders.test)
    assert sorted(train + val) == list(range(200))
    assert train != sorted(train)
    assert sorted({row // 20 for row in val}) == list(range(10))
    assert test == list(range(50))


def test_the_last_batch_of_the_training_part_is_full() -> None:
    loaders = make_loaders(Numbers(200), Numbers(50), Settings(batch_size=100))
    assert [len(batch) for batch, _ in loaders.train] == [100]
    few = make_loaders(Numbers(50), Numbers(50), Settings(batch_size=100))
    assert [len(batch) for batch, _ in few.train] == [40]


def test_without_a_fraction_all_rows_train() -> None:
    loaders = make_loaders(Numbers(50), Numbers(50), Settings(batch_size=5, val_fraction=0.0))
    assert loaders.val is None
    assert sorted(rows(loaders.train)) == list(range(50))


def test_loaders_of_one_set_keep_all_of_it() -> None:
    settings = Settings(batch_size=20)
    train = make_train_loader(Numbers(50), settings)
    assert [len(batch) for batch, _ in train] == [20, 20]
    assert len(set(rows(train))) == 40
    assert rows(train) != sorted(rows(train))
    test = make_test_loader(Numbers(50), settings, batch_size=1)
    assert {len(batch) for batch, _ in test} == {1}
    assert rows(test) == list(range(50))


def test_smoke_takes_few_rows_of_every_class() -> None:
    loaders = make_loaders(Numbers(5000), Numbers(1000), Settings(smoke=True, batch_size=16).shrink())
    train = rows(loaders.train)
    assert len(train) <= 64
    assert {row // 500 for row in train} == set(range(10))


def test_validation_items_come_without_augmentation() -> None:
    class Plain(Numbers):
        def __getitem__(self, index: int) -> tuple[int, int]:
            return -index, int(self.labels[index])

    loaders = make_loaders(Numbers(50), Numbers(50), Settings(batch_size=5), val_set=Plain(50))
    assert max(rows(loaders.val)) <= 0
    with pytest.raises(ValueError, match="val_set must hold the 50 items of train_set without augmentation, got 40"):
        make_loaders(Numbers(50), Numbers(50), Settings(), val_set=Plain(40))


def test_items_are_joined_by_collate_fn() -> None:
    loaders = make_loaders(
        Numbers(50), Numbers(50), Settings(batch_size=5), collate_fn=lambda items: SimpleNamespace(size=len(items))
    )
    assert next(iter(loaders.test)).size == 5
