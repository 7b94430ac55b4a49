"""Files of an evaluation: scores, scores of each class, confusions, and the worst items, as tables and pictures."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from pointcoc.models.weights import WeightsInfo
from pointcoc.outputs import OutFolder
from pointcoc.train.findings import Findings, ItemFinding
from pointcoc.train.items import source_of
from pointcoc.train.pages import confused_page, draw_confusion, worst_page
from pointcoc.train.task import Task

EVALUATION = "evaluation"
"""Folder of a run that holds the evaluation of its test set."""
FILES = (
    "evaluation.json",
    "classes.csv",
    "confusion.csv",
    "confusion.png",
    "confused.csv",
    "confused.png",
    "worst.csv",
    "worst.png",
)
"""All files that an evaluation may have."""
MOST_WORST = 100
MOST_PAIRS = 50


def names_of(task: Task, model: nn.Module) -> dict[int, str]:
    """Return the names of the classes that the task or the weights of the model note; empty where neither does."""
    noted = task.notes.get("classes")
    info = getattr(model, "weights_info", WeightsInfo()) if noted is None else WeightsInfo(class_names=noted)
    return dict(info.class_names or {})


def write_evaluation(
    out: OutFolder,
    findings: Findings,
    dataset: Any,
    scores: Mapping[str, float],
    names: Mapping[int, str],
    about: Mapping[str, Any] | None = None,
) -> list[str]:
    """Write what a measure found out.

    evaluation.json holds scores, scores of each class, the most frequent confusions and the worst items; classes.csv,
    confusion.csv, confused.csv and worst.csv are its tables. confusion.png shows the confusion matrix, worst.png the
    twelve worst items, and confused.png items of the most frequent confusions. What a task does not know is left out.

    Args:
        out: the folder.
        findings: filled by `pointcoc.train.evaluate`.
        dataset: data set of the loader that was measured; it names the files of the items.
        scores: what `evaluate` returned.
        names: names of the classes by their numbers; those without are shown as numbers.
        about: what is to be noted besides in evaluation.json: weights, data and the like.

    Returns:
        Names of the files that were written.
    """
    report = _Report(out, findings, dataset, names)
    report.write_json(scores, about or {})
    report.write_tables()
    report.write_pictures()
    return report.written


class _Report:
    """The files of one evaluation."""

    def __init__(self, out: OutFolder, findings: Findings, dataset: Any, names: Mapping[int, str]) -> None:
        self.out, self.findings, self.dataset = out, findings, dataset
        self.written: list[str] = []
        num_rows = max(map(len, findings.classes.values()), default=0)
        self.names = findings.names or [names.get(number, str(number)) for number in range(num_rows)]
        num_sides = 0 if findings.confusion is None else len(findings.confusion)
        self.sides = [names.get(number, str(number)) for number in range(num_sides)]
        self.worst = findings.worst(MOST_WORST)
        self.pairs = [
            {"true": self.sides[true], "predicted": self.sides[guess], "count": count}
            for true, guess, count in findings.confused(MOST_PAIRS)
        ]

    def write_json(self, scores: Mapping[str, float], about: Mapping[str, Any]) -> None:
        content = {
            **about,
            "scores": dict(scores),
            "items": len(self.findings.items),
            "classes": [dict(zip(self.class_header(), row, strict=True)) for row in self.class_rows()],
            "confused": self.pairs,
            "worst": [self.described(one) for one in self.worst],
        }
        with self.file("evaluation.json") as path:
            path.write_text(json.dumps(_plain(content), indent=1, allow_nan=False) + "\n", encoding="utf-8")

    def write_tables(self) -> None:
        if self.findings.classes:
            self.table("classes.csv", self.class_header(), self.class_rows())
        if self.findings.confusion is not None:
            rows = zip(self.sides, self.findings.confusion.tolist(), strict=True)
            self.table("confusion.csv", ["true \\ predicted", *self.sides], [[name, *row] for name, row in rows])
            self.table("confused.csv", ["true", "predicted", "count"], [list(one.values()) for one in self.pairs])
        if self.findings.items:
            described = [self.described(one) for one in self.worst]
            header = list(dict.fromkeys(name for one in described for name in one)) or ["index", "source"]
            self.table("worst.csv", header, [[one.get(name) for name in header] for one in described])

    def write_pictures(self) -> None:
        confusion = self.findings.confusion
        if confusion is not None and len(confusion) > 1:
            self.picture("confusion.png", draw_confusion(confusion, self.sides))
        if (page := worst_page(self.findings, self.dataset, self.sides)) is not None:
            self.picture("worst.png", page)
        if (page := confused_page(self.findings, self.dataset, self.sides)) is not None:
            self.picture("confused.png", page)

    def class_header(self) -> list[str]:
        counts = [] if self.findings.counts is None else ["count"]
        return ["name", *counts, *self.findings.classes]

    def class_rows(self) -> list[list[Any]]:
        counts = [] if self.findings.counts is None else [self.findings.counts]
        return [list(row) for row in zip(self.names, *counts, *self.findings.classes.values(), strict=True)]

    def described(self, one: ItemFinding) -> dict[str, Any]:
        facts = {
            name: self.sides[value] if name in ("true", "predicted") else value for name, value in one.facts.items()
        }
        return {"index": one.index, "source": source_of(self.dataset, one.index), **facts}

    def table(self, name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        with self.file(name) as path, path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows(["" if _is_nan(value) else value for value in row] for row in rows)

    def picture(self, name: str, figure: Any) -> None:
        with self.file(name) as path:
            figure.savefig(path, dpi=120)

    def file(self, name: str) -> Any:
        self.written.append(name)
        return self.out.file(name)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _plain(value: Any) -> Any:
    """Return a value as JSON holds it: what is no number becomes null."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value
