"""Runs what Markdown pages tell their readers to run."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from recipes import run

OFFICIAL_SHAPES = Path(__file__).parents[1] / "official" / "state_dict_shapes.json"
FENCE = re.compile(r"^```(python|sh)\n(.*?)^```", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A block of a page."""

    language: str
    text: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    """List the blocks of Python and of shell commands of a page."""
    text = page.read_text()
    return [Block(found[1], found[2], text.count("\n", 0, found.start(2))) for found in FENCE.finditer(text)]


def write_official_checkpoint(path: Path) -> None:
    """Write a checkpoint of coc_tiny as the authors publish them, of noise, for pages that read one."""
    shapes = json.loads(OFFICIAL_SHAPES.read_text())["coc_tiny"]
    torch.save({"state_dict": {name: 0.02 * torch.randn(shape) for name, shape in shapes.items()}}, path)


def write_cloud_run(folder: Path) -> None:
    """Write the folder of a run on two classes of clouds, of random weights, and the files that it is asked about."""
    from pointcoc import ContextClusterNet
    from pointcoc.models import CloudTransform, WeightsInfo

    net = ContextClusterNet.from_preset("coc_points_small", num_classes=2)
    transform = CloudTransform(center="mean", scale="unit_ball", num_points=64)
    net.weights_info = WeightsInfo(class_names=("bolt", "nut"), transform=transform)
    net.save_pretrained(folder / "runs" / "mine")
    header = "".join(f"property float {axis}\n" for axis in "xyz")
    corners = "0 0 0\n1 0 0\n0 1 0\n0 0 1\n"
    (folder / "scan.ply").write_text(f"ply\nformat ascii 1.0\nelement vertex 64\n{header}end_header\n{16 * corners}")
    (folder / "part.off").write_text(f"OFF\n4 4 6\n{corners}3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n")


def write_photos(folder: Path) -> None:
    """Write photos/CLASS/*.jpg in two classes, bright and dark noise, and new/*.jpg: 1 and 2 are bright, 3 is dark."""
    random = np.random.default_rng(0)
    files = [(f"photos/{name}/{number}.jpg", low) for name, low in (("day", 120), ("night", 0)) for number in range(24)]
    for name, low in (*files, ("new/1.jpg", 120), ("new/2.jpg", 120), ("new/3.jpg", 0)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(low, low + 130, (30, 40, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name)


def run_blocks(page: Path) -> None:
    """Run a page from top to bottom, as a reader would: the Python blocks and the `pointcoc` commands."""
    names: dict[str, object] = {"__name__": page.stem}
    for block in blocks_of(page):
        if block.language == "python":
            # Empty lines before the code make a traceback name the line of the page.
            exec(compile("\n" * block.line + block.text, str(page), "exec"), names)
        else:
            _run_commands(block.text)


def _run_commands(text: str) -> None:
    lines = text.replace("\\\n", " ").splitlines()  # a backslash joins lines, as in a shell
    commands = [shlex.split(line, comments=True) for line in lines]
    for command in commands:
        if command[:1] == ["pointcoc"]:
            from pointcoc.cli import main

            assert main(command[1:]) in (None, 0), " ".join(command)
        elif command[:2] == ["python", "examples/imagenet.py"] and {"photos", "runs/photos"} < set(command):
            run("imagenet", *command[2:], "--epochs", 3, "--warmup-epochs", 1, "--batch-size", 8)
