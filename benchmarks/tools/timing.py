"""Turns: what is compared runs by turns in one process, so that other work on the machine strikes all of it."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import torch

Key = TypeVar("Key", bound=Hashable)
Run = Callable[[], object]


def take_turns(runs: Mapping[Key, Run], turns: int, device: torch.device) -> dict[Key, list[float]]:
    """Run each in turn, `turns` times after one that is not counted; return the seconds of each."""
    seconds: dict[Key, list[float]] = {key: [] for key in runs}
    for turn in range(turns + 1):
        for key, run in runs.items():
            start = now(device)
            run()
            if turn > 0:
                seconds[key].append(now(device) - start)
    return seconds


def now(device: torch.device) -> float:
    """Seconds on a clock, after all work of the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def summary(seconds: list[float], units: float = 1) -> dict[str, float | int]:
    """Median seconds of the turns, their quartiles, and how many of some unit (images) a second that is."""
    low, median, high = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else 3 * seconds
    return {"seconds": median, "low": low, "high": high, "turns": len(seconds), "per_second": units / median}


def free_memory() -> None:
    """Drop compiled programs and memory that nothing holds, between groups of comparisons."""
    torch._dynamo.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
