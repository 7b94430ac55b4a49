"""One step of the optimizer: forward and backward of the parts of an update, and what may go wrong in it."""

import math
from contextlib import nullcontext
from pathlib import Path

import torch
from accelerate.utils import gather_object, send_to_device
from torch import Tensor

from pointcoc.files import atomic
from pointcoc.train.failures import BAD_BATCH, not_finite, out_of_memory, save_batch
from pointcoc.train.items import Batch, num_items, source_of
from pointcoc.train.run import Run
from pointcoc.train.run_folder import BAD_ITEMS
from pointcoc.train.seeds import UPDATE, seed_generators


def one_update(run: Run, parts: list[Batch], size: int) -> float:
    """Move the weights once.

    Args:
        run: the run; its counters, scores and `is_stopping` change.
        parts: what this process computes.
        size: items of the update over all processes.

    Returns:
        The loss, mean over the items of all processes.

    Raises:
        FloatingPointError: if it is not finite; the weights have not moved, and the batch was written.
        MemoryError: if the memory does not suffice.
        ValueError: if a label is wrong, or more items than `max_bad` could not be read.
    """
    # All that the update draws follows from its number and that of this process.
    seed_generators(run.settings.seed, UPDATE, run.update, run.accelerator.process_index)
    run.lr = run.weights.optimizer.param_groups[0]["lr"]
    _count_bad(run, parts)
    run.weights.optimizer.zero_grad()
    try:
        losses = [_backward(run, part, size, is_last=part is parts[-1]) for part in parts]
    except (RuntimeError, MemoryError) as error:
        raise out_of_memory(error, run.settings, num_items(parts[0])) or error from error
    loss, signals, seconds = _agree(run, torch.stack(losses).double().sum() / size)
    if not math.isfinite(loss):
        raise _not_finite(run, loss, parts, losses)
    if run.settings.clip_grad:
        run.accelerator.clip_grad_norm_(run.weights.model.parameters(), run.settings.clip_grad)
    run.update += 1
    run.weights.move(run.update)
    run.trained += seconds
    run.scheduler.step_update(run.schedule_time)  # type: ignore[arg-type]  # timm's schedules take parts of an update
    run.is_stopping = signals > 0
    return loss


def _backward(run: Run, part: Batch, size: int, is_last: bool) -> Tensor:
    """Add the gradient of a part; returns the sum of its losses. Processes exchange gradients with the last part."""
    inputs, targets = send_to_device(part.value, run.accelerator.device, non_blocking=True)
    with nullcontext() if is_last else run.accelerator.no_sync(run.weights.model):
        loss = run.task.loss(run.weights.model, inputs, targets, run.scores)
        # The exchange takes the mean over processes; the gradient wanted is that of the mean over all items.
        run.accelerator.backward(loss * (run.accelerator.num_processes / size))
    return loss.detach()


def _agree(run: Run, loss: Tensor) -> tuple[float, float, float]:
    """What all processes know after one exchange, one wait.

    Returns:
        The loss over all processes, how many of them a signal asked to stop, and the seconds that the main process took
        since the update before.
    """
    seconds = run.lap() if run.is_main else 0.0
    said = torch.tensor([float(run.stop.number is not None), seconds], device=loss.device, dtype=loss.dtype)
    total, signals, seconds = run.accelerator.reduce(torch.cat([loss[None], said]), "sum").tolist()
    return total, signals, seconds


def _count_bad(run: Run, parts: list[Batch]) -> None:
    """Note items that could not be read, in all processes alike; too many end the run."""
    found = [(bad.index, bad.sentence) for part in parts for bad in part.bad]
    if run.accelerator.num_processes > 1 and run.settings.max_bad:
        found = gather_object(found)
    new = {index: sentence for index, sentence in found if index not in run.bad}
    if not new:
        return
    run.bad.update(new)
    if run.is_main:
        with atomic(run.settings.out / BAD_ITEMS) as temporary:
            temporary.write_text("".join(f"{sentence}\n" for sentence in run.bad.values()))
    if len(run.bad) > run.settings.max_bad:
        raise ValueError(
            f"{len(run.bad)} training items cannot be read and max_bad is {run.settings.max_bad}: "
            f"{next(reversed(run.bad.values()))}; all are listed in {run.settings.out / BAD_ITEMS}; "
            f"--max-bad {2 * len(run.bad)} would let others stand in for them"
        )


def _not_finite(run: Run, loss: float, parts: list[Batch], losses: list[Tensor]) -> FloatingPointError:
    """Write the part with the loss that is not finite, if it is this process that has it."""
    what = f"the loss is {loss} at update {run.update + 1} (epoch {run.epoch + 1}, learning rate {run.lr:.3g})"
    bad = [part for part, value in zip(parts, losses, strict=True) if not value.isfinite()]
    if not bad:
        return not_finite(f"{what}, in another process", run.settings)
    number = run.accelerator.process_index
    path = run.settings.out / (BAD_BATCH if number == 0 else f"{Path(BAD_BATCH).stem}-{number}.pt")
    sources = [source_of(run.train.loader.dataset, index) for index in bad[0].indices]
    save_batch(path, *bad[0].value, sources=sources, what=what, update=run.update + 1, lr=run.lr)
    return not_finite(what, run.settings, path)
