"""Old names of public functions and classes, accepted for one release."""

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def moved(module: str, new_names: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module whose old names still work, each with a warning.

    Args:
        module: name of the module.
        new_names: full new name of each old one.
    """

    def find(name: str) -> Any:
        if name not in new_names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, _, new_name = new_names[name].rpartition(".")
        warn_old(f"{module}.{name}", new_names[name])
        return getattr(importlib.import_module(home), new_name)

    return find


def warn_old(old: str, new: str) -> None:
    """Warn the caller's caller that an old name is used.

    Args:
        old: the name.
        new: what to use instead.
    """
    warnings.warn(f"{old} goes with the next release: use {new}", DeprecationWarning, stacklevel=3)
