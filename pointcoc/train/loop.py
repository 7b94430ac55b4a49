"""The training loop: `fit` chooses the best epoch on a validation part, `evaluate` measures a network.

Built on accelerate (device, mixed precision), timm (optimizer, schedule, mixup, moving average) and torchmetrics
(accuracies). A loader yields pairs (inputs, targets); what is learned from them says a `Task`, by default
classification: an image tensor or a `PointSet` of B sets, and integers (B,).
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import nn
from torch.utils.data import DataLoader

from pointcoc.outputs import OutFolder
from pointcoc.train import checkpoint
from pointcoc.train.batches import Batches
from pointcoc.train.curves import save_curves
from pointcoc.train.evaluation import EVALUATION, names_of, write_evaluation
from pointcoc.train.findings import Findings
from pointcoc.train.items import num_items
from pointcoc.train.labels import num_classes_of
from pointcoc.train.metrics import Progress, peak_memory
from pointcoc.train.processes import is_main_process, make_accelerator, say
from pointcoc.train.report import Report
from pointcoc.train.run import Run, batches_of, rank_of
from pointcoc.train.run_folder import run_to_resume
from pointcoc.train.settings import Precision, Settings
from pointcoc.train.task import Classification, Task
from pointcoc.train.update import one_update

OnEpoch = Callable[[Any, int], None]


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """How a training run ended."""

    best_epoch: int
    """The epoch whose weights the model has now, counted from 1."""
    best: dict[str, float] | None
    """Scores of that epoch on the validation part; None without one."""
    epochs: int
    """Epochs trained in all, those before a resume included."""
    updates: int
    """Updates in all, those before a resume included."""
    seconds: float
    """Time of training and validation in all, those before a resume included."""
    out: Path
    """Folder of metrics.jsonl, the folder `best` and the last checkpoint."""


def fit(
    model: nn.Module,
    train_loader: DataLoader,
    val_loader: DataLoader | None,
    settings: Settings,
    on_epoch: OnEpoch | None = None,
    task: Task | None = None,
) -> FitResult:
    """Train a network, keep the weights of its best epoch, and leave the model with them.

    The best epoch has the highest accuracy (of another task: its `headline`) on `val_loader`, then the lowest loss;
    without `val_loader` it is the last.
    `settings.out` receives metrics.jsonl, the model of the best epoch in the folder `best`, a picture of the curves
    and, after every `settings.save_epochs` epochs and every `settings.save_every` updates, a checkpoint that
    `settings.resume` continues from.

    A run that was killed and is resumed, at the start of an epoch or within, ends with the bits of a run that was never
    stopped: on the same device, with the same number of threads and processes, wherever the backward is deterministic;
    the number of workers does not matter. For that the order of an epoch, the augmentation of an item and what the
    network draws follow from the seed and from counters, see `pointcoc.train.seeds`. A loader of a stream resumes at
    the start of an epoch, and its order is its own.

    Ctrl-C and SIGTERM end the run after the update that is being computed, with a checkpoint.

    Under `accelerate launch` or `torchrun` every process calls this; each computes its share of every update.

    Args:
        model: network from inputs to logits (B, num_classes), with `num_classes`, itself or in its `config`; that of
            another task is what the task says.
        train_loader: the training part, shuffled.
        val_loader: the validation part, or None. Never the test set.
        settings: see `Settings`; `seed` is set here, after the model was built.
        on_epoch: called after each epoch, and its checkpoint if it has one, with the weights that are validated and
            kept, in evaluation mode, and the number of the epoch, 1 first; on the main process alone.
            `pointcoc.viz.EpochMaps` is one.
        task: what is learned; classification if it is not given.

    Returns:
        The best epoch with its scores, and where the files are.

    Raises:
        ValueError: if a label lies outside the classes, a setting has no effect on the task, `out` holds a run and
            neither `resume` nor `overwrite` is set, the run in `out` differs in a setting or config, a checkpoint is
            truncated, the loader does not fit mixup, or items beyond `max_bad` cannot be read.
        FileNotFoundError: if there is nothing to resume.
        FloatingPointError: if the loss is not finite; the message holds update and learning rate, the file that the
            batch was written to, and the last good checkpoint.
        MemoryError: if the memory does not suffice; the message holds the settings that help.
        OSError: if a checkpoint cannot be written; the one before is whole.
        Stopped: a `KeyboardInterrupt`, if Ctrl-C or SIGTERM came; it names the checkpoint.
    """
    last = run_to_resume(settings)
    run = Run.build(model, train_loader, val_loader, settings, task)
    try:
        if last is not None:
            run.restore(last)
        run.clean_folder()
        with run.stop, Report(run.accelerator, settings, replay=True) as report, run.progress() as progress:
            while not run.is_done:
                _one_epoch(run, report, progress, on_epoch)
        if run.val is None and run.best_epoch != run.epochs:  # a run that was stopped, and is now asked for no more
            _keep(run, run.weights.kept(), None)
        run.accelerator.wait_for_everyone()
        if run.is_main:
            save_curves(settings.out, run.task.headline)
    finally:
        run.weights.release(settings)
    best = checkpoint.load_weights(model, settings.out)
    return FitResult(
        best_epoch=best["epoch"],
        best=best["val"],
        epochs=run.epochs,
        updates=run.update,
        seconds=run.seconds,
        out=settings.out,
    )


def evaluate(
    model: nn.Module,
    loader: DataLoader,
    precision: Precision = "no",
    task: Task | None = None,
    findings: Findings | None = None,
    between: Callable[[], Any] | None = None,
) -> dict[str, float]:
    """Measure a network on a loader.

    Args:
        model: network from inputs to logits (B, num_classes).
        loader: yields (input, labels).
        precision: "no" (float32), "bf16", or on a GPU "fp16".
        task: what is measured; classification if it is not given. Model, loader and scores are as the task says.
        findings: takes in how each item and each class did; new ones for each call.
        between: called after each batch.

    Returns:
        `loss` (cross entropy, mean over sets), `accuracy` and `mean_class_accuracy` (0 to 1, classes equally
        weighted); with findings and more than five classes, `top5_accuracy` too.

    Raises:
        ValueError: if a label lies outside the classes, the loader is empty, or the device cannot do the precision.
    """
    accelerator = make_accelerator(precision)
    task = Classification(num_classes_of(model)) if task is None else task
    task.findings = findings
    try:
        return _measure(task, accelerator, model.to(accelerator.device), batches_of(loader, accelerator), between)
    finally:
        task.findings = None


def finish(
    model: nn.Module, test_loader: DataLoader, result: FitResult, settings: Settings, task: Task | None = None
) -> dict[str, float]:
    """Read the test set, once, with the weights that `fit` chose; write the scores down and print one line.

    The folder `evaluation` of the run receives what `write_evaluation` writes.

    Returns:
        The scores of `evaluate`.
    """
    task = Classification(num_classes_of(model)) if task is None else task
    findings = Findings()
    scores = evaluate(model, test_loader, settings.precision, task, findings)
    report_test("test", scores, result, settings)
    if is_main_process():
        out = OutFolder(result.out / EVALUATION, overwrite=True)
        write_evaluation(out, findings, test_loader.dataset, scores, names_of(task, model))
    say(
        f"test {task.line(scores)}, epoch {result.best_epoch} of {result.epochs}, {result.seconds / 60:.1f} minutes, "
        f"files in {result.out}"
    )
    return scores


def report_test(split: str, scores: Mapping[str, float], result: FitResult, settings: Settings) -> None:
    """Write scores of the test set to metrics.jsonl and to the trackers, once whatever the number of processes.

    Args:
        split: "test", or a name that begins with it.
        scores: numbers by name.
        result: the run whose weights were measured.
        settings: `out` and `trackers` are read.
    """
    with Report(make_accelerator(settings.precision), settings) as report:
        report.write(split, result.best_epoch, {"update": result.updates, **scores, "seconds": result.seconds})


def _one_epoch(run: Run, report: Report, progress: Progress, on_epoch: OnEpoch | None) -> None:
    """Train on what is left of the epoch, validate, keep the weights if they are the best, write the checkpoint."""
    train = _train(run, report, progress)
    kept = run.weights.kept()
    val = _measure(run.task, run.accelerator, kept, run.val, run.stop_if_asked) if run.val is not None else None
    run.next_epoch()
    is_best = _keep_if_best(run, kept, val)
    report.write("train", run.epochs, {**train, "seconds": run.count_seconds()})
    if val is not None:
        report.write("val", run.epochs, {"update": run.update, **val, "is_best": is_best})
    if run.is_epoch_save_due:
        run.save()
    progress.epoch(run.epochs, train, val, is_best, run.left)
    if on_epoch is not None and run.is_main:
        with _evaluated(kept) as model:
            on_epoch(model, run.epochs)
    run.stop_if_asked()


@contextmanager
def _evaluated(model: nn.Module) -> Iterator[nn.Module]:
    """Lend a model in evaluation mode; it is left in the mode it came in."""
    was_training = model.training
    yield model.eval()
    model.train(was_training)


def _train(run: Run, report: Report, progress: Progress) -> dict[str, float]:
    """One pass over the training part, or what is left of it."""
    start = time.perf_counter()
    data_seconds, num_sets = 0.0, 0
    run.weights.model.train()
    updates = run.train.updates(run.epoch, run.position)
    run.lap()
    while not run.is_trained:
        waiting = time.perf_counter()
        parts, size = next(updates, (None, 0))
        data_seconds += time.perf_counter() - waiting
        if parts is None:
            break
        known_bad = len(run.bad)
        loss = one_update(run, parts, size)
        num_sets += size
        _report(run, loss, size, known_bad, report, progress)
        if run.settings.save_every > 0 and run.update % run.settings.save_every == 0:
            run.save()
        run.stop_if_asked()
    seconds = time.perf_counter() - start
    return {
        **run.scores.joined(run.accelerator).compute(),
        "update": run.update,
        "lr": run.lr,
        "sets_per_second": num_sets / seconds,
        "data_share": data_seconds / seconds,
        "peak_memory": peak_memory(run.accelerator.device),
    }


def _report(run: Run, loss: float, size: int, known_bad: int, report: Report, progress: Progress) -> None:
    progress.step(run.epoch + 1, size, loss, run.scores)
    for sentence in list(run.bad.values())[known_bad:]:
        progress.say(f"left out, unreadable: {sentence}")
    if run.update % run.settings.log_every == 0:
        report.write("update", run.epoch + 1, {"update": run.update, "loss": loss, "lr": run.lr})


@torch.no_grad()
def _measure(
    task: Task,
    accelerator: Accelerator,
    model: nn.Module,
    batches: Batches,
    between: Callable[[], Any] | None = None,
) -> dict[str, float]:
    """Scores of a model on the batches of all processes; the model is left in the mode it came in."""
    if len(batches) == 0:
        raise ValueError("loader must have at least one batch to measure a network on, got none")
    with _evaluated(model):
        return task.measure(model, _on_device(batches, accelerator, between, task.findings), accelerator)


def _on_device(
    batches: Batches,
    accelerator: Accelerator,
    between: Callable[[], Any] | None,
    findings: Findings | None = None,
) -> Iterator[tuple[Any, Any]]:
    """Yield the batches of this process on its device; `between` is called after each, findings are told the items."""
    for batch in batches.mine():
        if batch.bad:  # a score must not leave out what is hard to read
            raise ValueError(f"an item cannot be read, and a network is measured on all: {batch.bad[0].sentence}")
        if findings is not None:
            findings.begin(batch.indices, num_items(batch))
        yield send_to_device(batch.value, accelerator.device, non_blocking=True)
        if between is not None:
            between()


def _keep_if_best(run: Run, kept: nn.Module, val: dict[str, float] | None) -> bool:
    """Write the folder `best` if this epoch is the best so far, or with each checkpoint if nothing tells the best."""
    # Not `>`: a score that is no number is kept, so that there are weights to end with.
    is_best = run.is_epoch_save_due if val is None else not rank_of(val, run.task.headline) <= run.best
    if is_best:
        _keep(run, kept, val)
    return is_best


def _keep(run: Run, kept: nn.Module, val: dict[str, float] | None) -> None:
    run.best, run.best_epoch = rank_of(val, run.task.headline), run.epochs
    if run.is_main:
        checkpoint.save_best(run.settings.out, kept, {**run.task.notes, "epoch": run.epochs, "val": val})
