"""split_validation: stratified, complete, reproducible."""

import numpy as np
import pytest
import torch

from pointcoc.data import split_validation


def test_every_row_is_in_one_part():
    labels = torch.arange(100) % 7
    train, val = split_validation(labels, 0.25)
    assert train.dtype == val.dtype == torch.int64
    assert torch.cat([train, val]).sort().values.equal(torch.arange(100))
    assert train.equal(train.sort().values) and val.equal(val.sort().values)


def test_classes_keep_their_share():
    labels = torch.tensor([5] * 100 + [2] * 40 + [9] * 10)[
        torch.randperm(150, generator=torch.Generator().manual_seed(0))
    ]
    _, val = split_validation(labels, 0.1)
    assert {c: int((labels[val] == c).sum()) for c in (2, 5, 9)} == {2: 4, 5: 10, 9: 1}


@pytest.mark.parametrize(("count", "fraction", "expected"), [(2, 0.01, 1), (2, 0.99, 1), (1, 0.5, 0), (3, 0.99, 2)])
def test_small_classes_are_in_both_parts(count, fraction, expected):
    labels = [0] * count + [1] * 50
    _, val = split_validation(labels, fraction)
    assert int((val < count).sum()) == expected


def test_seed_decides_and_containers_agree():
    labels = np.repeat([0, 1], 20)
    first = split_validation(labels, 0.3, seed=3)
    assert first[1].equal(split_validation(torch.from_numpy(labels), 0.3, seed=3)[1])
    assert first[1].equal(split_validation(labels.tolist(), 0.3, seed=3)[1])
    assert not first[1].equal(split_validation(labels, 0.3, seed=4)[1])


def test_split_is_recorded():
    """The split is part of every result: it may not change with a version of anything."""
    _, val = split_validation([0, 1] * 10, 0.2, seed=0)
    assert val.tolist() == [1, 8, 18, 19]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), r"labels must be integers of shape \(N,\) with N > 0, got shape \(0,\)"),
        (([0.5, 1.0],), r"labels must be integers .* float64"),
        ((torch.zeros(2, 2, dtype=torch.long),), r"got shape \(2, 2\)"),
        (([0, 0], 0.0), "fraction must lie between 0 and 1, both excluded, got 0.0"),
        (([0, 0], 1.0), "fraction must lie"),
        (([0, 0], float("nan")), "fraction must lie"),
        (([0, 1, 2], 0.5), "two rows or more to split, got 3 classes of one row"),
        (([0, 0], 0.5, -1), "seed must be an integer of at least 0, got -1"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        split_validation(*arguments)
