"""Checkpoints that are whole or absent: safetensors weights, and the state of a run beside them.

A run's folder holds `epoch-0012/` (everything that is needed to continue after 12 epochs) and `best.safetensors` (the
weights of the epoch that validation chose). Both appear by renaming a finished temporary, so that a crash, a kill or a
full disk at any moment leaves the previous one as it was.
"""

import json
import os
import random
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

BEST = "best.safetensors"
WEIGHTS = "model.safetensors"
AVERAGE = "ema.safetensors"
STATE = "state.pt"
# Fields of a model's config that are settings of training: weights fit whatever their values.
TRAINING_FIELDS = ("backend", "drop_path", "dropout", "layer_scale")


def save_weights(path: Path, model: nn.Module, **notes: Any) -> None:
    """Write the weights of a model, with its config, as one safetensors file that is whole or absent.

    Args:
        path: file to write or to replace.
        model: module whose state dict is written; its `config`, a dataclass, is noted if it has one.
        **notes: further values for the header, anything that JSON holds.
    """
    header = {"config": _config_of(model), **notes}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata={name: json.dumps(value) for name, value in header.items()})


def load_weights(model: nn.Module, path: str | Path) -> dict[str, Any]:
    """Copy the weights of a file that `save_weights` wrote into a model.

    Args:
        model: module built as the saved one was; its training-only settings (drop path) may differ.
        path: file to read.

    Returns:
        The notes given to `save_weights`, and `config`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is truncated or not safetensors, or the weights are those of another config; the
            message names the file, what it holds and what the model expects. The model is unchanged then.
    """
    tensors, notes = read_weights(path)
    _check_config(path, notes.get("config"), _config_of(model))
    _check_tensors(path, tensors, model.state_dict())
    model.load_state_dict(tensors)
    return notes


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by name and the notes of a file that `save_weights` wrote, both on the CPU.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is truncated or not safetensors.
    """
    path = Path(path)
    _require_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            notes = {name: json.loads(value) for name, value in (file.metadata() or {}).items()}
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, notes
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(_unreadable(path, "a safetensors file with the weights", error)) from error


def save_checkpoint(
    out: Path, epoch: int, model: nn.Module, average: nn.Module | None, state: Mapping[str, Any]
) -> Path:
    """Write what is needed to continue after `epoch` whole epochs, then remove the checkpoints before it.

    Args:
        out: folder of the run.
        epoch: number of whole epochs behind the checkpoint.
        model: the weights in training.
        average: the moving average of the weights, or None.
        state: plain values, lists, dicts and tensors: optimizer, counters, random states.

    Returns:
        The folder of the checkpoint.
    """
    path = out / f"epoch-{epoch:04d}"
    earlier = checkpoints(out)
    with atomic(path) as temporary:
        temporary.mkdir(parents=True)
        save_weights(temporary / WEIGHTS, model)
        if average is not None:
            save_weights(temporary / AVERAGE, average)
        torch.save(dict(state), temporary / STATE)
        _flush(temporary / STATE)
    for old in earlier:
        if old != path:
            shutil.rmtree(old)
    return path


def read_state(path: Path) -> dict[str, Any]:
    """Return the `state` that `save_checkpoint` was given.

    Args:
        path: folder of the checkpoint.

    Raises:
        FileNotFoundError: if the checkpoint has no state.
        ValueError: if it is truncated.
    """
    file = path / STATE
    _require_file(file)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load has no error of its own: EOFError, RuntimeError, UnpicklingError, KeyError
        raise ValueError(_unreadable(file, "the state of a run", error)) from error


def load_checkpoint(path: Path, model: nn.Module, average: nn.Module | None) -> None:
    """Copy the weights of a checkpoint into the model and its moving average.

    Args:
        path: folder of the checkpoint.
        model: receives the weights in training.
        average: receives the moving average of the weights; None if the run has none.

    Raises:
        FileNotFoundError: if a part of the checkpoint is missing.
        ValueError: if a part is truncated or belongs to another config.
    """
    load_weights(model, path / WEIGHTS)
    if average is not None:
        load_weights(average, path / AVERAGE)


def checkpoints(out: Path) -> list[Path]:
    """The whole checkpoints of a run's folder, oldest first."""
    return sorted(path for path in out.glob("epoch-*") if path.is_dir() and path.suffix != ".temporary")


def last_checkpoint(out: Path) -> Path | None:
    """The newest whole checkpoint of a run's folder, None where there is none."""
    return max(checkpoints(out), default=None)


def random_states() -> dict[str, Any]:
    """The states of all random number generators a run draws from, as plain values and tensors."""
    name, keys, *rest = np.random.get_state()
    version, words, gauss = random.getstate()
    return {
        "python": [version, list(words), gauss],
        "numpy": [str(name), np.asarray(keys).tolist(), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_states(states: Mapping[str, Any]) -> None:
    """Put the random number generators back to what `random_states` returned."""
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` at the end, remove it if anything fails."""
    temporary = path.with_name(f"{path.name}.temporary")
    remove(temporary)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)
    except BaseException:
        remove(temporary)
        raise


def _flush(path: Path) -> None:
    """Ask the disk to hold what was written, so that a rename never overtakes the content (POSIX only)."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it exists."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _config_of(model: nn.Module) -> dict[str, Any] | None:
    """The config as JSON would return it, so that a saved one and a present one compare."""
    config = getattr(model, "config", None)
    if not is_dataclass(config) or isinstance(config, type):
        return None
    return json.loads(json.dumps(asdict(config)))


def _check_config(path: str | Path, found: Any, expected: Any) -> None:
    if found is None or expected is None:
        return
    names = [name for name in {**expected, **found} if name not in TRAINING_FIELDS]
    other = [name for name in names if found.get(name) != expected.get(name)]
    if other:
        listed = "; ".join(f"{name} is {found.get(name)}, expected {expected.get(name)}" for name in other)
        raise ValueError(f"{path} holds the weights of another preset or config: {listed}")


def _check_tensors(path: str | Path, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    for name in {**expected, **found}:
        have, want = (tuple(side[name].shape) if name in side else "absent" for side in (found, expected))
        if have != want:
            raise ValueError(f"{path} holds the weights of another model: {name} is {have}, expected {want}")


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}: expected a file")


def _unreadable(path: Path, expected: str, error: Exception) -> str:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    size = path.stat().st_size
    return f"{path} is truncated or not a checkpoint: found {size:,} bytes that do not read as {expected} ({reason})"
