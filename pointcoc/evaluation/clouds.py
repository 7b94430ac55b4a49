"""Clouds with a class each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pointcoc.checks import check_folder
from pointcoc.data import collate_sets
from pointcoc.data.formats import CLOUD_FORMATS, IMAGE_FORMATS, format_of
from pointcoc.data.prepare import PrepareCloud, transform_of
from pointcoc.train.class_numbers import in_numbers_of, shown_names
from pointcoc.train.processes import say
from pointcoc.train.task import Classification, Task

BATCH_SIZE = 32


def open_clouds(
    model: Any,
    data: str | Path,
    split: str | None = None,
    variant: str | None = None,
    columns: Sequence[str] | None = None,
    decimal: str = ".",
) -> tuple[Any, Task, dict[str, Any]]:
    """Open clouds for a classifier.

    Args:
        model: a classifier of clouds.
        data: a folder in a format of `CLOUD_FORMATS`.
        split: name of the split; "test" by default.
        variant: variant of ScanObjectNN.
        columns: names of the columns of text and arrays that do not tell them.
        decimal: decimal mark of text.
    """
    root, transform = check_folder("data", data), transform_of(model)
    if not any(one.fits(root) for one in CLOUD_FORMATS.values()) and IMAGE_FORMATS["folder"].fits(root):
        raise ValueError(f"the network takes clouds, but {root} is a folder of images")
    chosen = format_of(root, CLOUD_FORMATS, variant)
    given: dict[str, Any] = {} if columns is None else {"columns": tuple(columns)}
    if "decimal" in chosen.options:
        given["decimal"] = decimal
    elif decimal != ".":
        raise ValueError("decimal has no effect on clouds that are not stored as text: leave it out")
    if variant is not None:
        given["variant"] = variant
    clouds = chosen.open(
        root, split or chosen.splits[-1], num_points=transform.num_points, features=transform.features, **given
    )
    for sentence in dict.fromkeys((*clouds.remarks, *(f"left out: {one}" for one in clouds.left_out))):
        say(sentence)
    clouds.transform = PrepareCloud(transform)
    task = Classification(model.config.num_classes)
    task.notes = {"classes": shown_names(model, clouds.classes, str(data))}
    changed = in_numbers_of(model, clouds, str(data))
    return changed, task, {"batch_size": BATCH_SIZE, "collate_fn": collate_sets}
