"""The folder of a run: whether it is free, and whether a run in it may continue with other settings."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from pointcoc.files import remove
from pointcoc.models.weights import weights_in
from pointcoc.train import checkpoint
from pointcoc.train.metrics import METRICS
from pointcoc.train.settings import Settings

# A resumed run may change these; any other difference would make it a different run.
FREE_ON_RESUME = (
    *(
        "epochs",
        "updates",
        "minutes",
        "cooldown_epochs",
        "log_every",
        "save_every",
        "save_epochs",
        "keep",
        "max_bad",
        "out",
        "trackers",
        "overwrite",
        "resume",
        "workers",
    ),
    # The same sums in another order, or on another compiler: allowed, because they are the way out of a full memory.
    *("accumulate", "recompute", "compile"),
)
BAD_ITEMS = "bad_items.txt"
TRACKERS = "trackers"


def run_to_resume(settings: Settings) -> Path | None:
    """Return the checkpoint to continue from, None for a new run.

    Args:
        settings: `out`, `resume` and `overwrite` are read.

    Raises:
        FileNotFoundError: if `resume` is "must" and `out` holds no whole checkpoint.
        ValueError: if `out` holds a run and neither `resume` nor `overwrite` says what becomes of it.
    """
    last = checkpoint.last_checkpoint(settings.out)
    if settings.resume == "must" and last is None:
        raise FileNotFoundError(f"nothing to resume: out must hold a folder epoch-*, and {settings.out} has none")
    if settings.resume != "no":
        return last
    held = last or weights_in(settings.out)  # or killed before its first checkpoint
    if held is not None and not settings.overwrite:
        raise ValueError(
            f"out must not hold a run, got {settings.out} with {held.relative_to(settings.out).parts[0]}: "
            "add --resume auto to continue it, --overwrite to start again, or choose another --out"
        )
    return None


def clear_run(out: Path) -> None:
    """Remove what a run left in its folder, and nothing else."""
    for path in checkpoint.checkpoints(out):
        checkpoint.discard(path)
    checkpoint.remove_best(out)
    for name in (METRICS, BAD_ITEMS, TRACKERS):
        remove(out / name)


def plain_settings(settings: Settings) -> dict[str, Any]:
    """Return settings as numbers and strings, for a checkpoint."""
    return {
        name: value if isinstance(value, (bool, int, float, str)) else str(value)
        for name, value in asdict(settings).items()
    }


def check_same_settings(path: Path, found: dict[str, Any], now: dict[str, Any]) -> None:
    """Check that a run continues as it began.

    Args:
        path: its checkpoint, for the message.
        found: the settings in the checkpoint, from `plain_settings`.
        now: the settings to continue with.

    Raises:
        ValueError: if a setting outside `FREE_ON_RESUME` differs; the message holds all that do.
    """
    names = [name for name in now if name in found and name not in FREE_ON_RESUME and found[name] != now[name]]
    if names:
        listed = "; ".join(f"{name} was {found[name]}, is {now[name]}" for name in names)
        raise ValueError(f"resume needs the settings of the run in {path.parent}: {listed}")
