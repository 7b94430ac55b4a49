"""From files to a folder of predictions, whatever the kind of model."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from torch import nn

from pointcoc.checks import check_file
from pointcoc.deprecation import warn_old
from pointcoc.models.weights import WeightsInfo, find_kind, load
from pointcoc.predict.base import Prediction, load_for_prediction
from pointcoc.predict.classes import ClassPrediction


def prediction(model: nn.Module, **options: Any) -> Prediction:
    """Make the prediction of a model.

    Args:
        model: of a kind that predicts about files.
        **options: those of its kind (see `predict`); None stands for the default.

    Raises:
        ValueError: if the model is no model of this library, or an option does not belong to it, is missing, or has no
            allowed value.
    """
    name = getattr(getattr(model, "config", None), "kind", None)
    asked: type[Prediction] = find_kind(name, "the model").predict or ClassPrediction
    known = [field.name for field in fields(asked) if field.name != "model"]
    given = {option: value for option, value in options.items() if value is not None}
    for option in given:
        if option not in known:
            raise ValueError(f"{option} is no option of {name}, which has {', '.join(known)}")
    return asked(model=model, **given)


def predict(
    weights: str | Path,
    files: Sequence[str | Path],
    out: str | Path | None = None,
    threshold: float | None = None,
    window: int | None = None,
    category: str | None = None,
    columns: Sequence[str] | None = None,
    decimal: str | None = None,
) -> Prediction:
    """Write what a model says about files into a folder, one after the other.

    Classifiers of clouds: file, class and confidence are printed, and written as classes.csv and classes.json. Mask
    R-CNN: NAME.png, the image with masks, boxes and labels, and objects.json, a COCO file of all images. Semantic FPN:
    NAME.png, the number of the class of each pixel as `MaskFolder` reads it, and NAME.drawn.png. Segmentation of
    clouds: the class of each point; LAS, LAZ and PLY are written back with all their fields, others become PLY.

    Args:
        weights: whatever `pointcoc.load` takes.
        files: images or clouds.
        out: folder to write; made if it is not there. Classifiers need none.
        threshold: lowest score of an object (Mask R-CNN); None for 0.5.
        window: side of sliding windows (Semantic FPN); None reads images at once.
        category: name of the kind of object (part segmentation).
        columns: names of the columns of clouds in text or arrays, see `pointcoc.data.read_cloud`.
        decimal: decimal mark of clouds in text; None for a point.

    Returns:
        The model with its options.

    Raises:
        FileNotFoundError: if weights or a file are missing.
        ValueError: if the weights are of another kind, an option does not belong to them, a file cannot be read, or
            two files have one name.
    """
    paths = [Path(file) for file in files]
    if not paths:
        raise ValueError("files must hold at least one image or cloud, got none")
    for path in paths:
        check_file(path)
    options = {"threshold": threshold, "window": window, "category": category, "columns": columns, "decimal": decimal}
    chosen = prediction(load_for_prediction(weights), **options)
    folder = None if out is None else Path(out).expanduser()
    if chosen.needs_out:
        _check_names(paths, folder)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    chosen.write(paths, folder)
    return chosen


def _check_names(paths: Sequence[Path], out: Path | None) -> None:
    """Raise unless there is a folder, and no two files are written under one name."""
    if out is None:
        raise ValueError("out must be a folder for what the model says about the files, got none")
    twice = [name for name, count in Counter(path.stem for path in paths).items() if count > 1]
    if twice:
        raise ValueError(f"predictions are named like their files, and {twice[0]} is there twice")


def load_model(path: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """Load a model and its notes: the old form of `pointcoc.load`, whose models carry their `weights_info`.

    Args:
        path: see `pointcoc.load`.
    """
    warn_old("pointcoc.predict.load_model", "pointcoc.load")
    model = load(path)
    info: Any = model.weights_info
    return model, {**info.notes, "classes": info.class_names}


def Predictor(*, model: nn.Module, notes: Mapping[str, Any], **options: Any) -> Prediction:
    """Make the prediction of a model: the old form of `prediction`, whose models carry their notes.

    Args:
        model: see `prediction`.
        notes: become its `weights_info`.
        **options: see `prediction`.
    """
    warn_old("pointcoc.predict.Predictor", "pointcoc.predict.prediction")
    info = getattr(model, "weights_info", WeightsInfo())
    model.weights_info = replace(info, class_names=notes.get("classes"), notes=notes)  # type: ignore[assignment]
    return prediction(model, **options)
