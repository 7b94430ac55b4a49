"""Question: at which image sizes does coc_tiny run, forward and backward, and at which does the authors' code?

Prints a Markdown table of 60 sizes, the table of docs/sizes.md::

    OMP_NUM_THREADS=1 python benchmarks/sizes.py

How to read it: "runs" means that the logits and the gradient of every parameter are there and finite (float32,
evaluation mode, one image of noise). The authors' code is not run: `official_answer` applies its rules, which are

- the first reducer is a convolution of 4 x 4 sites with stride 4 and no padding: a side below 4 fails, and the 1 to 3
  last rows or columns of a side that is not a multiple of 4 are not seen;
- the other reducers are convolutions of 3 x 3 sites with stride 2 and padding 1: a side of n becomes ceil(n / 2);
- a stage folds its map into regions by a reshape: a side that is not a multiple of the regions per axis fails.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence

import torch

from pointcoc import PRESETS, ContextClusterNet

PRESET = "coc_tiny"
LISTED = """
1x1 1x2 2x1 2x2 3x3 4x4 5x5 1x7 7x1 7x7
8x8 15x15 16x16 17x17 24x24 28x28 31x31 32x32 33x33 32x48
1x224 224x1 3x500 500x3 2x1344 800x2 4x1000 1000x4 13x700 700x13
64x64 96x96 97x97 100x100 101x103 128x128 127x129 160x160 192x256 199x211
223x224 224x223 224x224 225x225 226x226 228x228 240x240 256x256 257x263 288x288
300x400 320x480 384x384 427x640 512x512 480x854 600x800 720x1279 800x1344 1344x800
"""
SIZES = tuple(tuple(map(int, size.split("x"))) for size in LISTED.split())  # (height, width)


def main() -> None:
    """Print one row a size, then what it was measured with."""
    torch.manual_seed(0)
    net = ContextClusterNet.from_preset(PRESET).eval()
    print("| height x width | pointcoc | the authors' code |\n| --- | --- | --- |")
    for size in SIZES:
        print(f"| {_times(size)} | {our_answer(net, size)} | {official_answer(size)} |", flush=True)
    print(f"\n{PRESET}, torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}")


def our_answer(net: ContextClusterNet, size: Sequence[int]) -> str:
    """Run one image of noise forward and backward; say "runs", or what is not finite."""
    net.zero_grad(set_to_none=True)
    logits = net(torch.randn(1, net.config.in_channels, *size))
    if not logits.isfinite().all():
        return "fails: logits are not finite"
    logits.square().sum().backward()
    wrong = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    return f"fails: no finite gradient of {', '.join(wrong)}" if wrong else "runs"


def official_answer(size: Sequence[int], preset: str = PRESET) -> str:
    """Say what the authors' code does with an image: "runs", what it drops, or where it fails; from its rules."""
    if min(size) < 4:
        return f"fails: the first reducer needs 4 x 4 pixels, got {_times(size)}"
    grid = [n // 4 for n in size]
    for stage, regions in enumerate(PRESETS[preset].regions, start=1):
        if any(n % regions for n in grid):
            return f"fails: the {_times(grid)} map of stage {stage} is not divisible by {regions}"
        grid = [(n + 1) // 2 for n in grid]
    dropped = [_count(n % 4, what) for n, what in zip(size, ("row", "column"), strict=True) if n % 4]
    return f"drops {' and '.join(dropped)}" if dropped else "runs"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number > 1 else ''}"


def _times(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))


if __name__ == "__main__":
    main()
