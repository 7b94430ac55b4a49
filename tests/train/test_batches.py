"""The same items in the same order, from any update on, with any number of workers, processes and parts."""

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, WeightedRandomSampler

from pointcoc.train import Settings, make_stream_loader
from pointcoc.train.batches import Batches


class Noisy(Dataset):
    """Items are (index, noise)."""

    def __len__(self) -> int:
        return 22

    def __getitem__(self, index: int) -> tuple[int, torch.Tensor]:
        return index, torch.rand(())


class Stream(IterableDataset):
    """Pairs of a number and a label."""

    def __iter__(self):
        return iter([(number, 0) for number in range(6)])

    def __len__(self) -> int:
        return 6


def loader(**options) -> DataLoader:
    return DataLoader(Noisy(), **{"batch_size": 6, "shuffle": True, **options})


def read(batches: Batches, epoch: int = 0, first: int = 0) -> list[list[tuple[int, float]]]:
    """Index and noise of the items of each update."""
    return [
        [pair for part in parts for pair in zip(part.value[0].tolist(), part.value[1].tolist(), strict=True)]
        for parts, _ in batches.updates(epoch, first)
    ]


def test_an_epoch_is_the_same_whenever_and_wherever_it_begins() -> None:
    whole = read(Batches(loader(), seed=1), epoch=3)
    assert [len(update) for update in whole] == [6, 6, 6, 4]
    assert sorted(index for update in whole for index, _ in update) == list(range(22))
    torch.rand(7)
    other = Batches(loader(), seed=1)
    read(other, epoch=0)
    assert read(other, epoch=3, first=2) == whole[2:]
    assert read(other, epoch=3, first=4) == []
    assert read(other, epoch=2) != whole
    assert read(Batches(loader(), seed=2), epoch=3) != whole


@pytest.mark.parametrize("options", [{"num_workers": 2}, {"num_workers": 1, "persistent_workers": True}])
def test_workers_change_nothing(options: dict) -> None:
    batches, alone = Batches(loader(**options), seed=1), Batches(loader(), seed=1)
    for epoch, first in ((0, 0), (1, 2)):
        assert read(batches, epoch, first) == read(alone, epoch, first)


def test_processes_and_parts_share_an_update() -> None:
    whole = read(Batches(loader(), seed=1))
    shares = [read(Batches(loader(), seed=1, processes=2, process=process, accumulate=2)) for process in (0, 1)]
    for update, *parts in zip(whole, *shares, strict=True):
        assert sorted(pair for part in parts for pair in part) == sorted(update)
    parts, size = next(Batches(loader(), processes=2, accumulate=2).updates(0))
    assert [len(part.indices) for part in parts] == [2, 1]
    assert size == 6


def test_an_update_that_is_too_small_to_share_is_named() -> None:
    batches = Batches(loader(batch_size=7), processes=2, accumulate=1)
    with pytest.raises(ValueError, match=r"1 item.* 2 processes x 1 parts.*drop_last=True"):
        next(batches.updates(0))
    assert len(read(Batches(loader(batch_size=7, drop_last=True), processes=2))) == 3


@pytest.mark.parametrize(
    "sampler",
    [
        lambda: RandomSampler(range(22), generator=torch.Generator()),
        lambda: WeightedRandomSampler(torch.ones(22), 22),
    ],
)
def test_other_samplers_are_repeatable_too(sampler) -> None:
    one, other = (Batches(loader(shuffle=None, sampler=sampler()), seed=1) for _ in range(2))
    read(one, epoch=0)
    assert read(one, epoch=1, first=1) == read(other, epoch=1)[1:]


def test_nothing_is_drawn_from_the_generators_of_the_run() -> None:
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    read(Batches(loader(), seed=1))
    assert torch.equal(torch.rand(2), expected)


def test_measuring_reads_every_item_once_over_all_processes() -> None:
    plain = loader(shuffle=False, batch_size=3)
    seen = [
        index
        for process in range(3)
        for batch in Batches(plain, processes=3, process=process).mine()
        for index in batch.indices
    ]
    assert sorted(seen) == list(range(22))


def test_a_stream_is_passed_on() -> None:
    stream = DataLoader(Stream(), batch_size=2)
    assert [(parts[0].value[0].tolist(), size) for parts, size in Batches(stream).updates(0)] == [
        ([0, 1], 2), ([2, 3], 2), ([4, 5], 2),
    ]  # fmt: skip
    assert len(list(Batches(stream).mine())) == 3
    in_parts = Batches(stream, accumulate=2)
    assert len(in_parts) == 1  # the third batch would be half an update
    assert [[part.value[0].tolist() for part in parts] for parts, _ in in_parts.updates(0)] == [[[0, 1], [2, 3]]]
    with pytest.raises(ValueError, match="accumulate must be at most 3, the batches of an epoch, got 4"):
        Batches(stream, accumulate=4)
    with pytest.raises(ValueError, match="max_bad must be 0 for a stream"):
        Batches(stream, max_bad=1)
    with pytest.raises(ValueError, match=r"deal itself out to the 2 processes .*make_stream_loader.*a Stream for 1"):
        Batches(stream, processes=2)


def test_an_update_of_a_stream_must_be_dealt_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pointcoc.train.loaders.place_of_process", lambda: (1, 3))
    assert make_stream_loader(Stream(), Settings(batch_size=12, accumulate=2)).batch_size == 2
    with pytest.raises(ValueError, match=r"multiple of processes x accumulate \(3 x 2\) for a stream, got 8"):
        make_stream_loader(Stream(), Settings(batch_size=8, accumulate=2))


def test_the_function_for_workers_is_called() -> None:
    seen = torch.zeros(1).share_memory_()
    read(Batches(loader(num_workers=1, worker_init_fn=lambda worker: seen.fill_(1)), seed=1))
    assert seen.item() == 1
