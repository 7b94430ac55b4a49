"""Classes of images and clouds in files, with confidence."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor, nn

from pointcoc.checks import check_choice, check_count, check_range
from pointcoc.data.cloud_files import CLOUD_READERS
from pointcoc.data.image_files import open_image
from pointcoc.data.image_transform import image_transform
from pointcoc.data.input_files import Input
from pointcoc.data.prepare import network_input, read_for_network, say_remarks, transform_of
from pointcoc.outputs import OutFolder
from pointcoc.predict.base import READING_ERRORS, Prediction, Write, load_for_prediction

CSV, JSON = "classes.csv", "classes.json"
FORMATS = ("table", "json", "csv")


@dataclass(frozen=True, eq=False, kw_only=True)
class Classified:
    """What a classifier says about a file.

    Args:
        path: the file.
        names: name of each class by its number; the number itself where the weights state no names.
        scores: probability of each class, shape (num_classes,), float32, on the CPU; where a file may have several
            labels, that of each label by itself.
        threshold: lowest probability of a label, where a file may have several; None where it has one class.
    """

    path: Path
    names: tuple[str, ...]
    scores: Tensor
    threshold: float | None = None

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

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels that reach the threshold, the likeliest first; of one class, its name."""
        if self.threshold is None:
            return (self.name,)
        return tuple(name for name, score in self.top(len(self.names)) if score >= self.threshold)

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """Return names and probabilities of the likeliest classes, the likeliest first."""
        best = self.scores.topk(min(count, len(self.scores)))
        return [(self.names[i], score) for i, score in zip(best.indices.tolist(), best.values.tolist(), strict=True)]


