"""Question: how well does coc_points learn small real clouds, beside PointNet++, in the same time?

Trains one network for a given number of minutes with the recipe of examples/modelnet40.py (augmentation, AdamW, cosine,
label smoothing) and reads the test set once. The number of epochs follows from the rate that is measured first, so
that the cosine ends with the time. Run both at the same time, one thread each, so that noise meets both::

    OMP_NUM_THREADS=1 python benchmarks/modelnet10.py --data PATH --model coc_points --minutes 20 &
    OMP_NUM_THREADS=1 python benchmarks/modelnet10.py --data PATH --model pointnet2 --minutes 20 &

How to read it: the last line gives the test accuracy, and the minutes that were really used.
"""

from __future__ import annotations

import itertools
import sys
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from torch.nn.functional import cross_entropy

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "examples"))

from modelnet40 import CLOUDS, CloudSettings, cloud_loaders  # noqa: E402

from pointcoc import ContextClusterNet  # noqa: E402
from pointcoc.train import finish, fit, run_command  # noqa: E402


@dataclass(frozen=True, kw_only=True)
class TimedSettings(CloudSettings):
    """Settings of a run of a given length."""

    model: Literal["coc_points", "coc_points_small", "pointnet2"] = "coc_points"
    """The network."""
    minutes: float = 20.0
    """Time of training and validation; sets `epochs`."""


def main(settings: TimedSettings) -> None:
    """Measure the rate, choose the epochs, train, test."""
    torch.manual_seed(settings.seed)
    loaders, info = cloud_loaders(settings)
    net = build(settings, len(info.class_names or ()))
    rate = clouds_per_second(net, loaders.train)
    epochs = max(1, round(settings.minutes * 60 * rate / len(loaders.train.dataset)))
    print(f"{settings.model}: {rate:.1f} clouds/s in training, {epochs} epochs in {settings.minutes:g} minutes")
    settings = replace(settings, epochs=epochs, warmup_epochs=min(settings.warmup_epochs, epochs / 10))
    result = fit(net, loaders.train, loaders.val, settings)
    finish(net, loaders.test, result, settings)


def build(settings: TimedSettings, num_classes: int) -> nn.Module:
    """Return the network of the settings."""
    if settings.model != "pointnet2":
        return ContextClusterNet.from_preset(settings.model, num_classes=num_classes, drop_path=settings.drop_path)
    from tools.pointnet2 import PointNet2

    net = PointNet2(num_classes)
    net.num_classes = num_classes
    return net


def clouds_per_second(net: nn.Module, loader: torch.utils.data.DataLoader, batches: int = 10) -> float:
    """Measure forward and backward, the median batch, loading included."""
    rates = []
    start = time.perf_counter()
    for points, labels in itertools.islice(loader, batches):
        cross_entropy(net(points), labels).backward()
        now = time.perf_counter()
        rates.append(len(labels) / (now - start))
        start = now
    net.zero_grad()
    return sorted(rates)[len(rates) // 2]


if __name__ == "__main__":
    defaults = {field.name: getattr(CLOUDS, field.name) for field in fields(CLOUDS)}
    run_command(main, TimedSettings(**{**defaults, "batch_size": 16, "warmup_epochs": 0.5, "resample": False}), __doc__)
