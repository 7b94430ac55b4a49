"""The picture of a run: loss and headline of every epoch, drawn from metrics.jsonl."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointcoc.files import atomic
from pointcoc.train.metrics import METRICS, read_metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES = "curves.png"


def save_curves(out: Path, headline: str = "accuracy") -> Path:
    """Draw the curves of a run's folder into `curves.png`.

    Args:
        out: folder with a metrics.jsonl.
        headline: score beside the loss, if the lines have it.

    Returns:
        The picture.
    """
    with atomic(out / CURVES) as temporary:
        draw_curves(read_metrics(out / METRICS), headline).savefig(temporary, dpi=120, format="png")
    return out / CURVES


def draw_curves(records: list[dict[str, Any]], headline: str = "accuracy") -> Figure:
    """Draw loss and headline against the epoch, side by side, a line for each split.

    Args:
        records: lines of a metrics.jsonl; those of splits other than "train" and "val" are left out.
        headline: score beside the loss, if the lines have it.
    """
    from matplotlib.figure import Figure

    shown = [name for name in ("loss", headline) if any(name in record for record in records)]
    figure = Figure(figsize=(4.5 * len(shown), 3.5), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        for split in ("train", "val"):
            lines = [record for record in records if record["split"] == split and name in record]
            values = [math.nan if line[name] is None else line[name] for line in lines]
            if lines:
                axes.plot([line["epoch"] for line in lines], values, marker=".", label=split)
        axes.set(xlabel="epoch", ylabel=name)
        axes.legend()
    return figure
