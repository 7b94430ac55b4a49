"""The kinds of models: one row a kind, whose module is imported when a file asks for it."""

from dataclasses import dataclass
from typing import Any

from pointcoc.checks import import_extra

KINDS = {  # each module holds a `KIND`
    "classifier": "pointcoc.models.network",
    "pointmlp_coc": "pointcoc.models.pointmlp_coc",
    "semantic_fpn": "pointcoc.segmentation.semantic_fpn",
    "point_segmentation": "pointcoc.segmentation.points",
    "mask_rcnn": "pointcoc.detection.mask_rcnn",
    "faster_rcnn": "pointcoc.detection.faster_rcnn",
}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What a kind of model brings to be saved, loaded and asked about files.

    Args:
        model: class of the model, a `HubMixin`; its `config_class` is the dataclass of its settings.
        predict: subclass of `pointcoc.predict.Prediction` that writes what the model says about files, if there is one.
    """

    model: type[Any]
    predict: type[Any] | None = None


def find_kind(name: Any, where: str) -> Kind:
    """Return a kind by its name.

    Args:
        name: a key of `KINDS`.
        where: what states it, for errors.

    Raises:
        ValueError: if the name is unknown.
        ImportError: if a package is missing that models of this kind need.
    """
    if name not in KINDS:
        raise ValueError(f"{where} does not say which kind of model it belongs to: {', '.join(KINDS)}; got {name!r}")
    return import_extra(KINDS[name], "detection", f"models of the kind {name} need").KIND
