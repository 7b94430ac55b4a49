"""What a run reports: scores of a pass, metrics.jsonl line by line, and the progress on the terminal."""

import copy
import json
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TextIO

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torchmetrics.aggregation import SumMetric
from torchmetrics.classification import MulticlassAccuracy
from tqdm import tqdm

from pointcoc.files import atomic

if sys.platform != "win32":
    import resource

METRICS = "metrics.jsonl"
BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}"
BAR_OF_THE_CLOCK = "{desc} {elapsed}{postfix}"


class PassScores(nn.Module):
    """Loss of one pass over a loader. Others add metrics of torchmetrics and buffers, all of them sums."""

    def __init__(self) -> None:
        super().__init__()
        # Two sums, for MeanMetric drops its weights where it is told to let NaN pass (torchmetrics 1.9).
        self.loss = SumMetric(nan_strategy="disable", sync_on_compute=False)
        self.num_sets = SumMetric(nan_strategy="disable", sync_on_compute=False)
        self.keep()

    def keep(self) -> None:
        """Make the metrics part of the state dict: an interrupted pass goes on with them."""
        for metric in self.children():
            metric.persistent(True)  # type: ignore[operator]  # all are metrics

    @torch.no_grad()
    def take(self, loss: Tensor, num_sets: int) -> None:
        """Take in the sum of the losses of some items, (), and their number."""
        self.loss.update(loss.detach())
        self.num_sets.update(num_sets)

    def joined(self, accelerator: Accelerator) -> Self:
        """The scores of all processes together, on each of them; without others a copy."""
        everything = copy.deepcopy(self)
        for metric in everything.children():
            metric.reset()  # type: ignore[operator]  # what was computed before is forgotten
        everything.restore(
            {name: accelerator.reduce(value.clone(), "sum") for name, value in self.state_dict().items()}
        )
        return everything

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from the state dict of other scores."""
        self.load_state_dict(state)
        for metric in self.children():
            metric._update_count = 1  # type: ignore[assignment]  # else it warns that it has seen nothing

    def compute(self) -> dict[str, float]:
        """`loss`, mean over sets."""
        return {"loss": float(self.loss.compute() / self.num_sets.compute())}


class Scores(PassScores):
    """Loss and accuracies of one pass over a loader.

    Args:
        num_classes: number of classes.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        # The labels were checked once, where the batch came in. Processes are joined by `joined`, when all are there.
        options: dict[str, Any] = {"validate_args": False, "sync_on_compute": False}
        self.accuracy = MulticlassAccuracy(num_classes, average="micro", **options)
        self.mean_class_accuracy = MulticlassAccuracy(num_classes, average="macro", **options)
        self.keep()

    @torch.no_grad()
    def update(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Take in one batch: the sum of its losses (), logits (B, num_classes) and labels (B,)."""
        self.take(loss, len(labels))
        choice = logits.argmax(1)
        self.accuracy.update(choice, labels)
        self.mean_class_accuracy.update(choice, labels)

    def compute(self) -> dict[str, float]:
        """`loss` (mean over sets), `accuracy` and `mean_class_accuracy` (0 to 1)."""
        return {
            **super().compute(),
            "accuracy": float(self.accuracy.compute()),
            "mean_class_accuracy": float(self.mean_class_accuracy.compute()),
        }


def peak_memory(device: torch.device) -> float:
    """Most bytes that were in use so far: torch's on a GPU, else those of the process; NaN where nobody counts them."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return math.nan
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def append_metrics(file: TextIO, split: str, epoch: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """Append one line to metrics.jsonl, one JSON object, and flush it: it is on disk as soon as it is known.

    Args:
        file: metrics.jsonl, opened to append.
        split: "update", "train", "val" or "test".
        epoch: counted from 1.
        values: numbers by name; one that is not finite becomes null.

    Returns:
        The line: `split`, `epoch`, the values, and `time`, the seconds since 1970 at which it was written.
    """
    plain = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }
    record = {"split": split, "epoch": epoch, **plain, "time": round(time.time(), 3)}
    file.write(json.dumps(record, allow_nan=False) + "\n")
    file.flush()
    return record


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl; none where there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def trim_metrics(path: Path, epochs: int, updates: int) -> None:
    """Drop the lines of what comes later and of the test set, so that a resumed run does not report anything twice.

    Args:
        path: a metrics.jsonl, or a name where there is none.
        epochs: number of whole epochs to keep.
        updates: number of updates to keep, those of an epoch begun included.
    """
    if path.exists():
        kept = [line for line in path.read_text().splitlines() if _is_kept(line, epochs, updates)]
        with atomic(path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in kept))


