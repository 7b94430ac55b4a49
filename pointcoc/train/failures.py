"""What ends a run before its time, said so that the next step is clear."""

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch

from pointcoc.files import atomic
from pointcoc.train import checkpoint
from pointcoc.train.settings import Settings

BAD_BATCH = "bad-batch.pt"


def not_finite(what: str, settings: Settings, batch: Path | None = None) -> FloatingPointError:
    """Make the error for numbers that are not finite.

    Args:
        what: what happened, with update and learning rate.
        settings: `out` is searched for the last checkpoint.
        batch: file with the batch where it happened.
    """
    last = checkpoint.last_checkpoint(settings.out)
    saved = f"the batch is in {batch}; " if batch else ""
    kept = f"the last good checkpoint is {last}" if last else "no checkpoint was written before"
    return FloatingPointError(f"{what}; {saved}{kept}; a smaller --lr or --clip-grad 1 may help")


def out_of_memory(error: BaseException, settings: Settings, batch_size: int) -> MemoryError | None:
    """Make the error for a memory that is too small, with the options that help; None if it is another error.

    Args:
        error: what the update raised.
        settings: options in use already are not suggested.
        batch_size: sets that one process computes at once.
    """
    is_host = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    if not (isinstance(error, (torch.OutOfMemoryError, MemoryError)) or is_host):
        return None
    advice = [
        f"--accumulate {2 * settings.accumulate} (the same updates in smaller parts)" if batch_size > 1 else "",
        "" if settings.recompute else "--recompute",
        "" if settings.precision != "no" else "--precision bf16",
        "a smaller --batch-size" if batch_size > 1 else "",
    ]
    listed = ", ".join(option for option in advice if option) or "a smaller network"
    return MemoryError(f"out of memory with {batch_size} sets at once; what helps, the first first: {listed}")


def save_batch(path: Path, inputs: Any, labels: Any, **notes: Any) -> None:
    """Write a batch so that `torch.load(path, weights_only=True)` reads it.

    Args:
        path: file to write.
        inputs: tensors, also in lists, tuples, dicts or dataclasses (a `PointSet`), which become dicts.
        labels: the targets, likewise.
        **notes: plain values, written beside `inputs` and `labels`.
    """
    with atomic(path) as temporary:
        torch.save({"inputs": _plain(inputs), "labels": _plain(labels), **notes}, temporary)


def _plain(value: Any) -> Any:
    """The same of lists, tuples and dicts alone."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return type(value)(_plain(one) for one in value) if type(value) in (list, tuple) else value
