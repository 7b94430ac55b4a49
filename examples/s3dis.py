"""Train a network to name what each point of a scanned room belongs to, and measure it on rooms it has not seen.

    python examples/s3dis.py --data Stanford3dDataset_v1.2_Aligned_Version --cache rooms  # one GPU; tested on Area 5

`--data` holds Area_1 to Area_6, each with ROOM/Annotations/CLASS_NUMBER.txt or ROOM.npy (rows x y z r g b class); other
scenes in meters fit too, with `--classes`. Anchors are points of voxels and regions are runs along a Hilbert curve, so
that no step costs more than sorting, and a room of 1,000,000 points trains in the memory that
benchmarks/results/scene-memory.md tells. Training takes the points around a random one; rooms are measured whole, every
point. The last weights are measured: nothing is chosen on the test area.

What comes out on S3DIS has not been measured yet.
"""

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from pointcoc.data import IGNORE, RandomScene, SceneFolder, collate_points
from pointcoc.data.scenes import S3DIS_CLASSES
from pointcoc.models import ContextClusterNet
from pointcoc.segmentation import Confusion, point_segmentation
from pointcoc.train import run_command, save_weights
from pointcoc.train.dense import check_new, check_numbers, endless, scores_line
from pointcoc.train.metrics import MetricsFile


@dataclass(frozen=True, kw_only=True)
class SceneSettings:
    """Settings of a run on scenes."""

    data: Path
    """Folder that holds the areas."""
    train_areas: tuple[str, ...] = ("Area_1", "Area_2", "Area_3", "Area_4", "Area_6")
    """Folders of the rooms to train on."""
    test_areas: tuple[str, ...] = ("Area_5",)
    """Folders of the rooms that the network is measured on."""
    classes: tuple[str, ...] = S3DIS_CLASSES
    """Names of the classes."""
    cache: Path | None = None
    """Folder that keeps parsed rooms, so that text is read once."""
    voxels: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    """Edges of the cells of the four stages, in meters."""
    max_points: int = 80_000
    """Points of a training view."""
    steps: int = 20_000
    """Updates."""
    minutes: float = 0.0
    """Train for this time instead of `steps`; 0 trains for `steps`."""
    batch_size: int = 4
    """Views per update."""
    lr: float = 4e-3
    """Learning rate of the first update; it falls to 0 by a cosine."""
    weight_decay: float = 0.05
    """Weight decay of all parameters."""
    clip_grad: float = 1.0
    """Longest gradient; 0 does not clip."""
    recompute: bool = False
    """Compute the inside of each block again in backward: less memory, about a third slower."""
    workers: int = 0
    """Processes that load data."""
    log_every: int = 50
    """Updates between two lines of the loss."""
    seed: int = 0
    """Seed of weights, order and views."""
    out: Path = Path("runs/s3dis")
    """Folder of metrics.jsonl and last.safetensors; must be new."""
    smoke: bool = False
    """A run of seconds: two updates of two small views, measured on one room."""

    def __post_init__(self) -> None:
        check_numbers(
            self,
            ("max_points", "steps", "batch_size", "lr", "log_every"),
            ("minutes", "weight_decay", "clip_grad", "workers"),
        )

    def shrink(self) -> Self:
        """The same settings, reduced to a run of seconds if `smoke` is set."""
        small = {"steps": 2, "minutes": 0.0, "batch_size": 2, "max_points": 2000, "workers": 0, "log_every": 1}
        return replace(self, **small) if self.smoke else self  # type: ignore[arg-type]


def main(settings: SceneSettings) -> dict[str, float]:
    """Train, then measure on the rooms of the test areas."""
    check_new(settings.out)
    torch.manual_seed(settings.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train = open_areas(settings, settings.train_areas, RandomScene(settings.max_points))
    test = open_areas(settings, settings.test_areas)
    net = ContextClusterNet.from_preset("coc_scene", num_classes=0, in_channels=6, dense=True, voxels=settings.voxels)
    net.set_grad_checkpointing(settings.recompute)
    model = point_segmentation(net, num_classes=len(settings.classes), dropout=0.0).to(device)
    count = sum(parameter.numel() for parameter in model.parameters())
    print(f"{count:,} parameters, {len(train)} training and {len(test)} test rooms, {device}")
    with MetricsFile(settings.out / "metrics.jsonl") as metrics:
        seconds = fit(model, train, settings, metrics, device)
        scores = measure(model, test, settings, device)
        metrics.write("test", 0, {**scores, "seconds": seconds, "parameters": count})
    save_weights(settings.out / "last.safetensors", model, test=scores, classes=settings.classes)
    print(f"{scores_line(scores)}, {seconds / 60:.1f} minutes of training, files in {settings.out}")
    return scores


def open_areas(settings: SceneSettings, areas: tuple[str, ...], transform: RandomScene | None = None) -> SceneFolder:
    """Open the rooms of some areas."""
    return SceneFolder(settings.data, areas, classes=settings.classes, cache=settings.cache, transform=transform)


def fit(
    model: nn.Module, train: SceneFolder, settings: SceneSettings, metrics: MetricsFile, device: torch.device
) -> float:
    """Train for the steps or the minutes of the settings; return the seconds that it took."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    start, losses = time.perf_counter(), torch.zeros(0)
    for step, batch in enumerate(endless(train, settings.batch_size, settings.workers, collate_points), 1):
        spent = time.perf_counter() - start
        part = spent / (60 * settings.minutes) if settings.minutes else (step - 1) / settings.steps
        if part >= 1:
            break
        lr = settings.lr * 0.5 * (1 + math.cos(math.pi * part))
        losses = torch.cat([losses, update(model, optimizer, batch, lr, settings, device)])
        if step % settings.log_every == 0:
            line = {"update": step, "loss": float(losses.mean()), "lr": lr}
            metrics.write("update", step * settings.batch_size // len(train) + 1, line)
            print(f"update {step}, loss {line['loss']:.3f}", flush=True)
            losses = losses[:0]
    return time.perf_counter() - start


def update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: tuple,
    lr: float,
    settings: SceneSettings,
    device: torch.device,
) -> torch.Tensor:
    """One step of the optimizer; returns the loss, shape (1,)."""
    model.train()
    for group in optimizer.param_groups:
        group["lr"] = lr
    points, target = (value.to(device) for value in batch)
    if bool((target == IGNORE).all()):  # the mean over no point is NaN
        return torch.zeros(0)
    loss = cross_entropy(model(points), target, ignore_index=IGNORE)
    if not torch.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss.item()} at learning rate {lr:.3g}; a smaller --lr may help")
    optimizer.zero_grad()
    loss.backward()
    if settings.clip_grad:
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip_grad)
    optimizer.step()
    return loss.detach()[None].cpu()


@torch.no_grad()
def measure(model: nn.Module, test: SceneFolder, settings: SceneSettings, device: torch.device) -> dict[str, float]:
    """Compare every point of every room, one room at a time."""
    model.eval()
    confusion = Confusion(len(settings.classes), IGNORE).to(device)
    for row in range(1 if settings.smoke else len(test)):
        points, target = collate_points([test[row]])
        confusion.update(model(points.to(device)).argmax(1), target.to(device))
    scores = confusion.compute()
    return {"accuracy": scores.pop("pixel_accuracy"), **scores}


# The path below is a part of the command line that names --data, which replaces it.
DEFAULT = SceneSettings(data=Path("Stanford3dDataset_v1.2_Aligned_Version"))

if __name__ == "__main__":
    run_command(main, DEFAULT, __doc__)
