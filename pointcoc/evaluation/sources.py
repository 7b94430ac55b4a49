"""The labeled data that a kind of model is measured on: a function for each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import DataLoader

from pointcoc.checks import check_count, import_extra
from pointcoc.train.task import Task


@dataclass(frozen=True, kw_only=True)
class Measurable:
    """Labeled data and what is measured on it.

    Args:
        loader: yields (input, target), as the task reads them.
        task: knows the scores.
    """

    loader: DataLoader
    task: Task


Opener = Callable[..., tuple[Any, Task, Mapping[str, Any]]]
"""Maps model, folder and options to the data set, the task, and what the loader takes besides."""
LOADING = ("batch_size", "workers")
OPENERS = {  # name of what is measured: module and function
    "images": ("pointcoc.evaluation.images", "open_images"),
    "clouds": ("pointcoc.evaluation.clouds", "open_clouds"),
    "pixels": ("pointcoc.evaluation.pixels", "open_pixels"),
    "parts": ("pointcoc.evaluation.points", "open_parts"),
    "scenes": ("pointcoc.evaluation.points", "open_scenes"),
    "objects": ("pointcoc.evaluation.objects", "open_objects"),
}
OPTIONS: dict[str, tuple[str, ...]] = {
    "images": ("split", "source", "image_key", "label_key", "labels", *LOADING),
    "clouds": ("split", "variant", "columns", "decimal", *LOADING),
    "pixels": ("split", "first_class", "ignore", "window", "workers"),
    "parts": ("split", *LOADING),
    "scenes": ("split", "labels", "ignore", "columns", "decimal", "segment", "workers"),
    "objects": ("split", "annotations", "workers"),
}
"""Options of what is measured: names that `open_labeled` takes."""


def open_labeled(model: nn.Module, data: str | Path, **options: Any) -> Measurable:
    """Open labeled data for a model.

    Args:
        model: of any kind that has classes.
        data: folder of the data.
        **options: those of `OPTIONS`; None stands for the default. `batch_size` and `workers` are those of the loader.

    Raises:
        FileNotFoundError: if data are missing.
        ValueError: if model and data do not fit, or an option does not belong to the kind of model.
    """
    measured = measured_of(model)
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in OPTIONS[measured]:
            raise ValueError(
                f"{name} has no effect on weights that are measured on {measured}: leave it out; their options are "
                f"{', '.join(OPTIONS[measured])}"
            )
    batch_size, workers = given.pop("batch_size", None), given.pop("workers", 0)
    if batch_size is not None:
        check_count("batch_size", batch_size)
    check_count("workers", workers, 0)
    module, function = OPENERS[measured]
    opened: Opener = getattr(import_extra(module, "detection", "this evaluation needs"), function)
    dataset, task, loading = opened(model, data, **given)
    loading = {**loading, **({} if batch_size is None else {"batch_size": batch_size})}
    if hasattr(dataset, "set_loader"):
        dataset.set_loader(workers, batch_size=loading["batch_size"])
    return Measurable(loader=DataLoader(dataset, num_workers=workers, **loading), task=task)


def measured_of(model: nn.Module) -> str:
    """Return what a model is measured on: a key of `OPTIONS`.

    Raises:
        ValueError: if it has no classes, or is no model of this library.
    """
    config: Any = getattr(model, "config", None)
    kind = getattr(config, "kind", None)
    if kind in ("classifier", "pointmlp_coc"):
        if not config.num_classes:
            raise ValueError("the network has no classifier (num_classes is 0), so there is nothing to measure")
        return "images" if getattr(config, "on_lattice", False) else "clouds"
    if kind == "point_segmentation":
        return "scenes" if config.num_categories is None else "parts"
    if kind == "semantic_fpn":
        return "pixels"
    if kind in ("mask_rcnn", "faster_rcnn"):
        return "objects"
    raise ValueError(
        f"the model must be of a kind that is measured on labeled data, got {kind or type(model).__name__}"
    )
