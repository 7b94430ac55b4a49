"""The command `visualize`: a picture of the clusters of each input. It needs the extra `viz`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pointcoc.commands import Commands
from pointcoc.commands.inputs import add_inputs, add_overwrite, count_of, find_files, import_viz, traces

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pointcoc.viz.trace import Trace


def add(commands: Commands) -> None:
    """Add the subcommand `visualize`."""
    parser = commands.add_parser(
        "visualize",
        help="write a picture of the clusters of each input",
        description="Write a picture for each input: the input and the clusters of every stage, or with --stage all "
        "blocks and heads of one.",
    )
    add_inputs(parser)
    parser.add_argument("--out", metavar="FOLDER", required=True, help="folder that receives NAME.png for each input")
    add_overwrite(parser)
    parser.add_argument("--stage", type=int, metavar="N", help="draw all blocks and heads of one stage, 1 first")
    parser.add_argument("--block", type=int, metavar="N", help="block of each stage, 1 first; default: the last")
    parser.add_argument("--head", type=int, metavar="N", help="head, 1 first; default: the first")
    parser.add_argument(
        "--kind", choices=("clusters", "similarity"), default="clusters", help="what colors say; default: %(default)s"
    )
    parser.add_argument("--dpi", type=int, default=120, help="dots per inch; default: %(default)s")


def run(options: argparse.Namespace) -> None:
    """Run the subcommand `visualize`."""
    from pointcoc.outputs import OutFolder

    inputs, out = find_files(options), OutFolder(options.out, options.overwrite)
    names = [f"{one.name}.png" for one in inputs]
    out.check(names)
    files = [str(one.path) for one in inputs]
    for name, (file, traced, _) in zip(names, traces(options, files), strict=True):
        with out.file(name) as path:
            _picture(traced, options, Path(file).stem).savefig(path, dpi=options.dpi)
    print(f"wrote {count_of(len(inputs), 'picture')} to {options.out}")


def _picture(traced: Trace, options: argparse.Namespace, name: str) -> Figure:
    figures = import_viz("figures")
    head = 0 if options.head is None else _from_one("head", options.head)
    block = -1 if options.block is None else _from_one("block", options.block)
    if options.stage is None:
        return figures.draw_stages(traced, block, head, options.kind, name)
    stage = _from_one("stage", options.stage)
    if stage >= len(traced.stages):
        raise ValueError(f"--stage {options.stage} does not exist; the network has stages 1 to {len(traced.stages)}")
    for name in ("block", "head"):
        if getattr(options, name) is not None:
            raise ValueError(f"--stage draws all blocks and heads: leave --{name} out")
    return figures.draw_grid(traced, options.kind, "block", "head", stage)


def _from_one(name: str, number: int) -> int:
    if number < 1:
        raise ValueError(f"--{name} counts from 1, got {number}")
    return number - 1
