"""The command `animate`: the maps that a training run saved become a GIF or MP4. It needs the extra `viz`."""

import argparse

from pointcoc.commands import Commands
from pointcoc.commands.inputs import count_of, import_viz


def add(commands: Commands) -> None:
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


def run(options: argparse.Namespace) -> None:
    """Run the subcommand `animate`."""
    count = import_viz("animate").animate(options.folder, options.out, options.input, options.seconds)
    print(f"wrote {options.out}: {count_of(count, 'epoch')}")
