"""Runs what Markdown pages tell their readers to run."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import torch

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
