"""The command `convert`: an official checkpoint becomes a folder for `from_pretrained`."""

import argparse

from pointcoc.commands import Commands
from pointcoc.models.convert import convert_official
from pointcoc.models.weights import DOWNLOADS
from pointcoc.ops.options import NORMALIZERS


def add(commands: Commands) -> None:
    """Add the subcommand `convert`."""
    parser = commands.add_parser(
        "convert",
        help="turn an official checkpoint into a folder for from_pretrained",
        description=f"Read a checkpoint of {DOWNLOADS} and write model.safetensors, config.json and a model card.",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="file of the authors, such as coc_tiny.pth.tar")
    parser.add_argument(
        "out",
        metavar="OUT",
        nargs="?",
        help="folder to write; default: $POINTCOC_HOME/PRESET or ~/.cache/pointcoc/PRESET, where "
        "from_preset(..., pretrained=True) looks",
    )
    parser.add_argument("--preset", metavar="PRESET", help="whose weights; needed where the shapes fit several presets")
    parser.add_argument(
        "--normalizer",
        choices=NORMALIZERS,
        help="'similarity' for the weights of 2024, 'count' for earlier ones; needed unless the file is of 2023",
    )
    parser.add_argument("--force", action="store_true", help="replace a folder that was written before")


def run(options: argparse.Namespace) -> None:
    """Run the subcommand `convert`."""
    folder, net = convert_official(options.checkpoint, options.out, options.preset, options.normalizer, options.force)
    num_parameters = sum(parameter.numel() for parameter in net.parameters())
    print(f"wrote {folder}: {num_parameters:,} parameters, normalizer {net.config.normalizer}")
    print(f"load it with ContextClusterNet.from_pretrained({str(folder)!r})")
