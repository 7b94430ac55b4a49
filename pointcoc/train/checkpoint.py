"""Checkpoints that are whole or absent: the weights of a run, and its state beside them.

A run's folder holds `epoch-0012/` (everything that is needed to continue after 12 epochs) or
`epoch-0012-update-00345/` (the same after 345 updates, in the 13th epoch), and `best/` (the model of the epoch that
validation chose). All appear by renaming a finished temporary, so that a crash, a kill or a full disk at any moment
leaves the previous one as it was.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from pointcoc.deprecation import warn_old
from pointcoc.files import atomic, first_line, flush, remove, replaced
from pointcoc.models.weights import (
    BEST,
    OLD_BEST,
    WEIGHTS,
    WeightsInfo,
    current_layout,
    find_weights,
    fit_state,
    read_content,
    read_tensors,
    save_model,
    save_tensors,
    shapes_of,
)
from pointcoc.models.weights.checkpoint_file import reading
from pointcoc.models.weights.policy import fixed_settings

AVERAGE = "ema.safetensors"
STATE = "state.pt"
NAME = re.compile(r"epoch-(\d+)(?:-update-(\d+))?")


def save_best(out: Path, model: nn.Module, notes: Mapping[str, Any]) -> None:
    """Write the model of the best epoch into the folder of a run, in place of the one before.

    Args:
        out: folder of the run.
        model: see `save_model`.
        notes: are added to the notes of its `weights_info`, and `classes` are its names of classes.
    """
    info = getattr(model, "weights_info", WeightsInfo())
    rest = {name: value for name, value in notes.items() if name != "classes"}
    with atomic(out / BEST) as folder:
        names = notes.get("classes", info.class_names)
        save_model(folder, model, replace(info, class_names=names, notes={**info.notes, **rest}))
    remove(out / OLD_BEST)


def remove_best(out: Path) -> None:
    """Remove what `save_best` wrote into the folder of a run, earlier versions too, or left half done."""
    for path in (out / BEST, replaced(out / BEST), out / f"{BEST}.temporary", out / OLD_BEST):
        remove(path)


def save_weights(path: Path, model: nn.Module, **notes: Any) -> None:
    """Write a model as one file: the old form of `pointcoc.save_model`, which writes a folder.

    Args:
        path: file to write or to replace.
        model: module whose state dict is written; its `config` and `weights_info` are noted.
        **notes: further values for the header, anything that JSON holds.
    """
    warn_old("pointcoc.train.save_weights", "pointcoc.models.save_model")
    config, info = getattr(model, "config", None), getattr(model, "weights_info", WeightsInfo())
    header = {
        "config": None if config is None else {**asdict(config), "kind": getattr(config, "kind", None)},
        "weights_info": asdict(info),
        **notes,
    }
    save_tensors(path, model, {name: json.dumps(value) for name, value in header.items()})


def load_weights(model: nn.Module, path: str | Path) -> dict[str, Any]:
    """Copy weights into a model.

    Args:
        model: module built as the saved one was; settings of training and of positions (drop path, centers) may differ
            (see `pointcoc.models.weights.policy`).
        path: folder that `fit` or `save_model` wrote, or a file of weights in one, or an old file with a header.

    Returns:
        The notes beside the weights, such as `epoch` and `val` of a run, and the settings, `config`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is truncated or not safetensors, or the weights are those of another config; the
            message names the file, what it holds and what the model expects. The model is unchanged then.
    """
    file = find_weights(path)
    tensors, notes = read_tensors(file), read_notes(file)
    _check_config(file, notes["config"], model)
    model.load_state_dict(fit_state(tensors, shapes_of(model), f"{file} holds the weights of another model"))
    return notes


def read_notes(path: Path) -> dict[str, Any]:
    """Return the notes beside a file of weights, and the settings of the model, `config`; see `load_weights`."""
    content, where = read_content(path)
    if not content:
        return {"config": None}
    content = current_layout(content, str(where))
    return {"classes": content.get("class_names"), **content.get("notes", {}), "config": content["config"]}


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
            last = last_checkpoint(out)
            kept = f"the last checkpoint, {last}, is whole: --resume auto continues from it"
            raise OSError(
                f"checkpoint {path} could not be written ({first_line(error)}); "
                + (kept if last else "there is none before it")
            ) from error
    for old in checkpoints(out)[:-keep]:
        discard(old)
    return path


def _write_checkpoint(path: Path, model: nn.Module, average: nn.Module | None, state: Mapping[str, Any]) -> None:
    with atomic(path) as temporary:
        temporary.mkdir(parents=True)
        save_model(temporary, model)
        if average is not None:
            save_tensors(temporary / AVERAGE, average)
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
    with reading(path / STATE, "the state of a run"):
        return torch.load(path / STATE, map_location="cpu", weights_only=True)


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


def _check_config(path: Path, found: Mapping[str, Any] | None, model: nn.Module) -> None:
    config: Any = getattr(model, "config", None)
    if found is None or not is_dataclass(config) or isinstance(config, type):
        return
    kind, expected_kind = saved_kind(path), getattr(config, "kind", None)
    if None not in (kind, expected_kind) and kind != expected_kind:
        raise ValueError(f"{path} holds the weights of another kind of model: {kind}, expected {expected_kind}")
    saved, expected = (fixed_settings(config, one) for one in (found, json.loads(json.dumps(asdict(config)))))
    if listed := "; ".join(_differences(saved, expected)):
        raise ValueError(f"{path} holds the weights of another preset or config: {listed}")


def saved_kind(path: Path) -> str | None:
    """Return the kind of model that a file of weights belongs to, a key of `KINDS`; None where nothing says so."""
    content, where = read_content(path)
    return current_layout(content, str(where)).get("kind") if content else None


def _differences(saved: Mapping[str, Any], expected: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Name each field that differs, with both values; of fields that hold fields, those inside."""
    for name in {**expected, **saved}:
        one, other = saved.get(name), expected.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from _differences(one, other, f"{prefix}{name}.")
        elif one != other:
            yield f"{prefix}{name} is {one}, expected {other}"
