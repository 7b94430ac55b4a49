"""From a dataclass of settings to a command line; a mistake of the user ends with one sentence, not a traceback."""

import signal
import sys
from collections.abc import Callable, Sequence
from typing import Protocol, Self, TypeVar

import tyro

from pointcoc.checks import notes_as_sentences
from pointcoc.train.processes import leave_processes
from pointcoc.train.stopping import Stopped


class Shrinking(Protocol):
    """Settings that can be reduced to a run of seconds: `Settings`, or those of a recipe with a loop of its own."""

    def shrink(self) -> Self:
        """The same settings, reduced to a run of seconds if that is asked for."""


S = TypeVar("S", bound=Shrinking)
USER_ERRORS = (ValueError, FloatingPointError, OSError, MemoryError, ImportError)
_STOPPED, _CONTINUES = "stopped", "; the same command with --resume auto continues from the last checkpoint"
SIGNALED = 128  # shells report a program that a signal ended by this and the number of the signal


def run_command(main: Callable[[S], object], default: S, description: str, args: Sequence[str] | None = None) -> None:
    """Read settings from the command line and call `main` with them.

    Args:
        main: the recipe.
        default: the settings whose values the options start from; its fields are the options.
        description: text above the options in `--help`.
        args: the arguments, `sys.argv` if not given.

    Raises:
        SystemExit: with code 2 and a sentence on stderr for an unknown option, a value outside its range, a wrong path
            or a checkpoint that does not fit, and for what ends a run: a loss that is not finite, no memory, a full
            disk; with code 130 for Ctrl-C and 143 for SIGTERM, after the run was saved.
    """
    try:
        settings = tyro.cli(
            type(default), default=default, args=args, description=description, config=(tyro.conf.FlagCreatePairsOff,)
        )
        with notes_as_sentences():
            main(settings.shrink())
    except USER_ERRORS as error:
        _exit(2, f"error: {error}")
    except Stopped as stop:
        _exit(SIGNALED + stop.number, str(stop))
    except KeyboardInterrupt:
        _exit(SIGNALED + signal.SIGINT, _STOPPED + (_CONTINUES if hasattr(default, "resume") else ""))
    finally:
        leave_processes()


def _exit(code: int, sentence: str) -> None:
    print(sentence, file=sys.stderr)
    raise SystemExit(code)
