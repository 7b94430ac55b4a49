"""From files to a folder of predictions, whatever the kind of model."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from torch import nn

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
    files: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    overwrite: bool = False,
    shown: bool = True,
    **options: Any,
) -> Prediction:
    """Write what a model says about files into a folder, one after the other; memory does not grow with their number.

    Classifiers: file, likeliest classes and their confidence are printed, and written as classes.csv and classes.json.
    Detectors: NAME.png, the image with masks, boxes and labels, and objects.json, a COCO file of all images. Semantic
    FPN: NAME.png, the number of the class of each pixel as `MaskFolder` reads it, and NAME.drawn.png. Segmentation of
    clouds: the class of each point; LAS, LAZ and PLY are written back with all their fields, others become PLY.

    Files that no earlier call wrote are not replaced, inputs among them. A file that cannot be read does not stop the
    others.

    Args:
        weights: whatever `pointcoc.load` takes.
        files: images or clouds; folders and globs of them, see `pointcoc.predict.find_inputs`.
        out: folder to write; made if it is not there. Classifiers need none.
        overwrite: whether files may be replaced that no earlier call wrote.
        shown: print lines about the files, and where people watch, a bar.
        **options: those of the kind of model; None stands for the default. Classifiers: `top`, `format`, `batch_size`,
            `threshold` (of several labels), `columns`, `decimal`. Detectors: `threshold` (lowest score of an object).
            Semantic FPN: `window` (side of sliding windows). Segmentation of clouds: `category` (kind of object),
            `columns`, `decimal`.

    Returns:
        The model with its options.

    Raises:
        FileExistsError: before any work, if a file would be replaced that no earlier call wrote.
        FileNotFoundError: if weights or a single file are missing, or a folder or glob holds nothing to read.
        ValueError: if an option does not belong to the weights; after all others are done, if files could not be read:
            the message lists them with their reasons.
    """
    chosen = prediction(load_for_prediction(weights), **options)
    chosen.write([files] if isinstance(files, (str, Path)) else list(files), out, overwrite, shown)
    return chosen


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
