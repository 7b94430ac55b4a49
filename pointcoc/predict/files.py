"""From files to a folder of predictions, whatever the kind of model."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pointcoc.deprecation import warn_old
from pointcoc.models.weights import WeightsInfo, find_kind, load
from pointcoc.predict.images import read_pixels


@dataclass(frozen=True, kw_only=True)
class Prediction(ABC):
    """A model, and how it is asked about files; a subclass for each kind of model has its options as further fields.

    Args:
        model: in evaluation mode.
    """

    model: Any

    @property
    def kind(self) -> str:
        """Kind of the model."""
        return self.model.config.kind

    @property
    def info(self) -> WeightsInfo:
        """What is known about the weights, such as names of classes."""
        return getattr(self.model, "weights_info", WeightsInfo())

    def read_image(self, file: Path) -> Tensor:
        """Read an image (see `read_pixels`) onto the device of the model."""
        return read_pixels(file).to(next(self.model.parameters()).device)

    @abstractmethod
    def write(self, files: Sequence[Path], out: Path) -> None:
        """Write what the model says about files into a folder.

        Args:
            files: images or clouds.
            out: the folder.
        """


def prediction(model: nn.Module, **options: Any) -> Prediction:
    """Make the prediction of a model.

    Args:
        model: of a kind that predicts about files.
        **options: those of its kind (see `predict`); None stands for the default.

    Raises:
        ValueError: if the kind of model predicts nothing about files, or an option does not belong to it, is missing,
            or has no allowed value.
    """
    name = getattr(getattr(model, "config", None), "kind", None)
    kind = find_kind(name, "the model")
    if kind.predict is None:
        raise ValueError(f"predict needs a model of detection or segmentation, got weights of the kind {name}")
    known = [field.name for field in fields(kind.predict) if field.name != "model"]
    given = {option: value for option, value in options.items() if value is not None}
    for option in given:
        if option not in known:
            raise ValueError(f"{option} is no option of {name}, which has {', '.join(known)}")
    return kind.predict(model=model, **given)


def predict(
    weights: str | Path,
    files: Sequence[str | Path],
    out: str | Path,
    threshold: float | None = None,
    window: int | None = None,
    category: str | None = None,
) -> Prediction:
    """Write what a model says about files into a folder, one after the other.

    Mask R-CNN: NAME.png, the image with masks, boxes and labels, and objects.json, a COCO file of all images. Semantic
    FPN: NAME.png, the number of the class of each pixel as `MaskFolder` reads it, and NAME.drawn.png. Clouds: NAME.ply
    with colors and `label`.

    Args:
        weights: whatever `pointcoc.load` takes.
        files: images or clouds.
        out: folder to write; made if it is not there.
        threshold: lowest score of an object (Mask R-CNN); None for 0.5.
        window: side of sliding windows (Semantic FPN); None reads images at once.
        category: name of the kind of object (part segmentation).

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
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not a file")
    twice = [name for name, count in Counter(path.stem for path in paths).items() if count > 1]
    if twice:
        raise ValueError(f"predictions are named like their files, and {twice[0]} is there twice")
    model = load(weights).float().to("cuda" if torch.cuda.is_available() else "cpu")
    chosen = prediction(model, threshold=threshold, window=window, category=category)
    Path(out).mkdir(parents=True, exist_ok=True)
    chosen.write(paths, Path(out))
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
