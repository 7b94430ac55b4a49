"""The moving parts of a run: made, saved, continued, and given back."""

import math
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from accelerate import Accelerator
from timm.data import Mixup
from timm.scheduler.scheduler import Scheduler
from torch import nn
from torch.utils.data import DataLoader

from pointcoc.train import checkpoint
from pointcoc.train.batches import Batches
from pointcoc.train.failures import not_finite
from pointcoc.train.labels import num_classes_of
from pointcoc.train.metrics import METRICS, Progress, Scores, trim_metrics
from pointcoc.train.optimization import make_mix, make_scheduler
from pointcoc.train.processes import make_accelerator
from pointcoc.train.report import Report
from pointcoc.train.run_folder import check_same_settings, clear_run, plain_settings
from pointcoc.train.seeds import UPDATE, seed_generators
from pointcoc.train.settings import Settings
from pointcoc.train.stopping import Stopped, StopRequest
from pointcoc.train.trackers import trackers_of
from pointcoc.train.weights import Weights, are_finite

Rank = tuple[float, float]


@dataclass(kw_only=True)
class Run:
    """The moving parts of a run, and the counters that a checkpoint holds."""

    settings: Settings
    accelerator: Accelerator
    weights: Weights
    scheduler: Scheduler
    train: Batches
    val: Batches | None
    mix: Mixup | None
    num_classes: int
    scores: Scores
    stop: StopRequest = field(default_factory=StopRequest)
    is_stopping: bool = False
    epoch: int = 0
    update: int = 0
    seconds: float = 0.0
    lr: float = 0.0
    best: Rank = (-math.inf, -math.inf)
    best_epoch: int = 0
    bad: dict[int, str] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    @classmethod
    def build(
        cls, model: nn.Module, train_loader: DataLoader, val_loader: DataLoader | None, settings: Settings
    ) -> Self:
        """Put the model on the device and make what trains it."""
        _check_loader(train_loader)
        trackers_of(settings.trackers)  # a missing package is said before anything is done
        accelerator = make_accelerator(settings.precision)
        num_classes = num_classes_of(model)
        weights = Weights.build(model, settings, accelerator)
        train = batches_of(train_loader, accelerator, settings.seed, settings.accumulate, settings.max_bad)
        if train.is_stream and settings.save_every:
            raise ValueError(f"save_every must be 0 for a stream, which cannot start within, got {settings.save_every}")
        return cls(
            settings=settings,
            accelerator=accelerator,
            weights=weights,
            scheduler=make_scheduler(weights.optimizer.optimizer, len(train), settings),
            train=train,
            val=batches_of(val_loader, accelerator, settings.seed) if val_loader is not None else None,
            mix=make_mix(num_classes, settings),
            num_classes=num_classes,
            scores=Scores(num_classes).to(accelerator.device),
        )

    @property
    def position(self) -> int:
        """Updates of the present epoch that are done."""
        return self.update - self.epoch * len(self.train)

    @property
    def is_main(self) -> bool:
        """Whether this process writes and prints."""
        return self.accelerator.is_main_process

    def report(self) -> Report:
        """Where the numbers of the run go; those of other processes go nowhere."""
        return Report(self.accelerator, self.settings, replay=True)

    def progress(self) -> Progress:
        """The bar of what is left of the run."""
        return Progress(self.settings.all_epochs, len(self.train), self.update, self.is_main)

    def seed(self) -> None:
        """Make all that the next update draws follow from its number and that of this process."""
        seed_generators(self.settings.seed, UPDATE, self.update, self.accelerator.process_index)

    def count_seconds(self) -> float:
        """Seconds of the run so far, those before a resume included."""
        now = time.perf_counter()
        self.seconds, self.started = self.seconds + now - self.started, now
        return self.seconds

    def clean_folder(self) -> None:
        """Remove from `out` what is no part of the run: with `overwrite` the one before, else what comes later."""
        self.accelerator.wait_for_everyone()
        if self.is_main:
            if self.settings.overwrite:
                clear_run(self.settings.out)
            trim_metrics(self.settings.out / METRICS, self.epoch, self.update)
        self.accelerator.wait_for_everyone()

    @property
    def is_save_due(self) -> bool:
        """Whether `save_every` asks for a checkpoint now."""
        return self.settings.save_every > 0 and self.update % self.settings.save_every == 0

    def next_epoch(self) -> None:
        """Count an epoch and begin its scores anew."""
        self.epoch += 1
        self.scores = Scores(self.num_classes).to(self.accelerator.device)

    def save(self) -> Path | None:
        """Write the checkpoint of the updates so far; a stream can only continue after a whole epoch.

        Returns:
            The checkpoint to continue from, None if there is none.

        Raises:
            FloatingPointError: if a weight is not finite; then nothing is written.
            OSError: if the disk takes no more.
        """
        scores = self.scores.joined(self.accelerator).state_dict()
        self.count_seconds()
        if not (self.train.is_stream and self.position):
            model, average = self.weights.whole(), self.weights.whole_average()
            if not are_finite(model):
                what = f"weights are not finite after update {self.update} (learning rate {self.lr:.3g})"
                raise not_finite(what, self.settings)
            state = self._state(scores)
            name = checkpoint.checkpoint_name(self.epoch, self.update, is_whole_epoch=self.position == 0)
            if self.is_main:
                checkpoint.save_checkpoint(self.settings.out, name, model, average, state, self.settings.keep)
        self.accelerator.wait_for_everyone()
        return checkpoint.last_checkpoint(self.settings.out)

    def stop_if_asked(self) -> None:
        """End with a checkpoint if a signal came; many processes agree on that only after an update.

        Raises:
            Stopped: if a signal came.
        """
        if self.is_stopping or (self.stop.number is not None and self.accelerator.num_processes == 1):
            raise Stopped(self.stop.number or signal.SIGTERM, self.save())

    def restore(self, path: Path) -> None:
        """Continue from a checkpoint; the model is untouched if it does not fit."""
        state = checkpoint.read_state(path)
        check_same_settings(path, state["settings"], plain_settings(self.settings))
        _check_same_data(path, state["updates_per_epoch"], len(self.train))
        self.weights.restore(path, state)
        for name in ("epoch", "update", "seconds", "lr", "best_epoch"):
            setattr(self, name, state[name])
        self.scheduler.step_update(self.update)
        self.best = _best_so_far(self.settings.out)
        self.bad = dict(state["bad"])
        if self.is_main:  # the scores of all processes, once
            self.scores.restore(state["scores"])

    def _state(self, scores: dict[str, Any]) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "update": self.update,
            "updates_per_epoch": len(self.train),
            "seconds": self.seconds,
            "lr": self.lr,
            "best_epoch": self.best_epoch,
            "bad": list(self.bad.items()),
            "scores": scores,
            "settings": plain_settings(self.settings),
            **self.weights.state(),
        }


def batches_of(
    loader: DataLoader, accelerator: Accelerator, seed: int = 0, accumulate: int = 1, max_bad: int = 0
) -> Batches:
    """The batches of a loader that belong to this process."""
    return Batches(
        loader,
        seed=seed,
        processes=accelerator.num_processes,
        process=accelerator.process_index,
        accumulate=accumulate,
        max_bad=max_bad,
    )


def rank_of(val: dict[str, float] | None) -> Rank:
    """Higher is better: accuracy, then the loss."""
    if val is None:
        return -math.inf, -math.inf
    return val["accuracy"], -val["loss"]


def _best_so_far(out: Path) -> Rank:
    """The rank that best.safetensors itself reports: never that of other weights than those it holds."""
    path = out / checkpoint.BEST
    return rank_of(checkpoint.read_weights(path)[1]["val"]) if path.exists() else rank_of(None)


def _check_loader(loader: DataLoader) -> None:
    if len(loader) == 0:
        raise ValueError(f"train_loader must have at least one batch of {loader.batch_size} sets, got none")


def _check_same_data(path: Path, found: int, now: int) -> None:
    if found != now:
        raise ValueError(
            f"resume needs the training data of the run in {path.parent}: {found} updates an epoch, got {now}"
        )
