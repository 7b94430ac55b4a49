"""The moving parts of a run: made, saved, continued, and given back."""

import math
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from accelerate import Accelerator
from timm.scheduler.scheduler import Scheduler
from torch import nn
from torch.utils.data import DataLoader

from pointcoc.models.weights import weights_in
from pointcoc.train import checkpoint
from pointcoc.train.batches import Batches
from pointcoc.train.failures import not_finite
from pointcoc.train.metrics import METRICS, PassScores, Progress, trim_metrics
from pointcoc.train.optimization import make_scheduler, schedule_length
from pointcoc.train.processes import make_accelerator
from pointcoc.train.run_folder import check_same_settings, clear_run, plain_settings
from pointcoc.train.settings import Settings
from pointcoc.train.stopping import Stopped, StopRequest
from pointcoc.train.task import Task, task_of
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
    task: Task
    scores: PassScores
    stop: StopRequest = field(default_factory=StopRequest)
    is_stopping: bool = False
    epoch: int = 0
    update: int = 0
    seconds: float = 0.0
    trained: float = 0.0
    closed: int = -1
    lr: float = 0.0
    best: Rank = (-math.inf, -math.inf)
    best_epoch: int = 0
    bad: dict[int, str] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)
    lapped: float = field(default_factory=time.perf_counter)

    @classmethod
    def build(
        cls,
        model: nn.Module,
        train_loader: DataLoader,
        val_loader: DataLoader | None,
        settings: Settings,
        task: Task | None = None,
    ) -> Self:
        """Put the model on the device and make what trains it."""
        if len(train_loader) == 0:
            raise ValueError(f"train_loader must have at least one batch of {train_loader.batch_size} sets, got none")
        trackers_of(settings.trackers)  # a missing package is said before anything is done
        accelerator = make_accelerator(settings.precision)
        task = task_of(task, model, settings)
        weights = Weights.build(model, settings, accelerator)
        train = batches_of(train_loader, accelerator, settings.seed, settings.accumulate, settings.max_bad)
        if train.is_stream:
            _check_stream_settings(settings)
        return cls(
            settings=settings,
            accelerator=accelerator,
            weights=weights,
            scheduler=make_scheduler(weights.optimizer.optimizer, len(train), settings),
            train=train,
            val=batches_of(val_loader, accelerator, settings.seed) if val_loader is not None else None,
            task=task,
            scores=task.new_scores().to(accelerator.device),
        )

    @property
    def position(self) -> int:
        """Updates of the present epoch that are done."""
        return self.update - self.epoch * len(self.train)

    @property
    def is_main(self) -> bool:
        """Whether this process writes and prints."""
        return self.accelerator.is_main_process

    @property
    def schedule_time(self) -> float:
        """Where the schedule of the learning rate is, in updates: after those that were made, or by the clock."""
        if self.settings.minutes:
            total = schedule_length(len(self.train), self.settings)
            return min(1.0, self.trained / (60 * self.settings.minutes)) * total
        return self.update

    @property
    def is_trained(self) -> bool:
        """Whether the last update was made; where epochs are counted, whether the last epoch was."""
        if self.settings.minutes:
            return self.trained >= 60 * self.settings.minutes
        if self.settings.updates:
            return self.update >= self.settings.updates
        return self.epoch >= self.settings.all_epochs

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do: the last update was made, and its epoch, perhaps a part, was measured."""
        has_ended_within = self.settings.minutes > 0 or self.settings.updates > 0
        return self.is_trained and (not has_ended_within or self.position == 0 or self.closed == self.update)

    @property
    def epochs(self) -> int:
        """Epochs that were measured and kept, the last one perhaps in part."""
        return self.epoch + (self.is_trained and self.closed == self.update)

    def lap(self) -> float:
        """Seconds since this was last asked."""
        now = time.perf_counter()
        seconds, self.lapped = now - self.lapped, now
        return seconds

    def progress(self) -> Progress:
        """The bar of what is left of the run."""
        updates = self.settings.updates or self.settings.all_epochs * len(self.train)
        epochs, updates = (0, 0) if self.settings.minutes else (math.ceil(updates / len(self.train)), updates)
        return Progress(
            epochs, len(self.train), self.update, self.is_main, updates=updates, headline=self.task.headline
        )

    @property
    def left(self) -> float | None:
        """Seconds of training that the clock leaves; None without one."""
        return max(0.0, 60 * self.settings.minutes - self.trained) if self.settings.minutes else None

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
            trim_metrics(self.settings.out / METRICS, self.epochs, self.update)
        self.accelerator.wait_for_everyone()

    @property
    def is_epoch_save_due(self) -> bool:
        """Whether the epoch that has just ended is one whose checkpoint is written."""
        return self.is_done or self.epochs % self.settings.save_epochs == 0

    def next_epoch(self) -> None:
        """Count an epoch and begin its scores anew; one that the run ended within may go on if the run gets longer."""
        if self.is_trained and self.position < len(self.train):
            self.closed = self.update
            return
        self.epoch += 1
        self.scores = self.task.new_scores().to(self.accelerator.device)

    def save(self) -> Path | None:
        """Write the checkpoint of the updates so far; a stream can only continue after a whole epoch.

        Returns:
            The checkpoint to continue from, None if there is none.

        Raises:
            FloatingPointError: if a weight is not finite; then nothing is written.
            OSError: if the disk takes no more.
        """
        if not (self.train.is_stream and self.position):
            model, average = self.weights.whole(), self.weights.whole_average()
            if not are_finite(model):
                raise not_finite(
                    f"weights are not finite after update {self.update} (learning rate {self.lr:.3g})", self.settings
                )
            state = self._state()
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
        _check_same_readers(path, state.get("readers"), self.train.readers)
        _check_same_data(path, state["updates_per_epoch"], len(self.train))
        self.weights.restore(path, state)
        for name in ("epoch", "update", "seconds", "trained", "closed", "lr", "best_epoch"):
            setattr(self, name, state.get(name, getattr(self, name)))  # older runs knew no clock
        self.scheduler.step_update(self.schedule_time)  # type: ignore[arg-type]  # as after an update
        # Epochs after the checkpoint come again: their best is none yet.
        self.best = min(_best_so_far(self.settings.out, self.task.headline), state.get("best", (math.inf, math.inf)))
        self.bad = dict(state["bad"])
        if self.is_main:  # the scores of all processes, once
            self.scores.restore(state["scores"])

    def _state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "update": self.update,
            "updates_per_epoch": len(self.train),
            "seconds": self.count_seconds(),
            "trained": self.trained,
            "closed": self.closed,
            "lr": self.lr,
            "best_epoch": self.best_epoch,
            "best": self.best,
            "readers": self.train.readers,
            "bad": list(self.bad.items()),
            "scores": self.scores.joined(self.accelerator).state_dict(),
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


def rank_of(val: dict[str, float] | None, headline: str) -> Rank:
    """Higher is better: the headline, then the loss, where there is one."""
    if val is None:
        return -math.inf, -math.inf
    return val[headline], -val.get("loss", 0.0)


def _best_so_far(out: Path, headline: str) -> Rank:
    """The rank that the weights of the best epoch themselves report: never that of other weights than those kept."""
    file = weights_in(out)
    return rank_of(None if file is None else checkpoint.read_notes(file)["val"], headline)


def _check_stream_settings(settings: Settings) -> None:
    """What asks a stream to start where it cannot, and what would lose more than one epoch of it at a stop."""
    if settings.save_every:
        raise ValueError(f"save_every must be 0 for a stream, which cannot start within, got {settings.save_every}")
    if settings.save_epochs > 1:
        raise ValueError(
            f"save_epochs must be 1 for a stream, which continues after a whole epoch, got {settings.save_epochs}"
        )


def _check_same_readers(path: Path, found: tuple[int, int] | None, now: tuple[int, int] | None) -> None:
    """A stream is dealt out to its readers, so that others would train on something else."""
    if found != now and found is not None and now is not None:
        raise ValueError(
            f"resume needs, for the run in {path.parent}, the same processes x workers of a stream: {found[0]} x "
            f"{found[1]}, got {now[0]} x {now[1]}"
        )


def _check_same_data(path: Path, found: int, now: int) -> None:
    if found != now:
        raise ValueError(
            f"resume needs the training data of the run in {path.parent}: {found} updates an epoch, got {now}"
        )