class Progress:
    """A bar with loss, headline, rate and time left on a terminal, and one plain line an epoch everywhere.

    Args:
        epochs: epochs of the whole run; 0 if the clock ends it.
        updates_per_epoch: updates of one training pass.
        first_update: updates already behind it.
        is_shown: whether this process shows it.
        updates: updates of the whole run, if they are not those of all epochs.
        headline: score from 0 to 1 that stands beside the loss, where a pass has it.
    """

    def __init__(
        self,
        epochs: int,
        updates_per_epoch: int,
        first_update: int = 0,
        is_shown: bool = True,
        *,
        updates: int | None = None,
        headline: str = "accuracy",
    ) -> None:
        self._epochs = epochs
        self._of = f"/{epochs}" if epochs else ""
        self._headline = headline
        self._updates = epochs * updates_per_epoch if updates is None else updates
        self._first_update = self._update = first_update
        self._start = time.perf_counter()
        self._num_sets = 0
        self._is_shown = is_shown
        self._bar = tqdm(
            total=self._updates or None,
            initial=first_update,
            bar_format=BAR if self._updates else BAR_OF_THE_CLOCK,
            dynamic_ncols=True,
            disable=None if is_shown else True,
        )

    def step(self, epoch: int, num_sets: int, loss: float, scores: PassScores) -> None:
        """Advance the bar by one update."""
        self._num_sets += num_sets
        self._update += 1
        if self._bar.disable:
            return
        rate = self._num_sets / (time.perf_counter() - self._start)
        named = [f"loss {loss:.3f}", self._said(scores.compute(), ", ", self._headline), f"{rate:,.0f} sets/s"]
        self._bar.set_description_str(f"epoch {epoch}{self._of}", refresh=False)
        self._bar.set_postfix_str(", ".join(part for part in named if part), refresh=False)
        self._bar.update()

    def epoch(
        self,
        epoch: int,
        train: Mapping[str, float],
        val: Mapping[str, float] | None,
        is_best: bool,
        left: float | None = None,
    ) -> None:
        """Print the line of an epoch; `left` are the seconds of training left, where the clock ends the run."""
        if left is None:
            elapsed = time.perf_counter() - self._start
            left = elapsed / max(1, self._update - self._first_update) * (self._updates - self._update)
        parts = [
            f"epoch {epoch:{len(str(self._epochs))}d}{self._of}",
            f"train {self._said(train, ' ', 'loss', self._headline)}",
            f"val {self._said(val, ' ', 'loss', self._headline)}{' (best)' if is_best else ''}" if val else "",
            f"{train['sets_per_second']:,.0f} sets/s",
            f"{tqdm.format_interval(left)} left",
        ]
        self.say(", ".join(part for part in parts if part))

    @staticmethod
    def _said(scores: Mapping[str, float], between: str, *names: str) -> str:
        """Scores that there are, the loss as it is and others in percent."""
        said = {
            name: f"{scores[name]:.3f}" if name == "loss" else f"{scores[name]:.1%}" for name in names if name in scores
        }
        return between.join(f"{name.replace('_', ' ')} {value}" for name, value in said.items())

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        if self._is_shown:
            tqdm.write(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def _is_kept(line: str, epochs: int, updates: int) -> bool:
    try:
        record = json.loads(line)
    except json.JSONDecodeError:  # a kill cut it short
        return False
    if record["split"] == "update":
        return record["update"] <= updates
    return not record["split"].startswith("test") and record["epoch"] <= epochs
