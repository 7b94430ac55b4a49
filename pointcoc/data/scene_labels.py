"""From the labels that files of scenes store, numbers or names of objects, to numbers of classes."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from pointcoc.data.mask_folder import IGNORE

OTHER = "clutter"
"""Class of objects whose name is none of the list, such as the stairs of S3DIS; without it in the list, ignored."""
Labels = Mapping[int | str, int | str]


class SceneLabels:
    """Which class a stored label means.

    Args:
        classes: names of the classes.
        labels: class, its name or number, of each stored number or name of objects, `IGNORE` (-100) for none. Where it
            holds numbers, a stored number that is not among them is an error. None: the stored number is that of the
            class.
        ignore: stored numbers that stand for no class, and names of classes that count nowhere. Without numbers in
            `labels` the number of a class stands for its name.

    Attributes:
        numbers: number of the class of each stored number.
        names: number of the class of each name of objects.
        ignored_classes: numbers of the classes that count nowhere.
        ignored_numbers: those of them that `ignore` holds as a number.

    Raises:
        ValueError: if a class is unknown or named twice, or a number is mapped and ignored.
    """

    def __init__(
        self, *, classes: tuple[str, ...], labels: Labels | None = None, ignore: Collection[int | str] = ()
    ) -> None:
        twice = sorted({name for name in classes if classes.count(name) > 1})
        if twice or not classes:
            raise ValueError(f"classes must be names, each once, got {', '.join(twice) or 'none'}")
        self.classes = classes
        self.labels = dict(labels or {})
        unlabeled = {int(value) for value in ignore if not isinstance(value, str)} | {IGNORE}
        ignored = {self._number(name, "ignore") for name in ignore if isinstance(name, str)}
        mapped = {key: self._number(value, "labels") for key, value in self.labels.items()}
        numbers = {int(key): number for key, number in mapped.items() if not isinstance(key, str)}
        both = sorted((unlabeled & set(numbers)) - {IGNORE})
        if both:
            raise ValueError(f"labels and ignore must not hold the same numbers, got {both[0]} in both")
        if self.is_plain:
            numbers = {number: number for number in range(len(classes))}
        self.ignored_numbers = (unlabeled & set(numbers)) - {IGNORE}
        self.ignored_classes = frozenset(ignored | self.ignored_numbers)
        names = {name: number for number, name in enumerate(classes)}
        names |= {key: number for key, number in mapped.items() if isinstance(key, str)}
        hidden = dict.fromkeys(self.ignored_classes, IGNORE)
        self.numbers = {key: hidden.get(number, number) for key, number in numbers.items()}
        self.numbers |= dict.fromkeys(unlabeled, IGNORE)
        self.names = {key: hidden.get(number, number) for key, number in names.items()}

    def _number(self, of: int | str, argument: str) -> int:
        if of in self.classes:
            return self.classes.index(of)  # type: ignore[arg-type]
        if not isinstance(of, str) and (of == IGNORE or 0 <= of < len(self.classes)):
            return int(of)
        raise ValueError(
            f"{argument} must name classes, of {', '.join(self.classes)} or their numbers 0 to "
            f"{len(self.classes) - 1}, got {of!r}"
        )

    def of_numbers(self, stored: np.ndarray, where: Callable[[int], str]) -> np.ndarray:
        """Return the class of each stored number, `IGNORE` for none.

        Args:
            stored: shape (N,), int64.
            where: says file and row of an entry, for the message.

        Raises:
            ValueError: if a number means nothing.
        """
        values, inverse = np.unique(stored, return_inverse=True)
        bad = [number for number, value in enumerate(values.tolist()) if value not in self.numbers]
        if bad:
            first = int(np.isin(inverse, bad).argmax())
            raise ValueError(
                f"{where(first)} has the label {stored[first]}, which must be {self._allowed()}; give labels (numbers "
                "and their classes), or the numbers to ignore"
            )
        return np.array([self.numbers[value] for value in values.tolist()], dtype=np.int64)[inverse.reshape(-1)]

    @property
    def is_plain(self) -> bool:
        """Whether a stored number is that of its class, for no map tells another one."""
        return all(isinstance(key, str) for key in self.labels)

    def _allowed(self) -> str:
        num = len(self.classes) if self.is_plain else 0
        others = [str(number) for number in sorted(self.numbers) if number != IGNORE and not 0 <= number < num]
        return ", ".join([f"0 to {num - 1}", *others] if num else ["one of " + others[0], *others[1:]])

    def of_name(self, name: str) -> int:
        """Return the class of objects of a name: as mapped, or of that name, else `OTHER` if listed, or `IGNORE`."""
        return self.names.get(name, self.names.get(OTHER, IGNORE))

    def explain(self, name: str, points: int, rooms: int, where: str) -> str:
        """Say what became of objects whose name is none of the classes.

        Args:
            name: name of the objects.
            points: their points.
            rooms: rooms that hold some.
            where: names of their areas.
        """
        amount = f"{points:,} {'point' if points == 1 else 'points'} in {rooms:,} {'room' if rooms == 1 else 'rooms'}"
        near = [known for known in self.names if known.casefold() == name.casefold()]
        hint = f"; {near[0]!r} differs in case only" if near else ""
        fate = f"counted as {OTHER}" if OTHER in self.names else "left out"
        return f"objects named {name!r} are none of the classes: {amount} of {where} {fate}{hint}"

    def remarks(self) -> tuple[str, ...]:
        """Say which classes count nowhere because their number is to be ignored, which may not have been meant."""
        return tuple(
            f"the class {self.classes[number]!r} counts nowhere, since ignore holds its number {number}; if the files "
            "store other numbers than those of the classes, give labels"
            for number in sorted(self.ignored_numbers)
        )

    def facts(self) -> dict[str, object]:
        """Return all that decides about classes, for the key of a cache."""
        return {
            "classes": list(self.classes),
            "numbers": sorted(self.numbers.items()),
            "names": sorted(self.names.items()),
        }


def parse_labels(text: str | Sequence[str]) -> dict[int | str, int | str]:
    """Read a map of labels as a command line holds it, such as "2=ground 5=tree 6=building Floor=floor".

    Args:
        text: pairs STORED=CLASS, between white space or commas, or a sequence of such pairs, whose names may hold
            spaces. STORED is a number or the name of objects, CLASS the name or the number of a class.

    Raises:
        ValueError: if a pair is no pair, or a label stands in two.
    """
    pairs = re.split(r"[\s,]+", text.strip()) if isinstance(text, str) else [pair.strip() for pair in text]
    labels: dict[int | str, int | str] = {}
    for pair in filter(None, pairs):
        stored, mark, name = (part.strip() for part in pair.partition("="))
        if not (stored and mark and name) or "=" in name:
            raise ValueError(f"labels must be pairs STORED=CLASS, such as 2=ground, got {pair!r}")
        if _value(stored) in labels:
            raise ValueError(f"labels must hold each stored label once, got {stored!r} twice")
        labels[_value(stored)] = _value(name)
    return labels


def class_names(classes: Sequence[str] | None, labels: Labels | None, usual: Sequence[str]) -> tuple[str, ...]:
    """Return names of classes: those given, else the names in a map of numbers, in its order, else the usual ones.

    Args:
        classes: the names; None if they are not given.
        labels: see `SceneLabels`.
        usual: names where nothing else tells them.
    """
    if isinstance(classes, str):
        raise ValueError(f"classes must be a sequence of names, got {classes!r}")
    if classes is not None:
        return tuple(classes)
    labels = labels or {}
    if all(isinstance(stored, str) for stored in labels):  # some names of objects do not tell all classes
        return tuple(usual)
    return tuple(dict.fromkeys(name for name in labels.values() if isinstance(name, str))) or tuple(usual)


def _value(word: str) -> int | str:
    return int(word) if re.fullmatch(r"[-+]?\d+", word) else word
