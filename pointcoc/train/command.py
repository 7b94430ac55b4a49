"""From a dataclass of settings to a command line; a mistake of the user ends with one sentence, not a traceback."""

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import tyro

from pointcoc.train.settings import Settings

S = TypeVar("S", bound=Settings)
USER_ERRORS = (ValueError, FloatingPointError, FileNotFoundError, FileExistsError, NotADirectoryError, ImportError)
STOPPED = 130  # what shells report for a program that Ctrl-C ended


def run_command(main: Callable[[S], object], default: S, description: str, args: Sequence[str] | None = None) -> None:
    """Read settings from the command line and call `main` with them.

    Args:
        main: the recipe.
        default: the settings whose values the options start from; its fields are the options.
        description: text above the options in `--help`.
        args: the arguments, `sys.argv` if not given.

    Raises:
        SystemExit: with code 2 and a sentence on stderr for an unknown option, a value outside its range, a wrong path
            or a checkpoint that does not fit; with code 130 for Ctrl-C.
    """
    try:
        settings = tyro.cli(
            type(default), default=default, args=args, description=description, config=(tyro.conf.FlagCreatePairsOff,)
        )
        main(settings.shrink())
    except USER_ERRORS as error:
        _exit(2, f"error: {error}")
    except KeyboardInterrupt:
        _exit(STOPPED, "stopped; the same command with --resume continues after the last whole epoch")


def _exit(code: int, sentence: str) -> None:
    print(sentence, file=sys.stderr)
    raise SystemExit(code)
