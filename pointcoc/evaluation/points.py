"""Clouds with a class for each point: parts of objects, and scenes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import Data

from pointcoc.checks import check_choice, check_folder
from pointcoc.data import DescribedScenes, PrepareCloud, SceneFolder, SceneInput, collate_parts, parse_labels
from pointcoc.data.formats import PART_FORMATS
from pointcoc.data.formats import open_split as open_parts_of
from pointcoc.data.part_clouds import SPLITS
from pointcoc.data.prepare import transform_of
from pointcoc.models.weights import CloudTransform
from pointcoc.segmentation.scene_task import SceneTask, collate_scenes
from pointcoc.segmentation.tasks import PartTask
from pointcoc.train.class_numbers import Renumbered
from pointcoc.train.processes import say
from pointcoc.train.task import Task

BATCH_SIZE = 16


def open_parts(model: Any, data: str | Path, split: str = "test") -> tuple[Any, Task, dict[str, Any]]:
    """Open objects with parts; their categories, and the parts of each in their order, are matched by name.

    Args:
        model: a `PointSegmenter` that is told categories.
        data: folder in a format of `PART_FORMATS`.
        split: "train", "val", "trainval" or "test".
    """
    check_choice("split", split, (*SPLITS, "trainval"))
    transform = transform_of(model)
    objects = open_parts_of(
        data,
        split,
        PART_FORMATS,
        num_points=transform.num_points,
        transform=PrepareCloud(transform),
        features=transform.features,
    )
    categories, parts = _noted_parts(model, objects)
    if unknown := [name for name in objects.categories if name not in categories]:
        raise ValueError(
            f"weights and data do not fit: {data} has categories that the weights do not know: {', '.join(unknown)}; "
            f"the weights know {', '.join(categories)}"
        )
    of_category = torch.tensor([categories.index(name) for name in objects.categories])
    of_part = torch.zeros(objects.num_classes, dtype=torch.int64)
    for name, numbers in zip(objects.categories, objects.parts, strict=True):
        theirs = parts[categories.index(name)]
        if len(theirs) != len(numbers):
            raise ValueError(
                f"weights and data do not fit: {name} has {len(numbers)} parts in {data}, {len(theirs)} in the weights"
            )
        of_part[list(numbers)] = torch.tensor(theirs)

    def renumbered(item: Data) -> Data:
        return Data(**{**item.to_dict(), "y": of_part[item.y.long()], "category": of_category[item.category.long()]})

    task = PartTask(parts, notes={"categories": categories, "parts": parts})
    return Renumbered(objects, renumbered), task, {"batch_size": BATCH_SIZE, "collate_fn": collate_parts}


def _noted_parts(model: Any, objects: Any) -> tuple[list[str], list[list[int]]]:
    """Return categories and their parts as the weights note them, or those of the data where they note none."""
    notes, config = model.weights_info.notes, model.config
    categories = list(notes.get("categories") or objects.categories)
    parts = [list(one) for one in notes.get("parts") or objects.parts]
    if len(categories) != config.num_categories or 1 + max(map(max, parts)) != config.num_classes:
        raise ValueError(
            f"network and data do not fit: the network knows {config.num_categories} categories with "
            f"{config.num_classes} parts, the data has {len(categories)} with {1 + max(map(max, parts))}"
        )
    return categories, parts


def open_scenes(
    model: Any,
    data: str | Path,
    split: Sequence[str] | str | None = None,
    labels: Sequence[str] | None = None,
    ignore: Collection[str] | None = None,
    columns: Sequence[str] | None = None,
    decimal: str = ".",
    segment: str = "segment",
) -> tuple[Any, Task, dict[str, Any]]:
    """Open scenes; the labels of their points become the classes of the weights by their names.

    Args:
        model: a `PointSegmenter` of scenes.
        data: folder that holds folders of scenes.
        split: names of those folders; needed.
        labels: classes of the labels that the files store, such as "2=ground"; as noted with the weights by default.
        ignore: labels and classes that count nowhere; as noted with the weights by default.
        columns: names of the columns of text and arrays that do not tell them.
        decimal: decimal mark of text.
        segment: name of the array of labels in folders of arrays.
    """
    root, info = check_folder("data", data), model.weights_info
    if not isinstance(info.transform, CloudTransform):
        raise ValueError(
            "the weights do not state how clouds became their input; set weights_info.transform to a CloudTransform "
            "and save them again with save_pretrained"
        )
    if not split:
        held = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
        raise ValueError(f"split must name the folders of {root} to measure on, got none; it holds {', '.join(held)}")
    labels = info.notes.get("labels", ()) if labels is None else labels
    left_out = map(str, info.notes.get("ignore", ()) if ignore is None else ignore)
    scenes = SceneFolder(
        root,
        [split] if isinstance(split, str) else list(split),
        classes=list(info.class_names.values()) if info.class_names else None,
        labels=parse_labels(tuple(labels)) or None,
        ignore=[int(one) if one.removeprefix("-").isdigit() else one for one in left_out],
        columns=columns,
        decimal=decimal,
        segment=segment,
    )
    empty = scenes.empty_classes(0)
    for remark in scenes.remarks:
        say(remark)
    if empty:
        say(f"no scene of {', '.join(scenes.areas)} has a point of {', '.join(empty)}")
    inputs = SceneInput(info.transform)
    task = SceneTask(model.config.num_classes, inputs, {"classes": scenes.classes})
    return DescribedScenes(scenes, inputs), task, {"batch_size": 1, "collate_fn": collate_scenes}
