"""Training for a given time: the learning rate follows the share of the time that has passed, not epochs.

A run ends when its time is over, with the update that is under way, so that a network that is faster sees more data and
all of them end at the end of their cosine. Loading and augmentation count, evaluation does not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from timm.optim import create_optimizer_v2
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Split:
    """Inputs in memory, the first axis being items, and their classes (N,)."""

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.labels)

    def rows(self, rows: Tensor) -> Split:
        """Return some of the items."""
        return Split(self.inputs[rows], self.labels[rows])


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What all networks of a column share.

    Args:
        augment: maps a batch of inputs to other inputs.
        batch: items an update.
        weight_decay: of AdamW; none for parameters of one dimension.
        smoothing: of the labels.
        clip: largest norm of the gradient.
        warmup: share of the time in which the learning rate rises from 0.
        bfloat16: whether products run in bfloat16, by autocast, in training and evaluation.
    """

    augment: Callable[[Tensor], Tensor]
    batch: int = 64
    weight_decay: float = 0.05
    smoothing: float = 0.1
    clip: float = 1.0
    warmup: float = 0.05
    bfloat16: bool = False


@dataclass
class Progress:
    """What a run has done: seconds of its clock, updates, items, and the loss of the last update."""

    seconds: float = 0.0
    updates: int = 0
    items: int = 0
    loss: float = math.nan


def rate_share(share: float, warmup: float) -> float:
    """Learning rate over its peak when `share` of the time has passed: a line up, then a cosine down to 0."""
    if share < warmup:
        return share / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (share - warmup) / (1 - warmup))))


def train_for(
    net: nn.Module, train: Split, recipe: Recipe, *, lr: float, seconds: float, seed: int, clock: str = "wall"
) -> Progress:
    """Train a network for a time.

    Args:
        net: maps a batch of inputs to logits.
        train: the training part.
        recipe: what all networks share.
        lr: peak of the learning rate.
        seconds: time of training.
        seed: of order and augmentation.
        clock: "wall", or "cpu" for processor time of the process, which other work on the machine does not slow.

    Raises:
        FloatingPointError: if the loss is not finite; the message holds update and learning rate.
    """
    torch.manual_seed(seed)
    optimizer = create_optimizer_v2(net, "adamw", lr=lr, weight_decay=recipe.weight_decay)
    net.train()
    now, progress, rows = CLOCKS[clock], Progress(), torch.empty(0, dtype=torch.long)
    start = now()
    while progress.seconds < seconds:
        if len(rows) < min(recipe.batch, len(train)):
            rows = torch.randperm(len(train))
        batch, rows = train.rows(rows[: recipe.batch]), rows[recipe.batch :]
        for group in optimizer.param_groups:
            group["lr"] = lr * rate_share(progress.seconds / seconds, recipe.warmup)
        progress.loss = _update(net, batch, recipe, optimizer)
        if not math.isfinite(progress.loss):
            raise FloatingPointError(f"loss is {progress.loss} at update {progress.updates} with lr {lr:g}")
        progress.updates += 1
        progress.items += len(batch)
        progress.seconds = now() - start
    return progress


def _update(net: nn.Module, batch: Split, recipe: Recipe, optimizer: torch.optim.Optimizer) -> float:
    with _autocast(recipe):
        logits = net(recipe.augment(batch.inputs))
    loss = cross_entropy(logits.float(), batch.labels, label_smoothing=recipe.smoothing)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), recipe.clip)
    optimizer.step()
    return loss.item()


@torch.inference_mode()
def accuracy(net: nn.Module, split: Split, recipe: Recipe) -> float:
    """Percent of the items that a network classifies right; nothing is augmented."""
    net.eval()
    right = 0
    for rows in torch.arange(len(split)).split(2 * recipe.batch):
        part = split.rows(rows)
        with _autocast(recipe):
            right += int((net(part.inputs).argmax(1) == part.labels).sum())
    return 100 * right / len(split)


def _autocast(recipe: Recipe) -> Any:
    return torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16)
