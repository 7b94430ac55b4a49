"""Checkpoints that are whole or absent: safetensors weights, and the state of a run beside them.

A run's folder holds `epoch-0012/` (everything that is needed to continue after 12 epochs) or
`epoch-0012-update-00345/` (the same after 345 updates, in the 13th epoch), and `best.safetensors` (the weights of the
epoch that validation chose). All appear by renaming a finished temporary, so that a crash, a kill or a full disk at any
moment leaves the previous one as it was.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pointcoc.files import atomic, flush, remove
from pointcoc.models.weights_policy import fixed_settings

BEST = "best.safetensors"
WEIGHTS = "model.safetensors"
AVERAGE = "ema.safetensors"
STATE = "state.pt"
NAME = re.compile(r"epoch-(\d+)(?:-update-(\d+))?")


def save_weights(path: Path, model: nn.Module, **notes: Any) -> None:
    """Write the weights of a model, with its config, as one safetensors file that is whole or absent.

    Args:
        path: file to write or to replace.
        model: module whose state dict is written; its `config` and `weights_info`, dataclasses, are noted if it has
            them and, of the second, if anything is stated.
        **notes: further values for the header, anything that JSON holds.
    """
    header = {"config": _config_of(model), **_info_of(model), **notes}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata={name: json.dumps(value) for name, value in header.items()})
        _sort_metadata(temporary)


def load_weights(model: nn.Module, path: str | Path) -> dict[str, Any]:
    """Copy the weights of a file that `save_weights` wrote into a model.

    Args:
        model: module built as the saved one was; settings of training and of positions (drop path, centers) may differ
            (see `pointcoc.models.weights_policy`).
        path: file to read.

    Returns:
        The notes given to `save_weights`, and `config`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is truncated or not safetensors, or the weights are those of another config; the
            message names the file, what it holds and what the model expects. The model is unchanged then.
    """
    tensors, notes = read_weights(path)
    _check_config(path, notes.get("config"), model)
    _check_tensors(path, tensors, model.state_dict())
    model.load_state_dict(tensors)
    return notes


def weights_file(path: Path) -> Path:
    """Return the file of weights that a path names: itself, or best.safetensors in the folder of a run.

    Raises:
        FileNotFoundError: if there is none.
    """
    file = path / BEST if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"weights must be a file, or a folder with {BEST}, but nothing lies at {file}")
    return file


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
    out: Path,
    name: str,
    model: nn.Module,
    average: nn.Module | None,
    state: Mapping[str, Any],
    keep: int = 1,
) -> Path:
    """Write what is needed to continue, then remove all checkpoints but the newest ones.

    Args:
        out: folder of the run.
        name: name of the checkpoint, from `checkpoint_name`; one that is there already is left as it is.
        model: the weights in training.
        average: the moving average of the weights, or None.
        state: plain values, lists, dicts and tensors: optimizer, counters, scores.
        keep: checkpoints that stay, this one included.

    Returns:
        The folder of the checkpoint.

    Raises:
        OSError: if it cannot be written, for example to a full disk; the message names the last one, which is whole.
    """
    path = out / name
    if not path.exists():
        try:
            _write_checkpoint(path, model, average, state)
        except (OSError, SafetensorError, RuntimeError) as error:  # each writer has its own error for a full disk
            raise OSError(_not_written(path, error)) from error
    for old in checkpoints(out)[:-keep]:
        discard(old)
    return path


def _write_checkpoint(path: Path, model: nn.Module, average: nn.Module | None, state: Mapping[str, Any]) -> None:
    with atomic(path) as temporary:
        temporary.mkdir(parents=True)
        save_weights(temporary / WEIGHTS, model)
        if average is not None:
            save_weights(temporary / AVERAGE, average)
        torch.save(dict(state), temporary / STATE)
        flush(temporary / STATE)


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


def checkpoint_name(epoch: int, update: int, is_whole_epoch: bool) -> str:
    """Return the name of a checkpoint.

    Args:
        epoch: whole epochs behind it.
        update: updates behind it.
        is_whole_epoch: whether nothing of the next epoch was done.
    """
    return f"epoch-{epoch:04d}" if is_whole_epoch else f"epoch-{epoch:04d}-update-{update:05d}"


def checkpoints(out: Path) -> list[Path]:
    """The whole checkpoints of a run's folder, oldest first."""
    found = [path for path in out.glob("epoch-*") if path.is_dir() and NAME.fullmatch(path.name)]
    return sorted(found, key=_progress)


def last_checkpoint(out: Path) -> Path | None:
    """The newest whole checkpoint of a run's folder, None where there is none."""
    return next(reversed(checkpoints(out)), None)


def _progress(path: Path) -> tuple[int, int]:
    epoch, update = NAME.fullmatch(path.name).groups(default="0")  # type: ignore[union-attr]  # names were filtered
    return int(epoch), int(update)


def discard(path: Path) -> None:
    """Remove a checkpoint: first its name, so that a kill leaves no half of it that looks whole."""
    temporary = path.with_name(f"{path.name}.temporary")
    remove(temporary)
    os.replace(path, temporary)
    remove(temporary)


def _sort_metadata(file: Path) -> None:
    """Put the metadata of a safetensors file in order: every call writes another one, so bytes would differ."""
    with file.open("r+b") as opened:
        size = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= size:  # always, as the two libraries write JSON now; the offsets of the tensors count on it
            opened.seek(8)
            opened.write(text.ljust(size))


def _config_of(model: nn.Module) -> dict[str, Any] | None:
    """The config as JSON would return it, so that a saved one and a present one compare."""
    config = getattr(model, "config", None)
    if not is_dataclass(config) or isinstance(config, type):
        return None
    return json.loads(json.dumps(asdict(config)))


def _info_of(model: nn.Module) -> dict[str, Any]:
    info = getattr(model, "weights_info", None)
    stated = {} if info is None else asdict(info)
    return {"weights_info": stated} if any(stated.values()) else {}


def _check_config(path: str | Path, found: Any, model: nn.Module) -> None:
    expected = _config_of(model)
    if found is None or expected is None:
        return
    found, expected = (fixed_settings(model.config, one) for one in (found, expected))
    other = [name for name in {**expected, **found} if found.get(name) != expected.get(name)]
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


def _not_written(path: Path, error: Exception) -> str:
    last = last_checkpoint(path.parent)
    kept = (
        f"the last checkpoint, {last}, is whole: --resume auto continues from it" if last else "there is none before it"
    )
    return f"checkpoint {path} could not be written ({_first_line(error)}); {kept}"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _unreadable(path: Path, expected: str, error: Exception) -> str:
    reason = _first_line(error)
    size = path.stat().st_size
    return f"{path} is truncated or not a checkpoint: found {size:,} bytes that do not read as {expected} ({reason})"
