"""Optional compiled packages: torch-scatter and torch-cluster make things faster, never possible.

This file alone imports them. Set the environment variable POINTCOC_DISABLE_EXTENSIONS to "1", or to names separated by
commas, and the plain torch paths run instead, with the same results away from ties.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import warnings
from types import ModuleType

import torch

NAMES = ("torch_scatter", "torch_cluster")


def extension(name: str) -> ModuleType | None:
    """Return the optional package, or None where it is not installed, disabled, or a graph is being traced."""
    assert name in NAMES, name
    if torch.compiler.is_compiling() or _is_disabled(name):
        return None
    return _load(name)


def why_not(name: str) -> str | None:
    """Return why a package cannot be used, as a sentence, or None if it can."""
    if extension(name) is not None:
        return None
    if torch.compiler.is_compiling():
        return f"{name} cannot be traced by torch.compile"
    if _is_disabled(name):
        return f"{name} is disabled by POINTCOC_DISABLE_EXTENSIONS"
    return f"{name} is not installed or does not load; pip install 'pointcoc[points]' builds it"


def _is_disabled(name: str) -> bool:
    disabled = os.environ.get("POINTCOC_DISABLE_EXTENSIONS", "")
    return disabled == "1" or name in disabled.split(",")


@functools.cache
def _load(name: str) -> ModuleType | None:
    if importlib.util.find_spec(name) is None:
        return None
    try:
        with warnings.catch_warnings():
            # torch-cluster and torch-scatter use torch.jit.script, which torch has deprecated.
            warnings.simplefilter("ignore", DeprecationWarning)
            return importlib.import_module(name)
    except (OSError, ImportError) as error:  # built for another torch
        warnings.warn(f"{name} is installed but does not load ({error}); plain torch is used", stacklevel=3)
        return None
