"""Question: do JPEG files come fast enough for the network?

Decodes and augments real photographs as the ImageNet recipe does (`examples/imagenet.py`: random resized crop to 224,
mirror, RandAugment, erasing) with 0, 1 and 2 worker processes, nobody reading but the clock, beside inference and
training steps of a network on images in memory. All take turns in one process; medians of whole passes::

    OMP_NUM_THREADS=2 python benchmarks/pipeline.py --data FOLDER        # any folder of JPEG files, such as train2017/

How to read it: where the loader's rate is below that of training, training waits for data. The second table says how
many times as fast as the network the loader is. Without a GPU both share the cores, and training with files gets less
than either rate: with all cores busy about 1 / (1 / training + 1 / loader) images a second.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from timm.data import create_transform
from tools.machine import load, machine
from tools.report import markdown
from tools.timing import summary, take_turns
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from pointcoc import ContextClusterNet
from pointcoc.data import keep_posterize_bits

RESULTS = Path(__file__).parent / "results"
CPU = torch.device("cpu")
ENDINGS = (".jpg", ".jpeg")


class Files(Dataset):
    """Images of a folder, read and augmented at every visit; starts anew until there are `num`.

    Args:
        folder: searched for JPEG files, with all folders in it.
        num: length of the data set.
        size: height and width of the augmented images.

    Raises:
        ValueError: if the folder holds no JPEG files.
    """

    def __init__(self, folder: Path, num: int, size: int) -> None:
        self.files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in ENDINGS)
        if not self.files:
            raise ValueError(f"--data must be a folder with JPEG files ({', '.join(ENDINGS)}), {folder} holds none")
        self.num, self.transform = num, recipe_transform(size)

    def __len__(self) -> int:
        """Return the number of visits."""
        return self.num

    def __getitem__(self, index: int) -> Tensor:
        """Return an augmented image (3, size, size)."""
        with Image.open(self.files[range(self.num)[index] % len(self.files)]) as image:
            return self.transform(image.convert("RGB"))


def recipe_transform(size: int) -> Callable[[Image.Image], Tensor]:
    """Return the augmentation of the ImageNet recipe."""
    transform = create_transform(
        size,
        is_training=True,
        interpolation="bicubic",
        color_jitter=None,  # type: ignore[arg-type]  # timm documents None as none
        auto_augment="rand-m9-mstd0.5-inc1",
        re_prob=0.25,
        re_mode="pixel",
    )
    return keep_posterize_bits(transform)


def main(args: Sequence[str] | None = None) -> None:
    """Measure, print and save the table."""
    options = parse(args)
    before = load()
    torch.manual_seed(0)
    dataset = Files(options.data, options.batch * options.batches, options.size)
    runs = {f"loader, {workers} workers": passes(dataset, workers, options) for workers in options.workers}
    images = dict.fromkeys(runs, len(dataset))
    steps = network_steps(options)
    images |= dict.fromkeys(steps, options.batch)
    seconds = take_turns(runs | steps, options.turns, CPU)
    results = {
        "command": options.command, "date": date.today().isoformat(), "machine": machine(CPU), "load_before": before,
        "load_after": load(), "files": len(dataset.files), "network": options.network, "batch": options.batch,
        "size": options.size, "images": images,
        "rows": {name: summary(times, images[name]) for name, times in seconds.items()},
    }  # fmt: skip
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "pipeline.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.results / "pipeline.md").write_text(render(results))
    print(render(results))


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; a mistake ends with a sentence."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of JPEG files")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], help="worker processes of the loader")
    parser.add_argument("--network", default="coc_tiny", help="preset of images")
    parser.add_argument("--size", type=int, default=224, help="height and width of the augmented images")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--batches", type=int, default=8, help="batches of a pass of the loader")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of pipeline.md and pipeline.json")
    options = parser.parse_args(args)
    options.command = f"python benchmarks/pipeline.py {shlex.join(sys.argv[1:] if args is None else args)}"
    if min(options.workers) < 0 or min(options.size, options.batch, options.batches, options.turns) < 1:
        parser.error("--workers must be at least 0; --size, --batch, --batches and --turns at least 1")
    if not options.data.is_dir():
        parser.error(f"--data must be a folder with JPEG files, got {options.data}")
    return options


def passes(dataset: Files, workers: int, options: argparse.Namespace) -> Callable[[], object]:
    """Return a function that loads every batch once; worker processes live on between passes."""
    loader = DataLoader(dataset, options.batch, num_workers=workers, persistent_workers=workers > 0)
    return lambda: sum(len(images) for images in loader)


def network_steps(options: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """Return inference and training steps of the network on random images in memory, in two precisions."""
    images = torch.randn(options.batch, 3, options.size, options.size)
    steps: dict[str, Callable[[], object]] = {}
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        fused = ContextClusterNet.from_preset(options.network).eval().fuse().to(dtype)
        steps[f"inference, {name}"] = inference(fused, images.to(dtype))
        steps[f"training, {name}"] = training(ContextClusterNet.from_preset(options.network), images, dtype)
    return steps


def inference(net: nn.Module, images: Tensor) -> Callable[[], object]:
    """Return a function that classifies a batch."""
    return torch.inference_mode()(lambda: net(images))


def training(net: nn.Module, images: Tensor, dtype: torch.dtype) -> Callable[[], object]:
    """Return a function that does an update: forward (by autocast), backward, AdamW."""
    optimizer = torch.optim.AdamW(net.train().parameters())
    labels = torch.zeros(len(images), dtype=torch.long)

    def step() -> None:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            logits = net(images)
        optimizer.zero_grad()
        cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    return step


def render(results: dict[str, Any]) -> str:
    """Markdown: what was run where, all rates, and those of loaders over those of the network."""
    rows = results["rows"]
    rates = [
        (name, *(f"{results['images'][name] / row[key]:.1f}" for key in ("seconds", "high", "low")))
        for name, row in rows.items()
    ]
    loaders, steps = ([n for n in rows if n.startswith("loader") == is_loader] for is_loader in (True, False))
    ratios = [
        (name, *(f"{rows[name]['per_second'] / rows[step]['per_second']:.2f}" for step in steps)) for name in loaders
    ]
    title = f"# Input pipeline beside {results['network']}, images of {results['size']} x {results['size']}"
    lines = [title, "", f"Command: `{results['command']}`, {results['date']}.", ""]
    lines += [f"- {name}: {value}" for name, value in results["machine"].items()]
    lines += [f"- {results['files']} JPEG files, batches of {results['batch']}"]
    lines += [f"- load before: {results['load_before']}; after: {results['load_after']}", ""]
    lines += [*markdown(("images a second", "median", "lower quartile", "upper quartile"), rates), ""]
    return "\n".join([*lines, *markdown(("loader over network", *steps), ratios)]) + "\n"


if __name__ == "__main__":
    main()
