"""Checks of arguments, and importing the packages of extras."""

import importlib
import sys
import warnings
from collections.abc import Iterator, Sequence, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class InputWarning(UserWarning):
    """What a user should know about an input that was read all the same: what was assumed, left out or repaired."""


@contextmanager
def notes_as_sentences() -> Iterator[None]:
    """Print each `InputWarning` as one line on stderr, `note: ...`, without the line of code that gave it."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", InputWarning)
        show_other = warnings.showwarning

        def show(message: Warning | str, *rest: Any, **more: Any) -> None:
            if isinstance(message, InputWarning):
                print(f"note: {message}", file=sys.stderr)
            else:
                show_other(message, *rest, **more)

        warnings.showwarning = show
        yield


def check_choice(argument: str, value: object, choices: Sequence[str]) -> None:
    """Raise unless `value` is one of `choices`.

    Args:
        argument: name of the argument, for the message.
        value: what came.
        choices: what is allowed.

    Raises:
        ValueError: the message holds the value and all choices.
    """
    if value not in choices:
        raise ValueError(f"unknown {argument} {value!r}; choose from {', '.join(choices)}")


def check_count(argument: str, value: object, minimum: int = 1) -> None:
    """Raise unless `value` is an integer of at least `minimum`.

    Args:
        argument: name of the argument, for the message.
        value: what came.
        minimum: smallest number allowed.

    Raises:
        ValueError: the message holds the value and the minimum.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"{argument} must be an integer of at least {minimum}, got {value!r}")


def check_range(argument: str, value: float, low: float, high: float | None = None) -> None:
    """Raise unless `value` lies between two bounds, both allowed.

    Args:
        argument: name of the argument, for the message.
        value: what came; NaN is never allowed.
        low: smallest number allowed.
        high: largest number allowed; None for no limit.

    Raises:
        ValueError: the message holds the value and the bounds.
    """
    if not low <= value <= (value if high is None else high):
        allowed = f"at least {low}" if high is None else f"in [{low}, {high}]"
        raise ValueError(f"{argument} must be {allowed}, got {value}")


def check_filled(argument: str, value: Sized, entry: str) -> None:
    """Raise if a collection holds nothing.

    Args:
        argument: name of the argument, for the message.
        value: what came.
        entry: what it must hold at least one of, for the message: "image".

    Raises:
        ValueError: the message says what to give.
    """
    if len(value) == 0:
        raise ValueError(f"{argument} is empty; give at least one {entry}")


def check_folder(argument: str, folder: str | Path) -> Path:
    """Return `folder` as a path and raise unless it is an existing folder.

    Args:
        argument: name of the argument, for the message.
        folder: what came; a leading `~` is expanded.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: if nothing lies there.
        NotADirectoryError: if something else than a folder lies there.
    """
    path = Path(folder).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{argument} must be an existing folder, but nothing lies at {path}")
    if not path.is_dir():
        raise NotADirectoryError(f"{argument} must be a folder, but {path} is a file")
    return path


def check_file(path: str | Path, message: str | None = None) -> None:
    """Raise unless `path` is an existing file.

    Args:
        path: what came.
        message: says what is missing; the path alone if not given.

    Raises:
        FileNotFoundError: if no file lies there.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(message or f"{path} is not a file")


def import_extra(module: str, extra: str = "train", needs: str = "this data set needs") -> Any:
    """Import a module of a package that comes with an extra, or a module of ours that needs such packages.

    Args:
        module: dotted name of the module.
        extra: name of the extra.
        needs: subject and verb of the message: "this data set needs", "pictures need".

    Returns:
        The module.

    Raises:
        ImportError: if the package is not installed; the message says what needs it and how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package, missing = module.partition(".")[0], error.name or module
        is_extra = not missing.startswith("pointcoc") if package == "pointcoc" else missing == package
        if not is_extra:  # the package is there and lacks something of its own
            raise
        raise ImportError(f"{needs} {missing}; install it with: pip install 'pointcoc[{extra}]'") from error


def check_not_recorded() -> None:
    """Raise RuntimeError under torch.jit.trace, which would record the geometry of one input as constants."""
    import torch

    if torch.jit.is_tracing():
        raise RuntimeError(
            "torch.jit.trace and the old ONNX exporter (dynamo=False) cannot record point sets: use "
            "pointcoc.export.export_network, torch.export.export(net, (input,), strict=False), or "
            "torch.onnx.export(net, (input,), path, dynamo=True)"
        )
