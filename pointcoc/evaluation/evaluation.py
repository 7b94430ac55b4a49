"""From weights and labeled data to scores of the whole, of each class, and of each item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from pointcoc.evaluation.sources import open_labeled
from pointcoc.models.weights import load
from pointcoc.outputs import OutFolder
from pointcoc.train.evaluation import names_of, write_evaluation
from pointcoc.train.findings import Findings
from pointcoc.train.loop import evaluate


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation:
    """What weights are worth on labeled data.

    Args:
        scores: of all data, by name, from 0 to 1 (the loss: 0 or more).
        findings: scores of each class, confusions, and how each item did.
        names: names of the classes by their numbers.
        line: the scores in one sentence.
        dataset: the data.
        about: weights, data and split, for evaluation.json.
    """

    scores: Mapping[str, float]
    findings: Findings
    names: Mapping[int, str]
    line: str
    dataset: Any
    about: Mapping[str, Any]

    @property
    def classes(self) -> dict[str, dict[str, float]]:
        """Scores of each class, by its name and by the name of the score; `count` is the number of what it has."""
        columns = {**({} if self.findings.counts is None else {"count": self.findings.counts}), **self.findings.classes}
        rows = zip(*columns.values(), strict=True)
        return {self.class_name(number): dict(zip(columns, row, strict=True)) for number, row in enumerate(rows)}

    @property
    def confused(self) -> list[tuple[str, str, int]]:
        """Return the most frequent confusions as true class, predicted class, and how many items, pixels or points."""
        return [
            (self.names.get(true, str(true)), self.names.get(guess, str(guess)), count)
            for true, guess, count in self.findings.confused(10)
        ]

    def class_name(self, number: int) -> str:
        """Return the name of a row of `classes`."""
        if self.findings.names is not None:
            return self.findings.names[number]
        return self.names.get(number, str(number))

    def write(self, out: str | Path | OutFolder, overwrite: bool = False) -> list[str]:
        """Write evaluation.json, tables and pictures, see `pointcoc.train.evaluation.write_evaluation`.

        Args:
            out: folder to write; made if it is not there.
            overwrite: whether files may be replaced that no earlier call wrote.

        Returns:
            Names of the files that were written.
        """
        folder = out if isinstance(out, OutFolder) else OutFolder(out, overwrite)
        return write_evaluation(folder, self.findings, self.dataset, self.scores, self.names, self.about)


def evaluate_weights(
    weights: str | Path | nn.Module, data: str | Path, progress: bool = False, **options: Any
) -> Evaluation:
    """Measure weights on labeled data.

    Classes of the data are matched with those of the weights by name where both have names.

    Args:
        weights: what `pointcoc.load` takes, or a model.
        data: folder of the data in a layout that the training of this kind of model reads.
        progress: show a bar where people watch.
        **options: those of the kind of model, see `OPTIONS`; None stands for the default.

    Raises:
        FileNotFoundError: if weights or data are missing.
        ValueError: if weights and data do not fit, an item cannot be read, or an option does not belong to the kind of
            model.
    """
    model = (weights if isinstance(weights, nn.Module) else load(weights)).float().eval()
    found = open_labeled(model, data, **options)
    findings = Findings()
    from tqdm import tqdm  # optional

    with tqdm(total=_length(found.loader), unit="batch", disable=None if progress else True) as bar:
        scores = evaluate(model, found.loader, task=found.task, findings=findings, between=bar.update)
    return Evaluation(
        scores=scores,
        findings=findings,
        names=names_of(found.task, model),
        line=found.task.line(scores),
        dataset=found.loader.dataset,
        about={
            "weights": "a model" if isinstance(weights, nn.Module) else str(weights),
            "data": str(data),
            "options": {name: value for name, value in options.items() if value is not None},
        },
    )


def _length(loader: Any) -> int | None:
    """Return the batches of a loader; None for a stream, which only knows how many there are at most."""
    return None if hasattr(loader.dataset, "__iter__") else len(loader)
