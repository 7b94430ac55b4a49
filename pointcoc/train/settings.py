"""Settings of a training run: one frozen dataclass, which is also the typed command line of the examples."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pointcoc.train.trackers import AUTO, check_trackers

Precision = Literal["no", "bf16", "fp16"]
Schedule = Literal["cosine", "poly", "steps"]
Resume = Literal["no", "auto", "must"]
SMOKE_EPOCHS = 2
SMOKE_BATCH_SIZE = 16


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What one training run is made of.

    Every field is checked here and used by `fit`, `evaluate` or `make_loaders`; the examples add their own fields by
    inheritance. The text under each field is its `--help`.

    Raises:
        ValueError: if a value is outside its range or two values contradict each other; the message names the
            field, the value and what is allowed.
    """

    smoke_sets: ClassVar[int] = 64  # sets of a part of the data that a run of seconds reads, at most

    epochs: int = 100
    """Passes over the training part."""
    updates: int = 0
    """End after this number of updates in place of `epochs`; 0 for the epochs."""
    minutes: float = 0.0
    """Train for this time in place of `epochs` and `updates`, whose schedule then follows the share of the time that is
    gone; validation does not count. Such a run can be resumed, but its bits are not those of another. 0: no clock."""
    batch_size: int = 64
    """Sets (images or clouds) per update, over all processes and all parts of an update."""
    accumulate: int = 1
    """Parts in which each process computes an update; the same update takes less memory in more parts, each with
    batch norms of its own."""
    optimizer: str = "adamw"
    """Name of a timm optimizer, for example adamw, sgd or lamb."""
    lr: float = 1e-3
    """Learning rate after the warm-up."""
    schedule: Schedule = "cosine"
    """How the learning rate falls to `min_lr`: in a cosine, or by "poly", the share of what is left to the power of
    0.9; "steps", without `min_lr`, is a tenth after 8/12 and again after 11/12 of the updates."""
    min_lr: float = 1e-5
    """Learning rate at the end of the schedule."""
    warmup_epochs: float = 5
    """Epochs of linear warm-up, part of `epochs`."""
    warmup_updates: int = 0
    """Updates of linear warm-up in place of `warmup_epochs`; 0 for the epochs."""
    warmup_lr: float = 1e-6
    """Learning rate of the first update of a warm-up."""
    cooldown_epochs: int = 0
    """Epochs at `min_lr` that follow the `epochs`."""
    lr_batch_size: int = 0
    """Sets per update that `lr` is meant for: it is multiplied by `batch_size / lr_batch_size`; 0 takes it as it is."""
    weight_decay: float = 0.05
    """Weight decay of the matrices; norms, biases, layer scales, alpha and beta have none."""
    clip_grad: float = 0.0
    """Largest norm of the gradient of all parameters; 0 clips nothing."""
    label_smoothing: float = 0.0
    """Share of the target that is spread over all classes while training."""
    mixup: float = 0.0
    """Alpha of mixup, 0 for none. Images only; needs an even batch size."""
    cutmix: float = 0.0
    """Alpha of cutmix, 0 for none. Images only; needs an even batch size."""
    ema: float = 0.0
    """Decay of the moving average of the weights, which is then what is validated and kept; 0 for none."""
    val_fraction: float = 0.1
    """Share of the training set that chooses the best epoch; 0 trains on all of it and keeps the last epoch."""
    precision: Precision = "no"
    """Mixed precision; "no" is float32. "fp16", on a GPU only, scales the loss, as small gradients would vanish."""
    recompute: bool = False
    """Compute the inside of blocks again in backward instead of keeping it, which takes less memory and more time."""
    compile: bool = False
    """Compile the network with torch.compile."""
    seed: int = 0
    """Seed of the first weights, the order of the training set, augmentation, mixup and drop path."""
    workers: int = 0
    """Processes that load data; 0 loads in the training process."""
    log_every: int = 50
    """Updates between two lines of split "update" in metrics.jsonl."""
    trackers: tuple[str, ...] = (AUTO,)
    """Trackers that receive what metrics.jsonl receives, by their names in accelerate (tensorboard, wandb, ...); auto
    for tensorboard where it is installed, none for none."""
    save_every: int = 0
    """Updates between two checkpoints, besides those after epochs; 0 for no others."""
    save_epochs: int = 1
    """Epochs between two checkpoints, and between two `best` where no validation chooses; more than one saves
    time where epochs are short. The last epoch is always saved."""
    keep: int = 2
    """Checkpoints that are kept, the newest ones."""
    max_bad: int = 0
    """Training items that may be unreadable; each is named, and another one stands in for it. Measuring needs all."""
    out: Path = Path("runs/train")
    """Folder of checkpoints and metrics."""
    resume: Resume = "no"
    """"auto" continues the run in `out` where it was saved last, or begins one; "must" wants one to be there."""
    overwrite: bool = False
    """Start again in `out`: the files of the run it holds are removed."""
    smoke: bool = False
    """A run of seconds, with a few batches, at most two epochs, no separate processes."""

    def __post_init__(self) -> None:
        for name, (is_allowed, allowed) in _RULES.items():
            if not is_allowed(getattr(self, name)):
                raise ValueError(f"{name} must be {allowed}, got {getattr(self, name)!r}")
        check_trackers(self.trackers)
        for is_wrong, sentence in self._contradictions():
            if is_wrong:
                raise ValueError(sentence)

    @property
    def is_mixing(self) -> bool:
        """Whether two images are blended into one while training."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def peak_lr(self) -> float:
        """The learning rate after the warm-up, for the batches of this run."""
        return self.lr * self.batch_size / self.lr_batch_size if self.lr_batch_size else self.lr

    @property
    def all_epochs(self) -> int:
        """Epochs of the whole run, the cool-down included."""
        return self.epochs + self.cooldown_epochs

    def _contradictions(self) -> tuple[tuple[object, str], ...]:
        """Return whether two settings contradict each other, and the sentence that says so, for each such pair."""
        lr = f"lr{f' x batch_size / {self.lr_batch_size}' if self.lr_batch_size else ''} ({self.peak_lr:g})"
        return (
            (self.min_lr > self.peak_lr, f"min_lr must be at most {lr}, got {self.min_lr:g}"),
            (
                self.warmup_lr > self.peak_lr and (self.warmup_updates or self.warmup_epochs),
                f"warmup_lr must be at most {lr}, got {self.warmup_lr:g}",
            ),
            (
                (self.updates or self.minutes) and self.cooldown_epochs,
                f"cooldown_epochs must be 0 with updates or minutes, got {self.cooldown_epochs}",
            ),
            (
                self.warmup_epochs > self.epochs and not (self.warmup_updates or self.updates or self.smoke),
                f"warmup_epochs must be at most epochs ({self.epochs}), got {self.warmup_epochs:g}",
            ),
            (
                self.is_mixing and self.batch_size % 2,
                f"batch_size must be even for mixup and cutmix, got {self.batch_size}",
            ),
            (
                self.batch_size % (self.accumulate * (2 if self.is_mixing else 1)),
                f"batch_size must be a multiple of accumulate ({self.accumulate}), and of twice that for mixup and "
                f"cutmix, got {self.batch_size}",
            ),
            (
                self.resume != "no" and self.overwrite,
                "resume continues a run and overwrite removes it: give one of the two",
            ),
        )

    def shrink(self) -> Self:
        """The same settings, reduced to a run of seconds if `smoke` is set."""
        if not self.smoke:
            return self
        return replace(
            self,
            epochs=min(self.epochs, SMOKE_EPOCHS),
            updates=0,
            minutes=0.0,
            batch_size=min(self.batch_size, SMOKE_BATCH_SIZE),
            accumulate=1,
            warmup_epochs=0,
            warmup_updates=0,
            cooldown_epochs=0,
            workers=0,
            log_every=1,
        )


_Rule = tuple[Callable[[Any], bool], str]


def _at_least(low: float) -> _Rule:
    return lambda value: low <= value < math.inf, f"at least {low:g}"


_FRACTION: _Rule = (lambda value: 0 <= value < 1, "at least 0 and below 1")


_RULES: dict[str, _Rule] = {
    "epochs": _at_least(1),
    "updates": _at_least(0),
    "minutes": _at_least(0),
    "batch_size": _at_least(1),
    "accumulate": _at_least(1),
    "lr": (lambda value: 0 < value < math.inf, "positive and finite"),
    "schedule": (lambda value: value in ("cosine", "poly", "steps"), "'cosine', 'poly' or 'steps'"),
    "min_lr": _at_least(0),
    "warmup_epochs": _at_least(0),
    "warmup_updates": _at_least(0),
    "warmup_lr": _at_least(0),
    "cooldown_epochs": _at_least(0),
    "lr_batch_size": _at_least(0),
    "weight_decay": _at_least(0),
    "clip_grad": _at_least(0),
    "label_smoothing": _FRACTION,
    "mixup": _at_least(0),
    "cutmix": _at_least(0),
    "ema": _FRACTION,
    "val_fraction": _FRACTION,
    "precision": (lambda value: value in ("no", "bf16", "fp16"), "'no', 'bf16' or 'fp16'"),
    "seed": _at_least(0),
    "workers": _at_least(0),
    "log_every": _at_least(1),
    "save_every": _at_least(0),
    "save_epochs": _at_least(1),
    "keep": _at_least(1),
    "max_bad": _at_least(0),
    "resume": (lambda value: value in ("no", "auto", "must"), "'no', 'auto' or 'must'"),
}