@dataclass(frozen=True, kw_only=True)
class ClassPrediction(Prediction):
    """Classes of images or clouds that a classifier tells apart.

    Args:
        columns: names of the columns of clouds in text or arrays, see `pointcoc.data.read_cloud`.
        decimal: decimal mark of clouds in text.
        top: classes of each file that are shown and written, the likeliest first.
        threshold: lowest probability of a label, for networks that give several labels; 0.5 by default.
        batch_size: images that the network reads at once.
        format: what is printed: "table", or the content of classes.csv or classes.json.

    Raises:
        ValueError: if the model has no classifier, or an option has no allowed value or no effect on it.
    """

    needs_out = False
    common = (CSV, JSON)

    columns: Sequence[str] | None = None
    decimal: str = "."
    top: int = 5
    threshold: float | None = None
    batch_size: int = 1
    format: str = "table"

    def __post_init__(self) -> None:
        check_count("top", self.top)
        check_count("batch_size", self.batch_size)
        check_choice("format", self.format, FORMATS)
        if not self.model.config.num_classes:
            raise ValueError("the network has no classifier (num_classes is 0), so it names no class")
        if self.threshold is not None:
            check_range("threshold", self.threshold, 0, 1)
            if not self.has_several:
                raise ValueError("threshold has no effect on a network that gives each file one class: leave it out")
        if not self.reads_clouds and (self.columns is not None or self.decimal != "."):
            raise ValueError("columns and decimal are for clouds, and these weights are a classifier of images")

    @property
    def reads_clouds(self) -> bool:
        """Whether inputs are clouds, not images."""
        return not getattr(self.model.config, "on_lattice", False)

    @property
    def has_several(self) -> bool:
        """Whether a file may have several labels."""
        return bool(self.info.notes.get("multi_label"))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Name of each class by its number."""
        stated = self.info.class_names or {}
        return tuple(stated.get(number, str(number)) for number in range(self.model.config.num_classes))

    @cached_property
    def _transform(self) -> Any:
        return transform_of(self.model) if self.reads_clouds else image_transform(self.model)

    def answer(self, file: Path) -> Classified:
        """Classify a file; see `Prediction.answer`."""
        return self._classified(file, self._scores(self._read(file))[0])

    def answers(self, files: Iterable[Path]) -> Iterator[Any]:
        """Classify files, several images at once; see `Prediction.answers`."""
        if self.reads_clouds or self.batch_size == 1:
            yield from super().answers(files)
            return
        remaining = iter(files)
        while part := list(islice(remaining, self.batch_size)):
            read = [self._tried(file) for file in part]
            images = [one for one in read if isinstance(one, Tensor)]
            scores = iter(self._scores(torch.cat(images)) if images else ())
            for file, one in zip(part, read, strict=True):
                yield one if isinstance(one, Exception) else self._classified(file, next(scores))

    def classify(self, files: Sequence[str | Path]) -> Iterator[Classified]:
        """Classify one file after the other.

        Raises:
            FileNotFoundError: if a file is missing.
            ValueError: if a file cannot be read, or lacks a feature that the network reads.
        """
        for file in files:
            yield self.answer(Path(file))

    @contextmanager
    def writing(self, out: OutFolder | None, shown: bool = False) -> Iterator[Write]:
        """Print classes and confidence of each file; with a folder, write classes.csv and classes.json there."""
        with ExitStack() as stack:
            tables = [] if out is None else self._tables(out, stack)
            if shown and self.format != "table":
                tables.append(_TABLES[self.format](sys.stdout, self))

            def write(one: Input, found: Classified) -> str | None:
                for table in tables:
                    table.add(found)
                return self._line(found) if self.format == "table" else None

            yield write
            for table in tables:
                table.end()

    def _line(self, one: Classified) -> str:
        best = ", ".join(f"{name} {score:.1%}" for name, score in one.top(self.top))
        labels = "" if one.threshold is None else f"{', '.join(one.labels) or 'no label'}  of "
        return f"{one.path}  {labels}{best}"

    def record(self, one: Classified) -> dict[str, Any]:
        """Return what classes.json holds about a file."""
        several = {} if one.threshold is None else {"labels": list(one.labels)}
        return {
            "file": str(one.path), "class": one.name, "confidence": one.confidence, **several, "top": one.top(self.top),
        }  # fmt: skip

    def header(self) -> list[str]:
        """Return the names of the columns of classes.csv."""
        more = [f"{what}_{rank}" for rank in range(2, self._count + 1) for what in ("class", "confidence")]
        return ["file", *(("labels",) if self.has_several else ()), "class", "confidence", *more]

    def row(self, one: Classified) -> list[str]:
        """Return a row of classes.csv."""
        best = [word for name, score in one.top(self._count) for word in (name, f"{score:.6f}")]
        return [str(one.path), *((";".join(one.labels),) if self.has_several else ()), *best]

    @property
    def _count(self) -> int:
        return min(self.top, len(self.names))

    def _tables(self, out: OutFolder, stack: ExitStack) -> list[_Csv | _Json]:
        opened = [stack.enter_context(out.file(name)) for name in (CSV, JSON)]
        files = [stack.enter_context(path.open("w", newline="", encoding="utf-8")) for path in opened]
        return [_TABLES[name](file, self) for name, file in zip(("csv", "json"), files, strict=True)]

    def _tried(self, file: Path) -> Any:
        try:
            return self._read(file)
        except READING_ERRORS as error:
            return error

    def _read(self, file: Path) -> Any:
        """Return what the network reads of a file, on its device."""
        if self.reads_clouds:
            cloud = read_for_network(file, self._transform, self.columns, self.decimal)
            say_remarks(cloud)
            return network_input(cloud, self.model, self._transform)
        if file.suffix.lower() in CLOUD_READERS:
            raise ValueError(f"{file} is a cloud, and the network takes images; give weights for clouds")
        like = next(self.model.parameters())
        return self._transform(open_image(file))[None].to(like)

    @torch.no_grad()
    def _scores(self, inputs: Any) -> Tensor:
        logits = self.model(inputs).float()
        return (logits.sigmoid() if self.has_several else logits.softmax(1)).cpu()

    def _classified(self, file: Path, scores: Tensor) -> Classified:
        threshold = (0.5 if self.threshold is None else self.threshold) if self.has_several else None
        return Classified(path=file, names=self.names, scores=scores, threshold=threshold)


class _Csv:
    """classes.csv, row by row."""

    def __init__(self, file: TextIO, asked: ClassPrediction) -> None:
        self._writer, self._asked = csv.writer(file), asked
        self._writer.writerow(asked.header())

    def add(self, one: Classified) -> None:
        self._writer.writerow(self._asked.row(one))

    def end(self) -> None:
        """Nothing follows the rows."""


class _Json:
    """classes.json, a list, entry by entry."""

    def __init__(self, file: TextIO, asked: ClassPrediction) -> None:
        self._file, self._asked, self._between = file, asked, "[\n"

    def add(self, one: Classified) -> None:
        self._file.write(self._between + json.dumps(self._asked.record(one)))
        self._between = ",\n"

    def end(self) -> None:
        self._file.write("\n]\n" if self._between == ",\n" else "[]\n")


_TABLES: dict[str, type[_Csv] | type[_Json]] = {"csv": _Csv, "json": _Json}


def classify(
    weights: str | Path | nn.Module, files: str | Path | Sequence[str | Path], **options: Any
) -> list[Classified]:
    """Classify images or clouds in files.

    Args:
        weights: what `pointcoc.load` takes, such as the folder of a run of examples/imagenet.py or modelnet40.py; or a
            model.
        files: one file or several; images as `pointcoc.data.read_image` reads them, clouds as
            `pointcoc.data.read_cloud` does.
        **options: those of `ClassPrediction`: `columns`, `decimal`, `threshold`, `batch_size`.

    Returns:
        Name and confidence for each file, in order.

    Raises:
        FileNotFoundError: if weights or a file are missing.
        ValueError: if the weights are no classifier, or a file cannot be read.
    """
    model = weights if isinstance(weights, nn.Module) else load_for_prediction(weights)
    paths = [files] if isinstance(files, (str, Path)) else list(files)
    return list(ClassPrediction(model=model, **options).classify(paths))
