"""The training loop: `fit` chooses the best epoch on a validation part, `evaluate` measures a network.

Built on accelerate (device, bf16), timm (optimizer, schedule, mixup, moving average) and torchmetrics (accuracies). A
loader yields pairs (input, labels): an image tensor or a `PointSet` of B sets, and integers (B,).
"""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from timm.data import Mixup
from timm.scheduler.scheduler import Scheduler
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from pointcoc.train import checkpoint
from pointcoc.train.labels import check_labels, num_classes_of
from pointcoc.train.metrics import METRICS, MetricsFile, Progress, Scores, trim_metrics
from pointcoc.train.optimization import blend, make_mix, make_optimizer, make_scheduler
from pointcoc.train.run_folder import check_same_settings, clear_run, plain_settings, run_to_resume
from pointcoc.train.settings import Precision, Settings


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """How a training run ended."""

    best_epoch: int
    """The epoch whose weights the model has now, counted from 1."""
    best: dict[str, float] | None
    """Scores of that epoch on the validation part; None without one."""
    epochs: int
    """Epochs trained in all, those before a resume included."""
    seconds: float
    """Time of training and validation in all, those before a resume included."""
    out: Path
    """Folder of metrics.jsonl, best.safetensors and the last checkpoint."""


def fit(model: nn.Module, train_loader: DataLoader, val_loader: DataLoader | None, settings: Settings) -> FitResult:
    """Train a network, keep the weights of its best epoch, and leave the model with them.

    The best epoch has the highest accuracy on `val_loader`, then the lowest loss; without `val_loader` it is the last.
    `settings.out` receives metrics.jsonl, best.safetensors and, after every epoch, a checkpoint that `settings.resume`
    continues from.

    What a resumed run repeats: weights, optimizer, schedule, moving average and all random states are those of the
    last whole epoch, and the epoch that was interrupted starts over. So it ends with the bits of a run that was never
    stopped, on the same device, with the same number of threads and workers, wherever the backward is deterministic. A
    loader that shuffles with a generator of its own, or that keeps its workers between epochs, repeats it up to the
    order of the sets and their augmentation.

    Args:
        model: network from inputs to logits (B, num_classes), with `num_classes`, itself or in its `config`.
        train_loader: the training part, shuffled.
        val_loader: the validation part, or None. Never the test set.
        settings: see `Settings`; `seed` is set here, after the model was built.

    Returns:
        The best epoch with its scores, and where the files are.

    Raises:
        ValueError: if a label lies outside the classes, `out` holds a run and neither `resume` nor `overwrite` is set,
            the run in `out` differs in a setting or config, a checkpoint is truncated, or the loader does not fit
            mixup.
        FileNotFoundError: if there is nothing to resume.
        FloatingPointError: if the loss is not finite; the message holds step and learning rate.
    """
    last = run_to_resume(settings)
    run = _Run.build(model, train_loader, val_loader, settings)
    if settings.overwrite:
        clear_run(settings.out)
    try:
        if last is not None:
            run.restore(last)
        trim_metrics(settings.out / METRICS, run.epoch)
        with MetricsFile(settings.out / METRICS) as metrics, run.progress() as progress:
            while run.epoch < settings.epochs:
                _one_epoch(run, metrics, progress)
    finally:
        run.release()
    best = checkpoint.load_weights(model, settings.out / checkpoint.BEST)
    return FitResult(
        best_epoch=best["epoch"], best=best["val"], epochs=run.epoch, seconds=run.seconds, out=settings.out
    )


def evaluate(model: nn.Module, loader: DataLoader, precision: Precision = "no") -> dict[str, float]:
    """Measure a network on a loader.

    Args:
        model: network from inputs to logits (B, num_classes).
        loader: yields (input, labels).
        precision: "no" (float32) or "bf16".

    Returns:
        `loss` (cross entropy, mean over sets), `accuracy` and `mean_class_accuracy` (0 to 1, classes equally
        weighted).

    Raises:
        ValueError: if a label lies outside the classes, or the loader is empty.
    """
    accelerator = _accelerator(precision)
    return _measure(accelerator, model.to(accelerator.device), accelerator.prepare_data_loader(loader))


