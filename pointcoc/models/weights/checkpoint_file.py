"""Reading checkpoints as plain tensors, and saying in what they differ from the state a network expects."""

import argparse
import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from pointcoc.files import first_line

# Of a file that holds both, the moving average is taken, as timm does.
WRAPPERS = ("state_dict_ema", "state_dict", "model", "net")
MOST_SHOWN = 6
Renames = Sequence[tuple[str, str | Callable[[re.Match[str]], str]]]  # pattern and replacement
# Training scripts of timm's kind, the authors' too, store their options; reading those runs no code.
HARMLESS: list[Any] = [argparse.Namespace]
UNREADABLE = (  # what the readers raise on truncated files
    safetensors.SafetensorError,
    zipfile.BadZipFile,
    struct.error,
    EOFError,
    LookupError,
    RuntimeError,
    OSError,
)


@contextmanager
def reading(
    path: Path, content: str, errors: type[Exception] | tuple[type[Exception], ...] = Exception
) -> Iterator[None]:
    """Raise FileNotFoundError unless a file is there, and ValueError if the block cannot read it.

    Args:
        path: the file.
        content: what it must hold, for the error.
        errors: what the readers in the block raise on damaged files; they have no common class.
    """
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} is not a file")
    try:
        yield
    except errors as error:
        raise ValueError(
            f"checkpoint {path} is truncated or not a checkpoint: found {path.stat().st_size:,} bytes that do not read "
            f"as {content} ({first_line(error)})"
        ) from error


def load_checkpoint(checkpoint: str | Path | Mapping[str, Any]) -> Mapping[str, Any]:
    """Read a checkpoint as plain tensors; a mapping is returned as it is.

    Raises:
        ValueError: if the file is truncated, holds no mapping, or could run code.
        FileNotFoundError: if there is no such file.
    """
    if isinstance(checkpoint, Mapping):
        return checkpoint
    path = Path(checkpoint)
    try:
        with reading(path, "a dictionary of tensors", UNREADABLE), torch.serialization.safe_globals(HARMLESS):
            if path.suffix == ".safetensors":
                return safetensors.torch.load_file(path)
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(_needs_trust(path, error)) from error
    if not isinstance(loaded, Mapping):
        raise ValueError(f"checkpoint {path} must hold a dictionary of tensors, got {type(loaded).__name__}")
    return loaded


def unwrap(loaded: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the bare state dict of a training checkpoint, without prefixes of wrappers.

    Raises:
        ValueError: if there are no tensors.
    """
    loaded = next((loaded[name] for name in WRAPPERS if isinstance(loaded.get(name), Mapping)), loaded)
    state = {
        name.removeprefix("module.").removeprefix("backbone."): value
        for name, value in loaded.items()
        if isinstance(value, Tensor) and isinstance(name, str)
    }
    if not state:
        raise ValueError(f"checkpoint holds no tensors, only {sorted(map(str, loaded))[:MOST_SHOWN]}")
    return state


def differences(state: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> str:
    """Say which names are missing, left over or of another shape; empty if all fit."""
    missing, left = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    wrong = [
        f"{name} {tuple(state[name].shape)} instead of {shape}"
        for name, shape in expected.items()
        if name in state and not has_shape(state[name], shape)
    ]
    found = {"missing": missing, "left over": left, "of another shape": wrong}
    return "; ".join(_show(what, names) for what, names in found.items() if names)


def has_shape(value: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether a tensor has the shape, apart from the trailing ones of a 1x1 convolution."""
    return value.shape[: len(shape)] == shape and value.shape[len(shape) :].numel() == 1


def fit_state(state: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], sentence: str) -> dict[str, Tensor]:
    """Return tensors in the shapes that a network expects.

    Args:
        state: tensors under our names; 1x1 convolutions may have trailing ones.
        expected: names and shapes of the network.
        sentence: how the error begins, such as "checkpoint does not fit the config".

    Raises:
        ValueError: if names or shapes do not fit; the message lists what is missing, left over or of another shape.
    """
    wrong = differences(state, expected)
    if wrong:
        raise ValueError(f"{sentence}; {wrong}")
    return {name: state[name].reshape(shape) for name, shape in expected.items()}


def shapes_of(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the state of a network."""
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def rename(name: str, renames: Renames) -> str:
    """Return the name after all replacements, one after the other."""
    for pattern, new in renames:
        name = re.sub(pattern, new, name)
    return name


def _needs_trust(path: Path, error: Exception) -> str:
    plain = path.with_name(f"{path.name.removesuffix('.tar').removesuffix('.pth')}.plain.pth")
    command = (
        f"""python -c "import torch; loaded = torch.load('{path}', map_location='cpu', weights_only=False); """
        f"""torch.save({{'state_dict': loaded.get('state_dict', loaded)}}, '{plain}')\""""
    )
    return (
        f"checkpoint {path} is not readable as plain tensors, and loading more could run code from the file; if you "
        "trust its source, save its state dict alone, in an environment where that code may run, and load the new "
        f"file: {command}; torch says: {_unpickler_reason(error)}"
    )


def _unpickler_reason(error: Exception) -> str:
    """What torch refused; its first line is only general advice."""
    found = re.search(r"WeightsUnpickler error: *(.+)", str(error))
    return found[1].strip() if found else first_line(error)


def _show(what: str, names: list[str]) -> str:
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return f"{len(names)} {what}: {', '.join(names[:MOST_SHOWN])}{more}"
