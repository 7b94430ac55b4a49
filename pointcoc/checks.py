"""Checks of arguments, and importing the packages of extras."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


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


def import_train_extra(module: str) -> Any:
    """Import a module of a package that comes with the extra `train`; see `import_extra`.

    Args:
        module: dotted name of the module.
    """
    return import_extra(module, "train")


def import_extra(module: str, extra: str, what: str = "this data set") -> Any:
    """Import a module of a package that comes with an extra, or one of ours that imports such packages.

    Args:
        module: dotted name of the module.
        extra: name of the extra.
        what: subject of the message, which needs the package.

    Returns:
        The module.

    Raises:
        ImportError: if the package is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package, missing = module.partition(".")[0], error.name
        # Of a package that is there and lacks something of its own, and of a module of ours, this is no news.
        if missing is None or missing.startswith("pointcoc") or package not in ("pointcoc", missing):
            raise
        raise ImportError(f"{what} needs {missing}; install it with: pip install 'pointcoc[{extra}]'") from error


def renamed(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Make the `__getattr__` of a module in which names were changed: old ones work for one release, with a warning.

    Args:
        module: its `__name__`.
        names: old names and the new ones.
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warnings.warn(f"{module}.{name} is now called {names[name]}", DeprecationWarning, stacklevel=2)
        return getattr(sys.modules[module], names[name])

    return find