def finish(model: nn.Module, test_loader: DataLoader, result: FitResult, settings: Settings) -> dict[str, float]:
    """Read the test set, once, with the weights that `fit` chose; write the scores down and print one line.

    Returns:
        The scores of `evaluate`.
    """
    scores = evaluate(model, test_loader, settings.precision)
    with MetricsFile(result.out / METRICS) as metrics:
        metrics.write("test", result.best_epoch, {**scores, "seconds": result.seconds})
    print(
        f"test accuracy {scores['accuracy']:.2%} (mean over classes {scores['mean_class_accuracy']:.2%}), "
        f"epoch {result.best_epoch} of {result.epochs}, {result.seconds / 60:.1f} minutes, files in {result.out}"
    )
    return scores


@dataclass(kw_only=True)
class _Run:
    """The moving parts of a run, and the counters that a checkpoint holds."""

    settings: Settings
    accelerator: Accelerator
    model: nn.Module
    optimizer: Any
    scheduler: Scheduler
    train_loader: DataLoader
    val_loader: DataLoader | None
    average: ModelEmaV3 | None
    mix: Mixup | None
    num_classes: int
    epoch: int = 0
    update: int = 0
    seconds: float = 0.0
    best: tuple[float, float] = field(default=(-math.inf, -math.inf))

    @classmethod
    def build(
        cls, model: nn.Module, train_loader: DataLoader, val_loader: DataLoader | None, settings: Settings
    ) -> Self:
        """Put the model on the device and make what trains it."""
        if len(train_loader) == 0:
            raise ValueError(f"train_loader must have at least one batch of {train_loader.batch_size} sets, got none")
        set_seed(settings.seed)
        accelerator = _accelerator(settings.precision)
        model.to(accelerator.device)
        num_classes = num_classes_of(model)
        optimizer = make_optimizer(model, settings)
        average = ModelEmaV3(model, decay=settings.ema, use_warmup=True) if settings.ema else None
        return cls(
            settings=settings,
            accelerator=accelerator,
            model=accelerator.prepare_model(model),
            optimizer=accelerator.prepare_optimizer(optimizer),
            scheduler=make_scheduler(optimizer, len(train_loader), settings),
            train_loader=accelerator.prepare_data_loader(train_loader),
            val_loader=accelerator.prepare_data_loader(val_loader) if val_loader is not None else None,
            average=average,
            mix=make_mix(num_classes, settings),
            num_classes=num_classes,
        )

    @property
    def plain_model(self) -> nn.Module:
        """The weights in training, out of accelerate's wrappers."""
        return self.accelerator.unwrap_model(self.model)

    @property
    def average_model(self) -> nn.Module | None:
        """The moving average of the weights, None without one."""
        return None if self.average is None else self.average.module

    @property
    def kept_model(self) -> nn.Module:
        """The weights that are validated and kept: the moving average if there is one."""
        return self.plain_model if self.average_model is None else self.average_model

    def progress(self) -> Progress:
        """The bar of what is left of the run."""
        return Progress(self.settings.epochs, self.epoch, len(self.train_loader))

    def save(self) -> None:
        """Write the checkpoint of the epochs so far."""
        checkpoint.save_checkpoint(
            self.settings.out,
            self.epoch,
            self.plain_model,
            self.average_model,
            {
                "epoch": self.epoch,
                "update": self.update,
                "seconds": self.seconds,
                "optimizer": self.optimizer.state_dict(),
                "random": checkpoint.random_states(),
                "settings": plain_settings(self.settings),
            },
        )

    def restore(self, path: Path) -> None:
        """Continue from a checkpoint; the model is untouched if it does not fit."""
        state = checkpoint.read_state(path)
        check_same_settings(path, state["settings"], plain_settings(self.settings))
        checkpoint.load_checkpoint(path, self.plain_model, self.average_model)
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.update, self.seconds = state["epoch"], state["update"], state["seconds"]
        self.scheduler.step_update(self.update)
        self.best = _best_so_far(self.settings.out)
        checkpoint.restore_random_states(state["random"])

    def release(self) -> None:
        """Give the model back without what accelerate put around its forward for mixed precision."""
        model = self.plain_model
        if "_original_forward" in model.__dict__:
            self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
            del model.forward
        self.accelerator.free_memory()


def _one_epoch(run: _Run, metrics: MetricsFile, progress: Progress) -> None:
    """Train on every set once, validate, keep the weights if they are the best, write the checkpoint."""
    start = time.perf_counter()
    train = _train(run, metrics, progress)
    val = _measure(run.accelerator, run.kept_model, run.val_loader) if run.val_loader is not None else None
    run.seconds += time.perf_counter() - start
    run.epoch += 1
    is_best = _keep_if_best(run, val)
    metrics.write("train", run.epoch, {**train, "seconds": run.seconds})
    if val is not None:
        metrics.write("val", run.epoch, {**val, "is_best": is_best})
    run.save()
    progress.epoch(run.epoch, train, val, is_best)


