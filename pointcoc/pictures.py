"""The commands that show clusters: explore, visualize, animate. They need the extra `viz`."""

from __future__ import annotations

import argparse
import importlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pointcoc.viz.trace import Trace

Commands = Any  # argparse does not name the type of its subparsers
INPUTS = "image (PNG, JPEG, ...) or cloud (.npy, .npz, .ply, .xyz, .txt, .pts, .h5)"


def add_explore(commands: Commands) -> None:
    """Add the subcommand `explore`."""
    parser = commands.add_parser(
        "explore",
        help="write one HTML page in which clusters light up under the pointer",
        description="Write one HTML page with everything inside: choose input, stage, block and head; point at a point "
        "to see its cluster and its center; turn clouds and zoom into them.",
    )
    _add_inputs(parser)
    parser.add_argument("--out", metavar="FILE.html", required=True, help="page to write")
    parser.set_defaults(run=_explore)


def _explore(options: argparse.Namespace) -> None:
    explore, out = _viz("explore"), Path(options.out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--out must be the name of an HTML page, such as page.html, got {out}")
    files = _files(options.inputs)
    networks = _viz("shipped").Networks(options.weights)
    exhibits = [
        explore.Exhibit(name, _trace(file, networks, options), networks.describe(file))
        for name, file in _progress(list(zip(_names(files), files, strict=True)))
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(explore.explore_page(exhibits), encoding="utf-8")
    print(f"wrote {out}: {_count(len(files), 'input')}, {out.stat().st_size / 1e6:.1f} MB; open it in a browser")


def add_visualize(commands: Commands) -> None:
    """Add the subcommand `visualize`."""
    parser = commands.add_parser(
        "visualize",
        help="write a picture of the clusters of each input",
        description="Write a picture for each input: the input and the clusters of every stage, or with --stage all "
        "blocks and heads of one.",
    )
    _add_inputs(parser)
    parser.add_argument("--out", metavar="FOLDER", required=True, help="folder that receives NAME.png for each input")
    parser.add_argument("--stage", type=int, metavar="N", help="draw all blocks and heads of one stage, 1 first")
    parser.add_argument("--block", type=int, metavar="N", help="block of each stage, 1 first; default: the last")
    parser.add_argument("--head", type=int, metavar="N", help="head, 1 first; default: the first")
    parser.add_argument(
        "--kind", choices=("clusters", "similarity"), default="clusters", help="what colors say; default: %(default)s"
    )
    parser.add_argument("--dpi", type=int, default=120, help="dots per inch; default: %(default)s")
    parser.set_defaults(run=_visualize)


def _visualize(options: argparse.Namespace) -> None:
    files, out = _files(options.inputs), Path(options.out)
    names = [Path(name).stem for name in _names(files)] if len(set(files)) == len(files) else []
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice or not names:
        raise ValueError(f"pictures are named like their inputs; {(twice or files)[0]} is there twice")
    networks = _viz("shipped").Networks(options.weights)
    out.mkdir(parents=True, exist_ok=True)
    for name, file in _progress(list(zip(names, files, strict=True))):
        _picture(_trace(file, networks, options), options, name).savefig(out / f"{name}.png", dpi=options.dpi)
    print(f"wrote {_count(len(files), 'picture')} to {out}")


def _picture(traced: Trace, options: argparse.Namespace, name: str) -> Figure:
    figures = _viz("figures")
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


def add_animate(commands: Commands) -> None:
    """Add the subcommand `animate`."""
    parser = commands.add_parser(
        "animate",
        help="join the maps that a training run saved into a GIF or MP4",
        description="Join the pictures that `pointcoc.viz.EpochMaps` saved, one an epoch, into a GIF "
        "or MP4: that of one input.",
    )
    parser.add_argument("folder", metavar="FOLDER", help="folder of the maps")
    parser.add_argument("--out", metavar="FILE", required=True, help="animation to write, .gif or .mp4")
    parser.add_argument("--input", metavar="NAME", help="which input; needed where the folder holds several")
    parser.add_argument("--seconds", type=float, default=0.4, help="of each epoch; default: %(default)s")
    parser.set_defaults(run=_animate)


def _animate(options: argparse.Namespace) -> None:
    count = _viz("animate").animate(options.folder, options.out, options.input, options.seconds)
    print(f"wrote {options.out}: {_count(count, 'epoch')}")


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help=INPUTS)
    parser.add_argument(
        "--weights",
        metavar="PATH",
        help="folder of a run, or one that save_pretrained or `pointcoc convert` wrote; default: small networks that "
        "ship with pointcoc",
    )
    parser.add_argument(
        "--size", type=int, default=224, help="longer side that images get, in pixels; default: %(default)s"
    )
    parser.add_argument(
        "--points",
        type=int,
        default=2048,
        help="most points of a cloud; of more, this many are drawn at random; default: %(default)s",
    )


def _files(inputs: list[str]) -> list[str]:
    """Return the inputs after a look whether they are there, before any work is done."""
    for name in inputs:
        if not Path(name).is_file():
            raise FileNotFoundError(f"{name} is not a file")
    return inputs


def _names(files: list[str]) -> list[str]:
    """Name files by their last part, by the whole path where that is not unique."""
    count = Counter(Path(file).name for file in files)
    return [Path(file).name if count[Path(file).name] == 1 else file for file in files]


def _trace(file: str, networks: Any, options: argparse.Namespace) -> Trace:
    return _viz("inputs").trace_file(file, networks.of(file), options.size, options.points)


def _from_one(name: str, number: int) -> int:
    if number < 1:
        raise ValueError(f"--{name} counts from 1, got {number}")
    return number - 1


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _progress(items: list[Any]) -> Any:
    """Show a bar for several items where people watch."""
    from tqdm import tqdm

    return tqdm(items, disable=None if len(items) > 1 else True, unit="input")


def _viz(module: str) -> Any:
    try:
        return importlib.import_module(f"pointcoc.viz.{module}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("pointcoc"):
            raise
        raise ImportError(f"pictures need {error.name}; install it with: pip install 'pointcoc[viz]'") from error
