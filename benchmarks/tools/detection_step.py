"""Training steps of Mask R-CNN: our backbones beside torchvision's ResNet-50."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pointcoc.detection import mask_rcnn
from tools.costs import peak_bytes
from tools.timing import free_memory, summary, take_turns

BACKBONES: tuple[tuple[str, int | None], ...] = (
    ("coc_small", 2),
    ("coc_small", 7),
    ("coc_medium", 2),
    ("resnet50", None),
)
NUM_CLASSES, NUM_OBJECTS = 91, 8


def detection_rows(size: tuple[int, int], turns: int, device: torch.device) -> list[dict[str, Any]]:
    """Seconds and peak memory of one step (forward, backward, AdamW) on one image with eight objects, float32.

    Args:
        size: height and width of the image; it is not resized.
        turns: runs of which the median counts; the networks take turns.
        device: where to run. The peak is that of what a step allocates: activations, gradients, temporaries. Weights
            and the state of the optimizer, three times the parameters, come on top.
    """
    image, target = scene(size, device)
    steps, rows = {}, []
    for backbone, centers in BACKBONES:
        model = make(backbone, centers, size).to(device)
        name = backbone if centers is None else f"{backbone}, {centers**2} centers"
        steps[name] = step_of(model, image, target)
        row = {
            "network": name,
            "height": size[0],
            "width": size[1],
            "parameters": sum(p.numel() for p in model.parameters()),
        }
        steps[name]()  # the optimizer makes its state in the first step
        rows.append(row | {"peak_bytes": peak_bytes(steps[name], device)})
    seconds = take_turns(steps, turns, device)
    free_memory()
    return [row | summary(seconds[row["network"]]) for row in rows]


def make(backbone: str, centers: int | None, size: tuple[int, int]) -> nn.Module:
    """Make a detector with random weights that takes images of a size as they are."""
    torch.manual_seed(0)
    model = mask_rcnn(backbone, num_classes=NUM_CLASSES, centers=centers, min_size=min(size), max_size=max(size))
    return model.train()


def scene(size: tuple[int, int], device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
    """Draw an image (3, H, W) and eight objects that fill their boxes."""
    generator = torch.Generator().manual_seed(0)
    height, width = size
    scale = torch.tensor([width, height], dtype=torch.float32)
    corner = torch.rand(NUM_OBJECTS, 2, generator=generator) * 0.6
    extent = 0.1 + 0.3 * torch.rand(NUM_OBJECTS, 2, generator=generator)
    boxes = torch.cat([corner * scale, (corner + extent) * scale], 1)
    masks = torch.zeros(NUM_OBJECTS, height, width, dtype=torch.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes.round().int().tolist(), strict=True):
        mask[top:bottom, left:right] = 1
    labels = torch.randint(1, NUM_CLASSES, (NUM_OBJECTS,), generator=generator)
    target = {"boxes": boxes, "labels": labels, "masks": masks}
    image = torch.rand(3, height, width, generator=generator)
    return image.to(device), {name: value.to(device) for name, value in target.items()}


def step_of(model: nn.Module, image: Tensor, target: dict[str, Tensor]) -> Callable[[], float]:
    """Return one training step; its boxes are drawn with the same seed each time."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)

    def step() -> float:
        torch.manual_seed(0)
        loss = torch.stack(list(model([image], [target]).values())).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()  # at the end, so that the next step allocates its gradients
        return loss.item()

    return step
