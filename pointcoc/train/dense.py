"""What the examples of dense prediction, which have loops of their own, share."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, Dataset

from pointcoc.train.metrics import METRICS


def check_numbers(settings: object, positive: Sequence[str], not_negative: Sequence[str]) -> None:
    """Check fields of settings.

    Args:
        settings: object with the fields.
        positive: fields that must be above 0.
        not_negative: fields that must be 0 or more, and finite.

    Raises:
        ValueError: if a value is not allowed; the message names the field and the value.
    """
    for name in positive:
        if getattr(settings, name) <= 0:
            raise ValueError(f"{name} must be positive, got {getattr(settings, name)}")
    for name in not_negative:
        if not 0 <= getattr(settings, name) < math.inf:
            raise ValueError(f"{name} must be at least 0, got {getattr(settings, name)}")


def check_new(out: Path) -> None:
    """Raise ValueError if a folder holds the metrics of a run."""
    if (out / METRICS).exists():
        raise ValueError(f"out must not hold a run, got {out}: choose another --out")


def endless(
    dataset: Dataset, batch_size: int, workers: int, collate_fn: Callable[[list[Any]], Any] | None = None
) -> Iterator[Any]:
    """Yield shuffled, full batches without end.

    Args:
        dataset: map-style data set.
        batch_size: items of a batch, at most those there are.
        workers: processes that load.
        collate_fn: joins items; torch's own where it is None.
    """
    loader = DataLoader(
        dataset,
        batch_size=min(batch_size, len(dataset)),  # type: ignore[arg-type]  # map-style data sets have a length
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=collate_fn,
    )
    while True:
        yield from loader


def scores_line(scores: Mapping[str, float]) -> str:
    """Say scores from 0 to 1 in one line, in percent."""
    return ", ".join(f"{name.replace('_', ' ')} {value:.2%}" for name, value in scores.items())
