"""Checkpoints are whole or absent, and one that does not fit is told apart by a sentence."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pointcoc.models import save_model
from pointcoc.train import checkpoint, load_weights


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_weights_and_notes_come_back(tiny, tmp_path: Path) -> None:
    saved, loaded = tiny(), tiny(drop_path=0.5)
    torch.nn.init.normal_(saved.first.weight)
    checkpoint.save_best(tmp_path, saved, {"epoch": 3, "val": {"accuracy": 0.5}, "classes": ["a", "b"]})
    notes = load_weights(loaded, tmp_path)
    assert same_weights(saved, loaded)
    assert (notes["epoch"], notes["val"], notes["config"]["width"]) == (3, {"accuracy": 0.5}, 8)
    assert notes["classes"] == {"0": "a", "1": "b"}
    assert [file.name for file in tmp_path.iterdir()] == ["best"]
    assert {file.name for file in (tmp_path / "best").iterdir()} == {"model.safetensors", "config.json"}


def test_the_best_model_takes_the_place_of_the_one_before(tiny, tmp_path: Path) -> None:
    (tmp_path / "best.safetensors").touch()  # what earlier versions left
    for epoch in (1, 2):
        checkpoint.save_best(tmp_path, tiny(), {"epoch": epoch})
    assert [file.name for file in tmp_path.iterdir()] == ["best"]
    assert load_weights(tiny(), tmp_path)["epoch"] == 2


@pytest.mark.parametrize("renames", range(4))  # two files, the folder before, and the new one
def test_a_kill_while_the_best_model_is_replaced_leaves_one(tiny, tmp_path: Path, monkeypatch, renames: int) -> None:
    checkpoint.save_best(tmp_path, tiny(), {"epoch": 1})
    code = [
        "import os, sys, pathlib, torch",
        "from pointcoc.train import checkpoint",
        "left, move = [int(sys.argv[2])], os.replace",
        "def kill(*paths):",
        "    left[0] -= 1",
        "    if left[0] < 0: os._exit(9)",
        "    move(*paths)",
        "os.replace = kill",
        "checkpoint.save_best(pathlib.Path(sys.argv[1]), torch.nn.Linear(2, 2), {'epoch': 2})",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(code), str(tmp_path), str(renames)], check=False)
    assert done.returncode == 9
    assert load_weights(tiny(), tmp_path)["epoch"] == 1
    checkpoint.save_best(tmp_path, tiny(), {"epoch": 3})
    assert [file.name for file in tmp_path.iterdir()] == ["best"]


def test_weights_of_another_config_are_refused_whole(tiny, tmp_path: Path) -> None:
    save_model(tmp_path, tiny(num_classes=5, width=4))
    model = tiny()
    with pytest.raises(ValueError, match=r"another preset or config: num_classes is 5, expected 3; width is 4, exp"):
        load_weights(model, tmp_path)
    assert same_weights(model, tiny())


def test_weights_of_another_model_are_refused_by_name_and_shape(tmp_path: Path) -> None:
    save_model(tmp_path, torch.nn.Linear(2, 3))
    with pytest.raises(ValueError, match=r"another model; 2 of another shape: weight \(3, 2\) instead of \(4, 2\)"):
        load_weights(torch.nn.Linear(2, 4), tmp_path)
    with pytest.raises(ValueError, match=r"another model; 1 left over: bias"):
        load_weights(torch.nn.Linear(2, 3, bias=False), tmp_path)


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_truncated_weights_are_named(tiny, tmp_path: Path, size: int) -> None:
    save_model(tmp_path, tiny())
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:size])
    with pytest.raises(ValueError, match=rf"model\.safetensors is truncated .* found {len(whole[:size]):,} bytes"):
        load_weights(tiny(), path)


@pytest.mark.parametrize("size", [0, 5, 400, -1])
def test_a_truncated_state_is_named(tiny, tmp_path: Path, size: int) -> None:
    path = checkpoint.save_checkpoint(tmp_path, "epoch-0001", tiny(), None, {"epoch": 1, "tensor": torch.zeros(9)})
    whole = (path / "state.pt").read_bytes()
    (path / "state.pt").write_bytes(whole[:size])
    with pytest.raises(ValueError, match=r"state\.pt is truncated or not a checkpoint: found [\d,]+ bytes"):
        checkpoint.read_state(path)


def test_a_missing_checkpoint_is_named(tiny, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no weights at .*none\.safetensors: give a folder"):
        load_weights(tiny(), tmp_path / "none.safetensors")
    with pytest.raises(FileNotFoundError, match=r"state\.pt is not a file"):
        checkpoint.read_state(tmp_path)


def test_only_the_newest_checkpoint_is_kept(tiny, tmp_path: Path) -> None:
    assert checkpoint.last_checkpoint(tmp_path) is None
    for epoch in (9, 10):
        checkpoint.save_checkpoint(tmp_path, f"epoch-{epoch:04d}", tiny(), tiny(), {"epoch": epoch})
    last = checkpoint.last_checkpoint(tmp_path)
    assert last == tmp_path / "epoch-0010"
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-0010"]
    assert {path.name for path in last.iterdir()} == {"model.safetensors", "config.json", "ema.safetensors", "state.pt"}
    assert checkpoint.read_state(last) == {"epoch": 10}


@pytest.mark.parametrize(
    "broken", ["models.weights.folder.save_file", "train.checkpoint.torch.save", "files.os.replace"]
)
def test_a_failure_while_writing_leaves_the_previous_whole(tiny, tmp_path: Path, monkeypatch, broken: str) -> None:
    first = tiny()
    torch.nn.init.normal_(first.first.weight)
    checkpoint.save_checkpoint(tmp_path, "epoch-0001", first, None, {"epoch": 1})

    def disk_full(*args: object, **_: object) -> None:
        target = next((arg for arg in args if isinstance(arg, Path)), None)
        if target is not None and not target.exists():
            target.write_bytes(b"half")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(f"pointcoc.{broken}", disk_full)
        with pytest.raises(OSError, match="No space left"):
            checkpoint.save_checkpoint(tmp_path, "epoch-0002", tiny(), None, {"epoch": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-0001"]
    loaded = tiny()
    checkpoint.load_checkpoint(tmp_path / "epoch-0001", loaded, None)
    assert same_weights(loaded, first)


def test_what_a_kill_left_behind_is_neither_read_nor_in_the_way(tiny, tmp_path: Path) -> None:
    checkpoint.save_checkpoint(tmp_path, "epoch-0001", tiny(), None, {"epoch": 1})
    half = tmp_path / "epoch-0002.temporary"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    assert checkpoint.last_checkpoint(tmp_path) == tmp_path / "epoch-0001"
    checkpoint.save_checkpoint(tmp_path, "epoch-0002", tiny(), None, {"epoch": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-0002"]
