"""Train Mask R-CNN on a COCO annotation file and measure boxes and masks.

    python examples/coco.py --images coco/train2017 --annotations coco/annotations/instances_train2017.json \
        --val-images coco/val2017 --val-annotations coco/annotations/instances_val2017.json

The recipe is the 1x schedule of the paper: 12 epochs, AdamW, learning rate 2e-4, weight decay 1e-4, 500 updates of
warm-up, a tenth of the rate after epochs 8 and 11, short side 800 and long side at most 1333, mirrored at random. The
last weights are measured. Without `--val-images` the training images themselves are: a check that a network can learn.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from pointcoc.data import CocoImages
from pointcoc.detection import coco_scores, mask_rcnn
from pointcoc.train import run_command, save_weights
from pointcoc.train.dense import check_new, check_numbers
from pointcoc.train.metrics import MetricsFile

SMOKE_STEPS = 2


@dataclass(frozen=True, kw_only=True)
class DetectionSettings:
    """Settings of a run of Mask R-CNN."""

    images: Path
    """Folder of the training images."""
    annotations: Path
    """Their annotations, such as instances_train2017.json."""
    val_images: Path | None = None
    """Folder of the images that the network is measured on; those of training if not given."""
    val_annotations: Path | None = None
    """Annotations of `val_images`."""
    num_classes: int = 91
    """One more than the highest category id."""
    backbone: str = "coc_small"
    """A preset, or a ResNet of torchvision such as resnet18."""
    centers: int | None = None
    """Centers per axis of a preset: 2, 5 or 7 in the paper."""
    pretrained: bool = False
    """Start the backbone from weights of classification; the paper does."""
    epochs: int = 12
    """Passes over the training images."""
    batch_size: int = 16
    """Images per update."""
    lr: float = 2e-4
    """Learning rate after the warm-up."""
    weight_decay: float = 1e-4
    """Weight decay of all parameters."""
    warmup: int = 500
    """Updates of linear warm-up."""
    min_size: int = 800
    """Short side of the images, in pixels."""
    max_size: int = 1333
    """Longest side allowed."""
    minutes: float = 0.0
    """Stop training after this time; 0 trains all epochs."""
    mirror: bool = True
    """Mirror half of the training images."""
    workers: int = 0
    """Processes that load data."""
    log_every: int = 50
    """Updates between two lines of the loss."""
    seed: int = 0
    """Seed of weights, order and mirroring."""
    out: Path = Path("runs/coco")
    """Folder of metrics.jsonl and last.safetensors; must be new."""
    smoke: bool = False
    """A run of seconds: two updates of two images, at most 96 pixels; measured on two."""

    def __post_init__(self) -> None:
        check_numbers(
            self,
            ("epochs", "batch_size", "lr", "min_size", "max_size", "log_every"),
            ("weight_decay", "warmup", "minutes", "workers"),
        )
        if (self.val_images is None) != (self.val_annotations is None):
            raise ValueError("val_images and val_annotations belong together: give both or none")

    def shrink(self) -> Self:
        """The same settings, reduced to a run of seconds if `smoke` is set."""
        small = {
            "epochs": 1,
            "batch_size": 2,
            "min_size": 64,
            "max_size": 96,
            "workers": 0,
            "warmup": 0,
            "log_every": 1,
        }
        return replace(self, **small) if self.smoke else self  # type: ignore[arg-type]


def main(settings: DetectionSettings) -> dict[str, float]:
    """Train, then measure."""
    check_new(settings.out)
    torch.manual_seed(settings.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train = CocoImages(settings.images, settings.annotations, num_classes=settings.num_classes)
    val = train
    if settings.val_images is not None and settings.val_annotations is not None:
        val = CocoImages(settings.val_images, settings.val_annotations, num_classes=settings.num_classes)
    model = mask_rcnn(
        settings.backbone,
        num_classes=settings.num_classes,
        centers=settings.centers,
        pretrained=settings.pretrained,
        min_size=settings.min_size,
        max_size=settings.max_size,
    ).to(device)
    with MetricsFile(settings.out / "metrics.jsonl") as metrics:
        seconds = fit(model, train, settings, metrics, device)
        scores = measure(model, val, device, min(len(val), SMOKE_STEPS) if settings.smoke else len(val))
        metrics.write("val", settings.epochs, {**scores, "seconds": seconds})
    classes = {one["id"]: one.get("name", str(one["id"])) for one in train.coco.dataset.get("categories", [])}
    save_weights(settings.out / "last.safetensors", model, val=scores, classes=classes)
    print(f"box AP {scores['box_ap']:.1%}, mask AP {scores['mask_ap']:.1%}, {seconds / 60:.1f} minutes of training")
    return scores


def fit(
    model: nn.Module, train: CocoImages, settings: DetectionSettings, metrics: MetricsFile, device: torch.device
) -> float:
    """Train for the epochs or the minutes of the settings; return the seconds that training took."""
    loader = DataLoader(train, settings.batch_size, shuffle=True, num_workers=settings.workers, collate_fn=list)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    start, step = time.perf_counter(), 0
    for epoch in range(settings.epochs):
        for rows in loader:
            seconds = time.perf_counter() - start
            if (settings.minutes and seconds > 60 * settings.minutes) or (settings.smoke and step == SMOKE_STEPS):
                return seconds
            for group in optimizer.param_groups:
                group["lr"] = rate(step, epoch, settings)
            losses = update(model, optimizer, [mirrored(*row) if settings.mirror else row for row in rows], device)
            step += 1
            if step % settings.log_every == 0:
                print(f"epoch {epoch + 1}, update {step}: loss {losses['loss']:.3f}")
                metrics.write("update", epoch + 1, {"update": step, **losses})
    return time.perf_counter() - start


def rate(step: int, epoch: int, settings: DetectionSettings) -> float:
    """Learning rate: a linear warm-up, a tenth after 8/12 and again after 11/12 of the epochs."""
    drops = sum(epoch >= round(settings.epochs * part / 12) for part in (8, 11))
    return settings.lr * min(1.0, (step + 1) / max(1, settings.warmup)) * 0.1**drops


def mirrored(image: Tensor, target: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Mirror an image and its target with a probability of one half."""
    if torch.rand(()) < 0.5:
        return image, target
    boxes = target["boxes"].clone()
    boxes[:, [0, 2]] = image.shape[2] - boxes[:, [2, 0]]
    return image.flip(2), {**target, "boxes": boxes, "masks": target["masks"].flip(2)}


def update(model: nn.Module, optimizer: torch.optim.Optimizer, rows: Any, device: torch.device) -> dict[str, float]:
    """One step of the optimizer; returns the losses."""
    model.train()
    images = [image.to(device) for image, _ in rows]
    losses = model(images, [{name: value.to(device) for name, value in target.items()} for _, target in rows])
    loss = torch.stack(list(losses.values())).sum()
    if not torch.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss.item()}; a smaller --lr may help")
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return {"loss": loss.item(), **{name: value.item() for name, value in losses.items()}}


@torch.no_grad()
def measure(model: nn.Module, val: CocoImages, device: torch.device, num_images: int) -> dict[str, float]:
    """Average precision on the first images, one at a time."""
    model.eval()
    return coco_scores(val.coco, ((val.ids[row], model([val[row][0].to(device)])[0]) for row in range(num_images)))


# The paths below are parts of the command line that names them, which replaces them.
DEFAULT = DetectionSettings(
    images=Path("coco/train2017"), annotations=Path("coco/annotations/instances_train2017.json")
)

if __name__ == "__main__":
    run_command(main, DEFAULT, __doc__)
