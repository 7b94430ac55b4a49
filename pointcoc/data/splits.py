"""Splits a training set into the part that trains and the part that chooses the epoch, or that is measured."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from pointcoc.checks import check_count


def split_validation(
    labels: Tensor | np.ndarray | Sequence[int], fraction: float = 0.1, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Split rows at random so that every class keeps its share in both parts.

    Of a class with n rows, `round(fraction * n)` rows go to the validation part, at least one and at most n - 1; the
    only row of a class stays in the training part. The same labels and seed give the same split on every machine.

    Args:
        labels: class of each row, integers of shape (N,).
        fraction: share of the validation part, between 0 and 1, both excluded.
        seed: seed of the choice, 0 or more.

    Returns:
        Rows of the training part and rows of the validation part, int64, ascending; together each row once.

    Raises:
        ValueError: if labels are not a list of integers, fraction or seed is out of range or no class has two rows.
    """
    classes = _class_numbers(labels)
    check_count("seed", seed, minimum=0)
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must lie between 0 and 1, both excluded, got {fraction!r}")
    is_val = _stratified_choice(classes, fraction, seed)
    if not is_val.any():
        raise ValueError(
            f"labels must hold a class with two rows or more to split, got {len(classes)} classes of one row"
        )
    return torch.from_numpy(np.flatnonzero(~is_val)), torch.from_numpy(np.flatnonzero(is_val))


def hold_out(classes: Mapping[str, Sequence[str]], share: float = 0.2, seed: int = 0) -> set[str]:
    """Choose names to measure on: about a share of each class, at least one and never all; the name decides.

    So the choice is the same on every machine, and a new file moves no other one, but for a class so small that its
    nearest name is taken.

    Args:
        classes: names of each class.
        share: share of the names to choose.
        seed: of the choice.

    Returns:
        The chosen names; none where every class has a single one.
    """
    chosen: set[str] = set()
    for names in classes.values():
        places = {name: _place(name, seed) for name in names}
        order = sorted(places, key=lambda name: (places[name], name))
        count = sum(place < share for place in places.values())
        chosen |= set(order[: min(max(count, 1), len(order) - 1)])
    return chosen


def _place(name: str, seed: int) -> float:
    """Return a number in [0, 1) that a name decides, the same on every machine."""
    digest = hashlib.sha256(f"{seed}/{unicodedata.normalize('NFC', name)}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _class_numbers(labels: Tensor | np.ndarray | Sequence[int]) -> np.ndarray:
    """Number the classes that occur 0, 1, ... in ascending order of their labels."""
    values = labels.cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if values.ndim != 1 or not len(values) or values.dtype.kind not in "iu":
        raise ValueError(
            f"labels must be integers of shape (N,) with N > 0, got shape {values.shape} of {values.dtype}"
        )
    return np.unique(values, return_inverse=True)[1]


def _stratified_choice(classes: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Choose `fraction` of each class at random: a mask of shape (N,)."""
    counts = np.bincount(classes)
    quota = np.clip(np.rint(fraction * counts), 1, counts - 1)
    # RandomState, because numpy promises that its streams never change: the split is part of every published result.
    shuffled = np.random.RandomState(seed).permutation(len(classes))
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    rank = np.arange(len(classes)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen = np.zeros(len(classes), dtype=bool)
    chosen[by_class] = rank < np.repeat(quota, counts)
    return chosen
