"""Classes of data as the weights number them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.utils.data import Dataset

from pointcoc.models.weights import WeightsInfo
from pointcoc.train.items import source_of


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
    num_classes = model.config.num_classes
    if names is None:
        return {number: number for number in range(num_classes)}
    info = getattr(model, "weights_info", WeightsInfo())
    if info.class_names is None and len(names) != num_classes:
        raise ValueError(
            f"network and data do not fit: the network tells {num_classes} classes apart, {where} holds {len(names)}, "
            "and the weights state no names to match them by"
        )
    return info.match_classes(names, where)


def shown_names(model: Any, names: Sequence[str] | None, numbers: Mapping[int, int]) -> dict[int, str]:
    """Return the names of the classes of the weights; those of the data where the weights state none.

    Args:
        model: see `matched_classes`.
        names: of the classes of the data; None where it tells none.
        numbers: what `matched_classes` returned.
    """
    stated = getattr(model, "weights_info", WeightsInfo()).class_names
    return dict(stated or {numbers[number]: name for number, name in enumerate(names or ())})


def is_identity(numbers: Mapping[int, int]) -> bool:
    """Whether all classes keep their numbers."""
    return all(number == other for number, other in numbers.items())
