"""Train Semantic FPN to name every pixel, and measure it on images it has not seen.

    python examples/ade20k.py --data PATH                       # ADE20K, 80,000 steps of 32 crops of 512 x 512
    python examples/ade20k.py --data PATH --backbone resnet18   # the same head on a timm model
    python examples/ade20k.py --data camvid --num-classes 11 --first-class 0 --ignore 11 --short-side 0 \
        --crop 224 --batch-size 4 --minutes 30                  # street scenes, for as long as one has

`--data` holds images/training and annotations/training, images/validation and annotations/validation; the names of the
two splits are `--train-split` and `--val-split`. The recipe is the one of the paper's section 4.4 (and of the Semantic
FPN of PVT): AdamW, learning rate 1e-4 that falls to 0 by a polynomial of 0.9, weight decay 1e-4. With `--minutes` the
schedule follows the clock, so that two backbones may be compared in the same time. The last weights are measured:
nothing is chosen on the validation images.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from pointcoc.data import IGNORE, MaskFolder, PlainMask, RandomMask
from pointcoc.segmentation import Confusion, semantic_fpn, sliding_logits
from pointcoc.train import run_command, save_weights
from pointcoc.train.dense import check_new, check_numbers, endless, scores_line
from pointcoc.train.metrics import MetricsFile


@dataclass(frozen=True, kw_only=True)
class SegmentationSettings:
    """Settings of a run of Semantic FPN."""

    data: Path
    """Folder with images/SPLIT and annotations/SPLIT."""
    train_split: str = "training"
    """Folder of the training images."""
    val_split: str = "validation"
    """Folder of the images that the network is measured on."""
    num_classes: int = 150
    """Classes of a pixel."""
    first_class: int = 1
    """Number of the first class in the masks."""
    ignore: tuple[int, ...] = (0,)
    """Numbers in the masks that count nowhere."""
    backbone: str = "coc_small"
    """A preset, or a timm model such as resnet18."""
    centers: int | None = None
    """Centers per axis of a preset: 2, 5 or 7 in the paper."""
    pretrained: bool = False
    """Start the backbone from weights of classification; the paper does."""
    steps: int = 80_000
    """Updates."""
    minutes: float = 0.0
    """Train for this time instead of `steps`, validation not counted; 0 trains for `steps`."""
    batch_size: int = 32
    """Crops per update."""
    crop: int = 512
    """Side of a training crop, in pixels."""
    short_side: int = 512
    """Short side of all images before the random factor; 0 leaves their sizes."""
    lr: float = 1e-4
    """Learning rate of the first update."""
    weight_decay: float = 1e-4
    """Weight decay of all parameters."""
    window: int = 0
    """Side of sliding windows in validation; 0 reads whole images."""
    validate_every: int = 0
    """Updates between two validations; 0 validates at the end only."""
    log_every: int = 50
    """Updates between two lines of the loss."""
    workers: int = 0
    """Processes that load data."""
    seed: int = 0
    """Seed of weights, order and crops."""
    out: Path = Path("runs/ade20k")
    """Folder of metrics.jsonl and last.safetensors; must be new."""
    smoke: bool = False
    """A run of seconds: two updates of two small crops."""

    def __post_init__(self) -> None:
        check_numbers(
            self,
            ("steps", "batch_size", "crop", "lr", "log_every", "num_classes"),
            ("minutes", "short_side", "weight_decay", "window", "validate_every", "workers", "first_class"),
        )

    def shrink(self) -> Self:
        """The same settings, reduced to a run of seconds if `smoke` is set."""
        if not self.smoke:
            return self
        return replace(self, steps=2, minutes=0.0, batch_size=2, crop=min(self.crop, 64), workers=0, log_every=1)


def main(settings: SegmentationSettings) -> dict[str, float]:
    """Train, then measure on the validation images."""
    check_new(settings.out)
    torch.manual_seed(settings.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train = open_split(settings, settings.train_split, RandomMask(settings.crop, settings.short_side))
    val = open_split(settings, settings.val_split, PlainMask(settings.short_side))
    model = semantic_fpn(
        settings.backbone,
        num_classes=settings.num_classes,
        centers=settings.centers,
        pretrained=settings.pretrained,
    ).to(device)
    count = sum(parameter.numel() for parameter in model.parameters())
    print(
        f"{settings.backbone}: {count:,} parameters, {len(train)} training and {len(val)} validation images, {device}"
    )
    with MetricsFile(settings.out / "metrics.jsonl") as metrics:
        seconds = fit(model, train, val, settings, metrics, device)
        scores = measure(model, val, settings, device)
        metrics.write("val", 0, {**scores, "seconds": seconds, "parameters": count})
    notes = {"first_class": settings.first_class, "short_side": settings.short_side}  # pointcoc predict reads them
    save_weights(settings.out / "last.safetensors", model, val=scores, **notes)
    print(f"{scores_line(scores)}, {seconds / 60:.1f} minutes of training, files in {settings.out}")
    return scores


def open_split(settings: SegmentationSettings, split: str, transform: PlainMask | RandomMask) -> MaskFolder:
    """Open the images and masks of one split."""
    return MaskFolder(
        settings.data,
        split,
        num_classes=settings.num_classes,
        first_class=settings.first_class,
        ignore=settings.ignore,
        transform=transform,
    )


def fit(
    model: nn.Module,
    train: MaskFolder,
    val: MaskFolder,
    settings: SegmentationSettings,
    metrics: MetricsFile,
    device: torch.device,
) -> float:
    """Train for the steps or the minutes of the settings; return the seconds that training took."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    seconds, losses = 0.0, torch.zeros(0)
    start = time.perf_counter()
    for step, (images, masks) in enumerate(endless(train, settings.batch_size, settings.workers), 1):
        spent = seconds + time.perf_counter() - start
        part = spent / (60 * settings.minutes) if settings.minutes else (step - 1) / settings.steps
        if part >= 1:
            break
        lr = settings.lr * (1 - part) ** 0.9
        losses = torch.cat([losses, update(model, optimizer, images.to(device), masks.to(device), lr)])
        if step % settings.log_every == 0:
            line = {"update": step, "loss": float(losses.mean()), "lr": lr}
            metrics.write("update", step * settings.batch_size // len(train) + 1, line)
            print(f"update {step}, loss {line['loss']:.3f}")
            losses = losses[:0]
        if settings.validate_every and step % settings.validate_every == 0:
            seconds += time.perf_counter() - start
            print(f"update {step}: {scores_line(measure(model, val, settings, device))}")
            start = time.perf_counter()
    return seconds + time.perf_counter() - start


def update(model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, masks: Tensor, lr: float) -> Tensor:
    """One step of the optimizer; returns the loss, shape (1,)."""
    model.train()
    for group in optimizer.param_groups:
        group["lr"] = lr
    if bool((masks == IGNORE).all()):  # the mean over no pixel is NaN
        return torch.zeros(0)
    loss = cross_entropy(model(images), masks, ignore_index=IGNORE)
    if not torch.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss.item()} at learning rate {lr:.3g}; a smaller --lr may help")
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()[None].cpu()


@torch.no_grad()
def measure(
    model: nn.Module, val: MaskFolder, settings: SegmentationSettings, device: torch.device
) -> dict[str, float]:
    """Compare with the masks at their own size, one image at a time."""
    model.eval()
    confusion = Confusion(settings.num_classes, IGNORE).to(device)
    for row in range(min(len(val), 2) if settings.smoke else len(val)):
        image, mask = (value.to(device) for value in val[row])
        logits = sliding_logits(model, image, settings.window) if settings.window else model(image[None])[0]
        logits = interpolate(logits[None], mask.shape, mode="bilinear", align_corners=False)
        confusion.update(logits[0].argmax(0), mask)
    return confusion.compute()


# The path below is a part of the command line that names --data, which replaces it.
DEFAULT = SegmentationSettings(data=Path("data/ADEChallengeData2016"))

if __name__ == "__main__":
    run_command(main, DEFAULT, __doc__)
