"""Classes of data as the weights number them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_geometric.data import Data

from pointcoc.models.weights import WeightsInfo
from pointcoc.train.items import source_of
from pointcoc.train.labels import num_classes_of


def in_numbers_of(model: Any, dataset: Any, where: str) -> Any:
    """Return a data set whose labels are the numbers that the weights of a model have for their classes.

    Args:
        model: see `matched_classes`.
        dataset: map-style data set with `classes` (names) of (input, label), or of `Data` whose `y` is the label.
        where: name of the data, for errors.

    Raises:
        ValueError: see `matched_classes`.
    """
    numbers = matched_classes(model, getattr(dataset, "classes", None), where)
    num_classes = model.config.num_classes
    has_several = getattr(getattr(dataset, "labels", None), "ndim", 1) == 2
    if is_identity(numbers) and not (has_several and len(numbers) < num_classes):
        return dataset
    return Renumbered(dataset, partial(relabeled, numbers=numbers, num_classes=num_classes))


def relabeled(item: Any, numbers: Mapping[int, int], num_classes: int) -> Any:
    """Return an item with the other number of its class: (input, label), `Data` with `y`, or (input, labels).

    Args:
        item: what the data set returns; several labels are 0 or 1 for each class of the data.
        numbers: number of the weights by number of the data.
        num_classes: classes of the weights.
    """
    if isinstance(item, Data):
        return Data(**{**item.to_dict(), "y": torch.tensor([numbers[int(item.y)]])})
    value, label = item
    if isinstance(label, Tensor) and label.ndim == 1:
        labels = label.new_zeros(num_classes)
        labels[list(numbers.values())] = label[list(numbers)]
        return value, labels
    return value, numbers[int(label)]


class Renumbered(Dataset):
    """The items of a data set with other numbers of classes.

    Args:
        dataset: map-style data set.
        change: maps an item to the one with other numbers.
    """

    def __init__(self, dataset: Any, change: Callable[[Any], Any]) -> None:
        self.dataset, self.change = dataset, change

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.change(self.dataset[index])

    def source(self, index: int) -> str:
        """Return where an item comes from, for messages."""
        return source_of(self.dataset, index)


def matched_classes(model: Any, names: Sequence[str] | None, where: str) -> dict[int, int]:
    """Return the number of the weights for each class of the data, by name where both have names.

    Args:
        model: with `weights_info` and `config.num_classes`.
        names: of the classes of the data; None where it tells none.
        where: name of the data, for errors.

    Raises:
        ValueError: if the data has classes that the weights do not know, or, without names, another number of them.
    """
    num_classes = num_classes_of(model)
    if names is None:
        return {number: number for number in range(num_classes)}
    info = getattr(model, "weights_info", WeightsInfo())
    if info.class_names is None and len(names) != num_classes:
        raise ValueError(
            f"network and data do not fit: the network tells {num_classes} classes apart, {where} holds {len(names)}, "
            "and the weights state no names to match them by"
        )
    return info.match_classes(names, where)


def shown_names(model: Any, names: Sequence[str] | None, where: str) -> dict[int, str]:
    """Return the names of the classes of the weights; those of the data where the weights state none.

    Args:
        model: see `matched_classes`.
        names: of the classes of the data; None where it tells none.
        where: see `matched_classes`.
    """
    stated = getattr(model, "weights_info", WeightsInfo()).class_names
    if stated is not None:
        return dict(stated)
    numbers = matched_classes(model, names, where)
    return {numbers[number]: name for number, name in enumerate(names or ())}


def is_identity(numbers: Mapping[int, int]) -> bool:
    """Whether all classes keep their numbers."""
    return all(number == other for number, other in numbers.items())
