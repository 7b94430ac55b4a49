"""What moves the weights: timm's optimizer, schedule and blending of images, made from `Settings`."""

import difflib
from typing import Any

import torch
from timm.data import Mixup
from timm.optim import create_optimizer_v2, list_optimizers
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from torch import Tensor, nn

from pointcoc.train.settings import Settings

POWER = 0.9
STEPS, STEP_FACTOR = (8 / 12, 11 / 12), 0.1


def make_optimizer(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """Make the optimizer; parameters of one dimension (norms, biases, layer scales, alpha, beta) have no weight decay.

    Args:
        model: network on its device.
        settings: `optimizer`, `weight_decay` and the learning rate are read.

    Raises:
        ValueError: if timm has no such optimizer; the message holds names like it.
    """
    if settings.optimizer not in list_optimizers():
        close = difflib.get_close_matches(settings.optimizer, [str(name) for name in list_optimizers()])
        hint = f"did you mean {', '.join(close)}?" if close else "timm.optim.list_optimizers() names them"
        raise ValueError(f"unknown optimizer {settings.optimizer!r}; {hint}")
    return create_optimizer_v2(model, settings.optimizer, lr=settings.peak_lr, weight_decay=settings.weight_decay)


def make_scheduler(optimizer: torch.optim.Optimizer, updates_per_epoch: int, settings: Settings) -> Scheduler:
    """Make the schedule of the learning rate: a linear warm-up, the fall down to `min_lr`, and a cool-down there.

    The warm-up is the first part of the updates of the fall, which goes as if it had begun with the run (timm's
    schedule, with `warmup_prefix` off); the cool-down follows those updates.

    Args:
        optimizer: its learning rate is the one after the warm-up.
        updates_per_epoch: the schedule is stepped after each update.
        settings: `schedule`, `epochs`, `updates`, `warmup_epochs`, `warmup_updates`, `warmup_lr`, `cooldown_epochs` and
            `min_lr` are read.
    """
    total = schedule_length(updates_per_epoch, settings)
    return create_scheduler_v2(
        optimizer,
        sched={"steps": "multistep"}.get(settings.schedule, settings.schedule),
        num_epochs=total,  # an "epoch" of timm is an update here
        updates_per_epoch=1,
        # Parts of an update too.
        warmup_epochs=settings.warmup_updates or settings.warmup_epochs * updates_per_epoch,  # type: ignore[arg-type]
        warmup_lr=settings.warmup_lr,
        min_lr=settings.min_lr,
        cooldown_epochs=settings.cooldown_epochs * updates_per_epoch,
        decay_milestones=[round(total * part) + 1 for part in STEPS],  # timm drops one update before a milestone
        decay_rate=POWER if settings.schedule == "poly" else STEP_FACTOR,
        step_on_epochs=False,
    )[0]


def schedule_length(updates_per_epoch: int, settings: Settings) -> int:
    """Return the updates over which the learning rate falls; where the clock ends a run, the unit of its schedule.

    Args:
        updates_per_epoch: updates of one training pass.
        settings: `epochs` and `updates` are read.
    """
    return settings.updates or settings.epochs * updates_per_epoch


def make_mix(num_classes: int, settings: Settings) -> Mixup | None:
    """Make timm's mixup and cutmix, which smooth the labels too; None if both are off."""
    if not settings.is_mixing:
        return None
    return Mixup(
        mixup_alpha=settings.mixup,
        cutmix_alpha=settings.cutmix,
        label_smoothing=settings.label_smoothing,
        num_classes=num_classes,
    )


def blend(mix: Mixup | None, inputs: Any, labels: Tensor) -> tuple[Any, Tensor]:
    """Blend the images of a batch two by two; without `mix` nothing changes.

    Args:
        mix: what `make_mix` returned.
        inputs: images (B, C, H, W), which stay as they are; with `mix` None anything.
        labels: integers (B,).

    Returns:
        The images, and probabilities (B, num_classes); without `mix` what came.

    Raises:
        ValueError: if there is something to blend and the input is not a tensor or B is odd.
    """
    if mix is None:
        return inputs, labels
    if not isinstance(inputs, Tensor):
        raise ValueError(f"mixup and cutmix must be 0 unless the input is an image tensor, got {type(inputs).__name__}")
    if len(labels) % 2:
        raise ValueError(f"mixup and cutmix need an even number of images in every batch, got {len(labels)}")
    return mix(inputs.clone(), labels)
