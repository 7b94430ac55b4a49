"""Classes of clouds in files, with confidence."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pointcoc.checks import check_count
from pointcoc.data.prepare import network_input, read_for_network, say_remarks, transform_of
from pointcoc.predict.base import Prediction, load_for_prediction

CSV, JSON = "classes.csv", "classes.json"


@dataclass(frozen=True, eq=False, kw_only=True)
class Classified:
    """What a classifier says about a file.

    Args:
        path: the file.
        names: name of each class by its number; the number itself where the weights state no names.
        scores: probability of each class, shape (num_classes,), float32, on the CPU.
    """

    path: Path
    names: tuple[str, ...]
    scores: Tensor

    @property
    def number(self) -> int:
        """Number of the likeliest class."""
        return int(self.scores.argmax())

    @property
    def name(self) -> str:
        """Name of the likeliest class."""
        return self.names[self.number]

    @property
    def confidence(self) -> float:
        """Probability of the likeliest class, in [0, 1]."""
        return float(self.scores.max())

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """Return names and probabilities of the likeliest classes, the likeliest first."""
        best = self.scores.topk(min(count, len(self.scores)))
        return [(self.names[i], score) for i, score in zip(best.indices.tolist(), best.values.tolist(), strict=True)]


@dataclass(frozen=True, kw_only=True)
class ClassPrediction(Prediction):
    """Classes of clouds that a classifier tells apart.

    Args:
        columns: names of the columns of clouds in text or arrays, see `pointcoc.data.read_cloud`.
        decimal: decimal mark of clouds in text.
        top: classes of each file that are written, the likeliest first.

    Raises:
        ValueError: if the model reads images or has no classifier, or `top` is below 1.
    """

    needs_out = False

    columns: Sequence[str] | None = None
    decimal: str = "."
    top: int = 5

    def __post_init__(self) -> None:
        check_count("top", self.top)
        config = self.model.config
        if getattr(config, "on_lattice", False):
            raise ValueError("predict names the class of clouds, and these weights are a classifier of images")
        if not config.num_classes:
            raise ValueError("the network has no classifier (num_classes is 0), so it names no class")

    def classify(self, files: Sequence[str | Path]) -> Iterator[Classified]:
        """Classify one file after the other.

        Raises:
            FileNotFoundError: if a file is missing.
            ValueError: if a file cannot be read, or lacks a feature that the network reads.
        """
        transform = transform_of(self.model)
        count, stated = self.model.config.num_classes, self.info.class_names or {}
        names = tuple(stated.get(number, str(number)) for number in range(count))
        for file in files:
            cloud = read_for_network(file, transform, self.columns, self.decimal)
            say_remarks(cloud)
            points = network_input(cloud, self.model, transform)
            with torch.no_grad():
                scores = self.model(points)[0].float().softmax(0).cpu()
            yield Classified(path=Path(file), names=names, scores=scores)

    def write(self, files: Sequence[Path], out: Path | None) -> None:
        """Print file, class and confidence of each cloud; with a folder, write classes.csv and classes.json there."""
        width = max(len(str(file)) for file in files)
        found = []
        for one in self.classify(files):
            print(f"{one.path!s:<{width}}  {one.name}  {one.confidence:.1%}", flush=True)
            found.append(one)
        if out is not None:
            _write_csv(out / CSV, found)
            (out / JSON).write_text(json.dumps([self._record(one) for one in found], indent=1) + "\n")

    def _record(self, one: Classified) -> dict[str, Any]:
        return {"file": str(one.path), "class": one.name, "confidence": one.confidence, "top": one.top(self.top)}


def classify(
    weights: str | Path | nn.Module, files: str | Path | Sequence[str | Path], **options: Any
) -> list[Classified]:
    """Classify clouds in files.

    Args:
        weights: what `pointcoc.load` takes, such as the folder of a run of examples/modelnet40.py; or a model.
        files: one file or several, see `pointcoc.data.read_cloud`.
        **options: those of `ClassPrediction`: `columns`, `decimal`.

    Returns:
        Name and confidence for each file, in order.

    Raises:
        FileNotFoundError: if weights or a file are missing.
        ValueError: if the weights are no classifier of clouds, or a file cannot be read.
    """
    model = weights if isinstance(weights, nn.Module) else load_for_prediction(weights)
    paths = [files] if isinstance(files, (str, Path)) else list(files)
    return list(ClassPrediction(model=model, **options).classify(paths))


def _write_csv(path: Path, found: Sequence[Classified]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "class", "confidence", *found[0].names))
        writer.writerows((one.path, one.name, f"{one.confidence:.6f}", *one.scores.tolist()) for one in found)
