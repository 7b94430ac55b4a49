"""Optional compiled packages: torch-scatter and torch-cluster make things faster, never possible.

This file alone imports them. Set the environment variable POINTCOC_DISABLE_EXTENSIONS to "1", or to names separated by
commas, and the plain torch paths run instead, with the same results away from ties.
"""

import functools
import importlib
import importlib.util
import os
import warnings
from types import ModuleType

import torch

NAMES = ("torch_scatter", "torch_cluster")


def extension(name: str, device: torch.device | None = None) -> ModuleType | None:
    """Return the optional package, or None where it cannot be used.

    Args:
        name: "torch_scatter" or "torch_cluster".
        device: where the tensors are; a package that was built without CUDA is of no use on a GPU.

    Returns:
        None where it is not installed or disabled, a graph is being traced, or it was not built for the device.
    """
    assert name in NAMES, name
    disabled = os.environ.get("POINTCOC_DISABLE_EXTENSIONS", "")
    if torch.compiler.is_compiling() or disabled == "1" or name in disabled.split(","):
        return None
    module = _load(name)
    return module if module is not None and _serves(name, device) else None


def _serves(name: str, device: torch.device | None) -> bool:
    kind = "cpu" if device is None else device.type
    return kind == "cpu" or (kind == "cuda" and getattr(torch.ops, name).cuda_version() != -1)


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
