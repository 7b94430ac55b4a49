"""The command `pointcoc`: its subcommands are the modules of `pointcoc.commands`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pointcoc.checks import notes_as_sentences
from pointcoc.commands import animate, convert, evaluate, explore, export, predict, robustness, visualize
from pointcoc.commands.inputs import CLOUD_ENDINGS
from pointcoc.version import __version__

COMMANDS = {
    "convert": convert,
    "export": export,
    "predict": predict,
    "evaluate": evaluate,
    "explore": explore,
    "visualize": visualize,
    "animate": animate,
    "robustness": robustness,
}
USER_ERRORS = (ValueError, OSError, ImportError)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        args: the arguments, `sys.argv` if not given.

    Returns:
        Exit code: 0, or 2 with one sentence on stderr for a mistake of the user.

    Raises:
        SystemExit: with code 0 after --help and --version, with code 2 for options that cannot be read.
    """
    options = _parser().parse_args(args)
    try:
        with notes_as_sentences():
            COMMANDS[options.command].run(options)
    except USER_ERRORS as error:
        print(f"pointcoc {options.command}: error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "pointcoc",
        description="Context Clusters for images and point clouds.",
        epilog=f"Files of clouds: {CLOUD_ENDINGS}. PLY, LAS, LAZ and meshes (.off, .obj, .stl) need the extra clouds: "
        "pip install 'pointcoc[clouds]'. Images: whatever Pillow reads.",
    )
    parser.add_argument("--version", action="version", version=f"pointcoc {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS.values():
        command.add(commands)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
