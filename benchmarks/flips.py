"""Question: how many points change their cluster when a network runs in half precision?

Similarities and the choice of the center are computed in float32 whatever the dtype of the weights, but on features
that half precision has rounded. Runs every image preset in float32, bfloat16 and float16 on the same images and
counts, over all blocks and heads, the points whose center differs::

    python benchmarks/flips.py

How to read it: "first block" sees the rounding of the first reducer alone; "all blocks" also what earlier flips
caused. Weights are noise of order one, of no trained network. "same class" is the share of images whose largest logit
is the same. float32 in another order of summation is there for comparison: the same network on shuffled pixels.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests" / "tools"))

from order_one import order_one_network  # noqa: E402
from tools.made_inputs import waves  # noqa: E402

from pointcoc import PRESETS, ContextClusterNet, image_to_points  # noqa: E402

SIZES = {"coc_nano": 32}
NUM_IMAGES = 16


def main() -> None:
    """Print the table."""
    print(f"torch {torch.__version__}, {NUM_IMAGES} images of noise and waves, weights of order one, seed 0\n")
    print("| preset | against float32 | flips, first block | flips, all blocks | same class |")
    print("| --- | --- | --- | --- | --- |")
    for name in (name for name, config in PRESETS.items() if config.reads_images):
        net = order_one_network(name, torch.float32)
        images = waves(NUM_IMAGES, SIZES.get(name, 224))
        expected = outcome(net, images)
        for kind, found in others(net, images):
            first, every, same = differences(expected, found)
            print(f"| {name} | {kind} | {first:.3%} | {every:.3%} | {same:.0%} |", flush=True)


def others(net: ContextClusterNet, images: Tensor):
    """Yield the name and the outcome of each way to run the network."""
    points = image_to_points(images)
    order = torch.randperm(points.num_points, generator=torch.Generator().manual_seed(1))
    yield "float32, shuffled", outcome(net, points.take(order))
    for dtype in (torch.bfloat16, torch.float16):
        yield str(dtype).removeprefix("torch."), outcome(net.to(dtype), images.to(dtype))
        net.float()


@torch.inference_mode()
def outcome(net: ContextClusterNet, input) -> tuple[list[Tensor], Tensor]:
    """Return the centers of every block, and the class of each image."""
    stages = net.assignments(input)
    return [block.center for stage in stages for block in stage.blocks], net(input).argmax(1)


def differences(expected, found) -> tuple[float, float, float]:
    """Share of flips in the first block and in all, and of images with the same class."""
    differ = [(a != b).float() for a, b in zip(expected[0], found[0], strict=True)]
    every = sum(float(d.sum()) for d in differ) / sum(d.numel() for d in differ)
    return float(differ[0].mean()), every, float((expected[1] == found[1]).float().mean())


if __name__ == "__main__":
    main()
