"""From files to a folder of predictions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pointcoc.data.cloud_files import write_ply
from pointcoc.predict import clouds, images
from pointcoc.predict.models import load_model
from pointcoc.segmentation import PointSegmenter

THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A model with what its file notes, and the options of a prediction.

    Args:
        model: what `load_model` returned.
        notes: what it noted.
        threshold: lowest score of an object that is kept; None for 0.5. Of Mask R-CNN only.
        window: side of sliding windows; None reads images at once. Of Semantic FPN only.
        category: name of the kind of object. Of part segmentation only, and needed there.

    Raises:
        ValueError: if an option does not belong to the model, is missing, or has no allowed value.
    """

    model: nn.Module
    notes: Mapping[str, Any]
    threshold: float | None = None
    window: int | None = None
    category: str | None = None

    def __post_init__(self) -> None:
        needs = {"threshold": "mask_rcnn", "window": "semantic_fpn", "category": "point_segmentation"}
        for name, kind in needs.items():
            if getattr(self, name) is not None and kind != self.kind:
                raise ValueError(f"{name} is an option of {kind}, but the weights are those of {self.kind}")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be in [0, 1], got {self.threshold}")
        if self.window is not None and self.window < 1:
            raise ValueError(f"window must be at least 1, got {self.window}")
        self._check_category()

    @property
    def kind(self) -> str:
        """Kind of the model."""
        return self.model.config.kind  # type: ignore[union-attr,return-value]

    @property
    def names(self) -> dict[int, str]:
        """Names of classes, as far as they are noted."""
        noted = self.notes.get("classes") or {}
        pairs = noted.items() if isinstance(noted, Mapping) else enumerate(noted)
        return {int(number): str(name) for number, name in pairs}

    def write(self, files: Sequence[Path], out: Path) -> None:
        """Write what the model says about each file into a folder."""
        writers: dict[str, Callable[[Sequence[Path], Path], None]] = {
            "mask_rcnn": self._objects,
            "semantic_fpn": self._classes,
            "point_segmentation": self._points,
        }
        writers[self.kind](files, out)

    def _objects(self, files: Sequence[Path], out: Path) -> None:
        sizes, found = [], []
        for file in files:
            image = self._image(file)
            with torch.no_grad():
                (one,) = self.model([image])
            one = self._likely(one)
            images.write_picture(out / f"{file.stem}.png", images.draw_objects(image, one, self.names))
            sizes.append((image.shape[1], image.shape[2]))
            found.append(one)
        content = images.coco_dataset([str(file) for file in files], sizes, found, self.names)
        (out / "objects.json").write_text(json.dumps(content))

    def _likely(self, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
        keep = found["scores"] >= (THRESHOLD if self.threshold is None else self.threshold)
        return {name: value[keep] for name, value in found.items()}

    def _classes(self, files: Sequence[Path], out: Path) -> None:
        for file in files:
            image = self._image(file)
            classes = images.find_classes(self.model, image, int(self.notes.get("short_side", 0)), self.window)
            images.write_mask(out / f"{file.stem}.png", classes + int(self.notes.get("first_class", 0)))
            num = int(self.model.num_classes)  # type: ignore[arg-type]
            images.write_picture(out / f"{file.stem}.drawn.png", images.draw_classes(image, classes, num))

    def _points(self, files: Sequence[Path], out: Path) -> None:
        assert isinstance(self.model, PointSegmenter)
        number = None if self.category is None else list(self.notes["categories"]).index(self.category)
        for file in files:
            cloud = clouds.label_cloud(self.model, file, number, self.notes.get("parts"))
            write_ply(out / f"{file.stem}.ply", cloud, self.model.config.num_classes)

    def _image(self, file: Path) -> Tensor:
        return images.read_pixels(file).to(next(self.model.parameters()).device)

    def _check_category(self) -> None:
        if self.kind != "point_segmentation":
            return
        num = self.model.config.num_categories  # type: ignore[union-attr]
        known = list(self.notes.get("categories") or ())
        if num is None and self.category is not None:
            raise ValueError("category must be left out: the model is told none")
        if num is not None and self.category not in known:
            raise ValueError(
                f"category must be the kind of the objects, got {self.category!r}; choose from {', '.join(known)}"
            )


def predict(
    weights: str | Path,
    files: Sequence[str | Path],
    out: str | Path,
    threshold: float | None = None,
    window: int | None = None,
    category: str | None = None,
) -> Predictor:
    """Write what a model says about files into a folder, one after the other.

    Mask R-CNN: NAME.png, the image with masks, boxes and labels, and objects.json, a COCO file of all images. Semantic
    FPN: NAME.png, the number of the class of each pixel as `MaskFolder` reads it, and NAME.drawn.png. Clouds: NAME.ply
    with colors and `label`.

    Args:
        weights: file or folder (see `load_model`).
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
    model, notes = load_model(weights)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    predictor = Predictor(model=model.to(device), notes=notes, threshold=threshold, window=window, category=category)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    predictor.write(paths, folder)
    return predictor
