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
    """Make the schedule of the learning rate: a linear warm-up, a cosine down to `min_lr`, and a cool-down there.

    The warm-up is the first part of the `epochs` of the cosine, which falls as if it had begun with the run (timm's
    schedule, with `warmup_prefix` off); the cool-down follows those epochs.

    Args:
        optimizer: its learning rate is the one after the warm-up.
        updates_per_epoch: the schedule is stepped after each update.
        settings: `epochs`, `warmup_epochs`, `warmup_lr`, `cooldown_epochs` and `min_lr` are read.
    """
    scheduler, _ = create_scheduler_v2(
        optimizer,
        sched="cosine",
        num_epochs=settings.epochs,
        warmup_epochs=settings.warmup_epochs,  # type: ignore[arg-type]  # steps per update take parts of an epoch
        warmup_lr=settings.warmup_lr,
        min_lr=settings.min_lr,
        cooldown_epochs=settings.cooldown_epochs,
        step_on_epochs=False,
        updates_per_epoch=updates_per_epoch,
    )
    return scheduler


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