def _train(run: _Run, metrics: MetricsFile, progress: Progress) -> dict[str, float]:
    """One pass over the training part."""
    start = time.perf_counter()
    scores = Scores(run.num_classes).to(run.accelerator.device)
    num_sets = 0
    run.model.train()
    for inputs, labels in run.train_loader:
        lr = _lr(run)
        loss = _one_update(run, inputs, labels, scores)
        num_sets += len(labels)
        progress.step(run.epoch + 1, len(labels), loss, scores)
        if run.update % run.settings.log_every == 0:
            metrics.write("update", run.epoch + 1, {"update": run.update, "loss": loss, "lr": lr})
    rate = num_sets / (time.perf_counter() - start)
    return {**scores.compute(), "update": run.update, "lr": lr, "sets_per_second": rate}


def _one_update(run: _Run, inputs: Any, labels: Tensor, scores: Scores) -> float:
    """One step of the optimizer; returns the loss."""
    labels = check_labels(labels, run.num_classes)
    inputs, targets = blend(run.mix, inputs, labels)
    logits = run.model(inputs)
    # Blended targets are probabilities, already smoothed.
    smoothing = 0.0 if run.mix else run.settings.label_smoothing
    loss = cross_entropy(logits, targets, label_smoothing=smoothing)
    value = loss.item()
    if not math.isfinite(value):
        raise FloatingPointError(_not_finite(run, value))
    scores.update(loss, logits, labels if run.mix is None else targets.argmax(1))
    run.optimizer.zero_grad()
    run.accelerator.backward(loss)
    if run.settings.clip_grad:
        run.accelerator.clip_grad_norm_(run.model.parameters(), run.settings.clip_grad)
    run.optimizer.step()
    run.update += 1
    run.scheduler.step_update(run.update)
    if run.average is not None:
        run.average.update(run.plain_model, step=run.update)
    return value


@torch.no_grad()
def _measure(accelerator: Accelerator, model: nn.Module, loader: DataLoader) -> dict[str, float]:
    """Scores of a model on a loader; the model is left in the mode it came in."""
    if len(loader) == 0:
        raise ValueError("loader must have at least one batch to measure a network on, got none")
    num_classes = num_classes_of(model)
    scores = Scores(num_classes).to(accelerator.device)
    was_training = model.training
    model.eval()
    for inputs, labels in loader:
        labels = check_labels(labels, num_classes)
        with accelerator.autocast():
            logits = model(inputs)
        scores.update(cross_entropy(logits.float(), labels), logits, labels)
    model.train(was_training)
    return scores.compute()


def _accelerator(precision: Precision) -> Accelerator:
    # accelerate keeps one precision per process; a process may train several networks, each with its own.
    AcceleratorState._reset_state()
    return Accelerator(mixed_precision=precision)


def _keep_if_best(run: _Run, val: dict[str, float] | None) -> bool:
    """Write best.safetensors if this epoch is the best so far, or if nothing is there to choose by."""
    rank = _rank(val)
    if val is not None and rank <= run.best:
        return False
    run.best = rank
    checkpoint.save_weights(run.settings.out / checkpoint.BEST, run.kept_model, epoch=run.epoch, val=val)
    return True


def _rank(val: dict[str, float] | None) -> tuple[float, float]:
    """Higher is better: accuracy, then the loss."""
    if val is None:
        return -math.inf, -math.inf
    return val["accuracy"], -val["loss"]


def _best_so_far(out: Path) -> tuple[float, float]:
    """The rank that best.safetensors itself reports: never that of other weights than those it holds."""
    path = out / checkpoint.BEST
    return _rank(checkpoint.read_weights(path)[1]["val"])


def _lr(run: _Run) -> float:
    return run.optimizer.param_groups[0]["lr"]


def _not_finite(run: _Run, value: float) -> str:
    last = checkpoint.last_checkpoint(run.settings.out)
    kept = f"the last whole epoch is in {last}" if last else "no epoch was finished"
    return (
        f"the loss is {value} at update {run.update + 1} (epoch {run.epoch + 1}, learning rate {_lr(run):.3g}); "
        f"{kept}; a smaller --lr or --clip-grad 1 may help"
    )
