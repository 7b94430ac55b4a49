"""What a run learns: the loss of a part of an update, the scores, and which of them chooses the best epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, ClassVar, Self

import torch
from accelerate import Accelerator
from timm.data import Mixup
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pointcoc.pointset import PointSet
from pointcoc.train.findings import Findings, Panel, Panels, confusion_of, picture_of
from pointcoc.train.labels import check_labels, num_classes_of
from pointcoc.train.metrics import PassScores, Scores
from pointcoc.train.optimization import blend, make_mix
from pointcoc.train.settings import Settings

Pairs = Iterable[tuple[Any, Any]]
TOP = 5
"""Likeliest classes among which the true one counts as found for `top5_accuracy`."""


class Task(ABC):
    """What `fit` and `evaluate` ask of a kind of prediction. Batches are pairs (inputs, targets) of any structure.

    Attributes:
        headline: the score that chooses the best epoch; higher is better, and among equals the lower loss is.
        notes: what is noted with the weights, anything that JSON holds; `classes` are the names of classes.
        findings: where `measure` writes down how each item and each class did; None to do without.
    """

    headline: ClassVar[str]
    notes: Mapping[str, Any] = {}
    findings: Findings | None = None

    @abstractmethod
    def new_scores(self) -> PassScores:
        """Make the scores of a pass over the training part, empty."""

    @abstractmethod
    def loss(self, model: nn.Module, inputs: Any, targets: Any, scores: PassScores) -> Tensor:
        """Compute the loss of one part of an update, and let the scores take it in.

        Args:
            model: the network, in training mode.
            inputs: those of the part, on the device; they stay as they are.
            targets: those of the part, on the device.
            scores: what `new_scores` made.

        Returns:
            The sum over the items of the part, of shape (); a mean over pixels, points or boxes counts once for each.

        Raises:
            ValueError: if a target is not allowed.
        """

    @abstractmethod
    def measure(self, model: nn.Module, batches: Pairs, accelerator: Accelerator) -> dict[str, float]:
        """Measure a model on the batches of all processes.

        Args:
            model: the network, in evaluation mode; no gradient is kept.
            batches: those of this process, on the device.
            accelerator: knows the other processes and the precision.

        Returns:
            Scores by name, the same in all processes; `headline` is among them, and `loss` if there is one.

        Raises:
            ValueError: if a target is not allowed.
        """

    def line(self, scores: Mapping[str, float]) -> str:
        """Say scores from 0 to 1 in one line, in percent."""
        return ", ".join(
            f"{name.replace('_', ' ')} {value:.2%}" for name, value in scores.items() if not name.endswith("loss")
        )


class Classification(Task):
    """One label for each set: logits (B, num_classes), labels (B,).

    Args:
        num_classes: classes of the network.
        mix: mixup and cutmix, from `make_mix`; None for neither.
        label_smoothing: share of the target that is spread over all classes while training, without `mix`.
        class_weights: weight of each class in the loss of training, shape (num_classes,); None for equal ones.
    """

    headline = "accuracy"

    def __init__(
        self,
        num_classes: int,
        mix: Mixup | None = None,
        label_smoothing: float = 0.0,
        class_weights: Tensor | None = None,
    ) -> None:
        self.num_classes = num_classes
        self.mix = mix
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights

    @classmethod
    def of(cls, model: nn.Module, settings: Settings) -> Self:
        """Make the task of a network with `num_classes` that is trained with some settings.

        Args:
            model: the network.
            settings: `mixup`, `cutmix` and `label_smoothing` are read.
        """
        num_classes = num_classes_of(model)
        return cls(num_classes, make_mix(num_classes, settings), settings.label_smoothing)

    def new_scores(self) -> Scores:
        """Make loss and accuracies, empty."""
        return Scores(self.num_classes)

    def loss(self, model: nn.Module, inputs: Any, targets: Any, scores: PassScores) -> Tensor:
        """Cross entropy, sum over sets; see `Task`."""
        assert isinstance(scores, Scores)
        labels = check_labels(targets, self.num_classes)
        # What comes from the loader stays as it is: it is written down if the loss is not finite.
        inputs, targets = blend(self.mix, inputs, labels)
        logits = model(inputs)
        # Blended targets are probabilities, already smoothed.
        smoothing = 0.0 if self.mix else self.label_smoothing
        weights = None if self.class_weights is None else self.class_weights.to(logits)
        loss = cross_entropy(logits, targets, weights, label_smoothing=smoothing, reduction="sum")
        scores.update(loss, logits, labels if self.mix is None else targets.argmax(1))
        return loss

    def measure(self, model: nn.Module, batches: Pairs, accelerator: Accelerator) -> dict[str, float]:
        """Return `loss`, `accuracy` and `mean_class_accuracy`; see `Task`."""
        scores = self.new_scores().to(accelerator.device)
        for inputs, targets in batches:
            labels = check_labels(targets, self.num_classes)
            with accelerator.autocast():
                logits = model(inputs)
            losses = cross_entropy(logits.float(), labels, reduction="none")
            scores.update(losses.sum(), logits, labels)
            if self.findings is not None:
                _find_classes(self.findings, inputs, logits.float(), labels, losses)
        if self.findings is not None:
            self.findings.join(accelerator)
            _count_classes(self.findings, self.num_classes)
        return {**scores.joined(accelerator).compute(), **_top_scores(self.findings, self.num_classes)}

    def line(self, scores: Mapping[str, float]) -> str:
        """Say both accuracies in one line, and that of the top 5 where it is known."""
        top = f", top 5 {scores[f'top{TOP}_accuracy']:.2%}" if f"top{TOP}_accuracy" in scores else ""
        return f"accuracy {scores['accuracy']:.2%} (mean over classes {scores['mean_class_accuracy']:.2%}){top}"


def _find_classes(findings: Findings, inputs: Any, logits: Tensor, labels: Tensor, losses: Tensor) -> None:
    """Write down true and predicted class of each item, its confidence, and whether the true one is among the top 5."""
    best = logits.softmax(1).topk(min(TOP, logits.shape[1]))
    is_among = (best.indices == labels[:, None]).any(1)
    rows = zip(
        labels.tolist(),
        best.indices[:, 0].tolist(),
        best.values[:, 0].tolist(),
        is_among.tolist(),
        losses.tolist(),
        strict=True,
    )
    for row, (true, guess, confidence, in_top, loss) in enumerate(rows):
        badness = loss if true != guess else 0.0  # what is right is never among the worst
        draw = partial(input_panels, inputs, row)
        findings.add(row, badness, draw, true=true, predicted=guess, confidence=confidence, in_top=in_top, loss=loss)


def input_panels(inputs: Any, row: int) -> Panels:
    """Return a picture of one item of a batch.

    Args:
        inputs: images (B, C, H, W), or a `PointSet`; there is no picture of anything else.
        row: number of the item.
    """
    if isinstance(inputs, PointSet):
        first, last = inputs.ptr[row : row + 2].tolist()
        return [Panel(pos=inputs.pos[first:last].cpu())]
    is_image = isinstance(inputs, Tensor) and inputs.ndim == 4
    return [Panel(pixels=picture_of(inputs[row]))] if is_image else []


def _count_classes(findings: Findings, num_classes: int) -> None:
    """Count items by true and predicted class, and the accuracy of each class."""
    pairs = torch.tensor([(one.facts["true"], one.facts["predicted"]) for one in findings.items]).reshape(-1, 2)
    findings.confusion = confusion_of(pairs[:, 0], pairs[:, 1], num_classes)
    hits, counts = findings.confusion.diagonal().double(), findings.confusion.sum(1)
    findings.counts = counts.tolist()
    findings.classes = {
        "accuracy": (hits / counts).tolist(),
        "precision": (hits / findings.confusion.sum(0)).tolist(),
    }


def _top_scores(findings: Findings | None, num_classes: int) -> dict[str, float]:
    """Return the share of items whose class is among the five likeliest, where there are more than five."""
    if findings is None or num_classes <= TOP:
        return {}
    return {f"top{TOP}_accuracy": sum(one.facts["in_top"] for one in findings.items) / len(findings.items)}


def task_of(task: Task | None, model: nn.Module, settings: Settings) -> Task:
    """Return the task of a run: classification with what the settings say of it, if none is given.

    Args:
        task: what `fit` was given.
        model: the network.
        settings: those of the run.

    Raises:
        ValueError: if settings of classification would have no effect.
    """
    if task is None:
        return Classification.of(model, settings)
    if isinstance(task, Classification):
        return task
    for name in ("mixup", "cutmix", "label_smoothing"):
        if getattr(settings, name):
            raise ValueError(f"{name} must be 0 where the task is not classification, got {getattr(settings, name)}")
    return task
