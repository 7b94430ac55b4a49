"""Inputs of the commands that show clusters, and what they say about them."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointcoc.checks import check_file, import_extra

if TYPE_CHECKING:
    from pointcoc.data.input_files import Input
    from pointcoc.viz.trace import Trace

# Those of pointcoc.data.cloud_files, which imports more than a help page needs.
CLOUD_ENDINGS = (
    ".ply, .las, .laz, .pcd, .off, .obj, .stl, .bin, .npy, .npz, .h5, .hdf5, .txt, .xyz, .asc, .csv, .pts, .ptx"
)


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which inputs are read, by which network, and how large."""
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="+",
        help=f"image (PNG, JPEG, ...) or cloud ({CLOUD_ENDINGS}); folders of them, and globs such as 'photos/*.jpg'",
    )
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
        help="most points of a cloud; of more, this many are drawn at random; default: as many as the network was "
        "trained on, 2048 where the weights do not say it",
    )
    add_columns(parser)


def add_columns(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what the columns of clouds in text and arrays are."""
    parser.add_argument(
        "--columns",
        metavar="NAME",
        nargs="+",
        help="what the columns of a text or array are where the file does not say it: x y z, r g b, nx ny nz, "
        "intensity, return_number, label, and _ for one to skip",
    )
    parser.add_argument("--decimal", metavar="MARK", default=".", help="decimal mark of text; default: %(default)s")


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add the option that lets results replace files that no earlier call wrote."""
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace files in the folder of the results that no earlier call wrote; otherwise they are kept",
    )


def distinct_names(files: list[str]) -> list[str]:
    """Name files by their last part, by the whole path where that is not unique."""
    count = Counter(Path(file).name for file in files)
    return [Path(file).name if count[Path(file).name] == 1 else file for file in files]


def find_files(options: argparse.Namespace) -> list[Input]:
    """Return the files that are meant; all are looked for before any work is done."""
    from pointcoc.data.input_files import find_inputs

    found = find_inputs(options.inputs)
    for one in found:
        check_file(one.path)
    return found


def traces(options: argparse.Namespace, files: Sequence[str]) -> Iterator[tuple[str, Trace, str]]:
    """Run a network on each file: its name, what the blocks did, and a sentence about the network.

    Where people watch, several of them get a bar.
    """
    networks = import_viz("shipped").Networks(options.weights)
    tqdm = import_extra("tqdm", "viz", "this command needs").tqdm
    for file in tqdm(files, disable=None if len(files) > 1 else True, unit="input"):
        traced = import_viz("inputs").trace_file(
            file, networks.of(file), options.size, options.points, options.columns, options.decimal
        )
        yield file, traced, networks.describe(file)


def count_of(number: int, word: str) -> str:
    """Say a number of things: "1 input", "2 inputs"."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def import_viz(module: str) -> Any:
    """Import a module of `pointcoc.viz`, or say how to install what it needs."""
    return import_extra(f"pointcoc.viz.{module}", "viz", "this command needs")
