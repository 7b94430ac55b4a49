"""What nothing in weights tells: license, source, how inputs are prepared, names of classes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pointcoc.models.config import NetworkConfig
from pointcoc.models.presets import PRESETS
from pointcoc.models.weights.official_weights import DOWNLOADS
from pointcoc.models.weights.policy import fields_changing
from pointcoc.models.weights.transforms import CloudTransform, ImageTransform

OFFICIAL_PRESETS = (
    "coc_tiny", "coc_tiny2", "coc_tiny_plain", "coc_small", "coc_medium", "coc_base_dim64", "coc_base_dim96",
)  # fmt: skip
# A network with other values in these fields is still the preset.
VARIABLE = (*fields_changing("head", "input", "training", "start", "nothing"), "normalizer")


@dataclass(frozen=True, kw_only=True)
class WeightsInfo:
    """What nothing in the weights tells; None where it is not stated.

    Args:
        license: under which the weights are given, as an SPDX name or that of the hub, such as "apache-2.0".
        source: where the weights come from, in words.
        transform: how images or clouds became the input in training; None stands for the ImageNet transform where the
            network is an official preset for images of three channels, and for not stated elsewhere.
        class_names: name of each class by its number; a sequence counts from 0.
        notes: whatever else belongs to the weights and JSON holds, such as epoch and scores of the training, or
            categories and parts of objects.
    """

    license: str | None = None
    source: str | None = None
    transform: ImageTransform | CloudTransform | None = None
    class_names: Mapping[int, str] | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.class_names is not None:
            pairs = {int(number): str(name) for number, name in _pairs(self.class_names)}
            object.__setattr__(self, "class_names", pairs)

    def match_classes(self, names: Mapping[int, str] | Sequence[str], where: str) -> dict[int, int]:
        """Find the classes of data among those of the weights, by their names.

        Args:
            names: name of each class of the data by its number; a sequence counts from 0.
            where: name of the data, for the error.

        Returns:
            For each number of the data that of the weights; the same numbers where the weights state no names.

        Raises:
            ValueError: if the data has a class that the weights do not know; the message lists the names of both.
        """
        theirs = {int(number): str(name) for number, name in _pairs(names)}
        ours = self.class_names
        if ours is None or all(ours.get(number) == name for number, name in theirs.items()):
            return {number: number for number in theirs}
        unknown = sorted(set(theirs.values()) - set(ours.values()))
        if unknown:
            left = sorted(set(ours.values()) - set(theirs.values()))
            raise ValueError(
                f"weights and data do not fit: {where} has classes that the weights do not know: {listing(unknown)}; "
                f"only the weights have: {listing(left)}"
            )
        for names_of, whose in ((theirs, where), (ours, "the weights")):
            if twice := [name for name, count in Counter(names_of.values()).items() if count > 1]:
                raise ValueError(
                    f"weights and data have their classes in different order, and {whose} names several classes "
                    f"{twice[0]!r}: names must differ, to be matched"
                )
        numbers = {name: number for number, name in ours.items()}
        return {number: numbers[name] for number, name in theirs.items()}


def listing(names: Sequence[str], most: int = 10) -> str:
    """List names for a message, the first few of many; "none" if there are none."""
    shown = ", ".join(names[:most]) or "none"
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _pairs(names: Mapping[int, str] | Sequence[str]) -> Iterable[tuple[int, str]]:
    return names.items() if isinstance(names, Mapping) else enumerate(names)


STARTED = "started from, and changed since: "
OFFICIAL_WEIGHTS = WeightsInfo(
    license="apache-2.0", source=f"the authors' code and checkpoints, {DOWNLOADS}", transform=ImageTransform()
)


def changed(info: WeightsInfo) -> WeightsInfo:
    """Return what is known of weights after a part of them was replaced: they only started from their source."""
    source = info.source
    if source is not None and not source.startswith(STARTED):
        source = STARTED + source
    return replace(info, source=source, class_names=None, notes={})


def preset_name(config: Any) -> str | None:
    """Return the preset a configuration belongs to, else None; its classes, channels and the like may differ."""
    for name, one in PRESETS.items() if isinstance(config, NetworkConfig) else ():
        if one.replace(**{field: getattr(config, field) for field in VARIABLE}) == config:
            return name
    return None


def find_transform(config: Any, info: WeightsInfo) -> ImageTransform | None:
    """Return the transform of images that is stated, or that of the official presets, None if neither is."""
    if isinstance(info.transform, ImageTransform):
        return info.transform
    is_official = preset_name(config) in OFFICIAL_PRESETS and config.in_channels == 3
    return ImageTransform() if is_official else None
