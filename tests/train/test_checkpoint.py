"""Checkpoints are whole or absent, and one that does not fit is told apart by a sentence."""

from pathlib import Path

import pytest
import torch

from pointcoc.train import checkpoint, load_weights, save_weights


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_weights_and_notes_come_back(tiny, tmp_path: Path) -> None:
    saved, loaded = tiny(), tiny(drop_path=0.5)
    torch.nn.init.normal_(saved.first.weight)
    save_weights(tmp_path / "a" / "best.safetensors", saved, epoch=3, val={"accuracy": 0.5})
    notes = load_weights(loaded, tmp_path / "a" / "best.safetensors")
    assert same_weights(saved, loaded)
    assert (notes["epoch"], notes["val"], notes["config"]["width"]) == (3, {"accuracy": 0.5}, 8)
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["best.safetensors"]


def test_the_same_weights_and_notes_are_the_same_bytes(tiny, tmp_path: Path) -> None:
    notes = {"ä": 'a "word"', "epoch": 3, "val": {"accuracy": 0.5}, "classes": {"1": "a\nb"}}
    for number in range(16):  # safetensors puts five notes in one of 120 orders
        save_weights(tmp_path / f"{number}.safetensors", tiny(), **notes)
    assert len({file.read_bytes() for file in tmp_path.iterdir()}) == 1
    assert load_weights(tiny(), tmp_path / "0.safetensors").items() >= notes.items()


def test_weights_of_another_config_are_refused_whole(tiny, tmp_path: Path) -> None:
    save_weights(tmp_path / "best.safetensors", tiny(num_classes=5, width=4))
    model = tiny()
    with pytest.raises(ValueError, match=r"another preset or config: num_classes is 5, expected 3; width is 4, exp"):
        load_weights(model, tmp_path / "best.safetensors")
    assert same_weights(model, tiny())


def test_weights_of_another_model_are_refused_by_name_and_shape(tmp_path: Path) -> None:
    save_weights(tmp_path / "best.safetensors", torch.nn.Linear(2, 3))
    with pytest.raises(ValueError, match=r"another model: weight is \(3, 2\), expected \(4, 2\)"):
        load_weights(torch.nn.Linear(2, 4), tmp_path / "best.safetensors")
    with pytest.raises(ValueError, match=r"another model: bias is \(3,\), expected absent"):
        load_weights(torch.nn.Linear(2, 3, bias=False), tmp_path / "best.safetensors")


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_truncated_weights_are_named(tiny, tmp_path: Path, size: int) -> None:
    path = tmp_path / "best.safetensors"
    save_weights(path, tiny())
    whole = path.read_bytes()
    path.write_bytes(whole[:size])
    with pytest.raises(ValueError, match=rf"best\.safetensors is truncated .* found {len(whole[:size]):,} bytes"):
        load_weights(tiny(), path)


@pytest.mark.parametrize("size", [0, 5, 400, -1])
def test_a_truncated_state_is_named(tiny, tmp_path: Path, size: int) -> None:
    path = checkpoint.save_checkpoint(tmp_path, "epoch-0001", tiny(), None, {"epoch": 1, "tensor": torch.zeros(9)})
    whole = (path / "state.pt").read_bytes()
    (path / "state.pt").write_bytes(whole[:size])
    with pytest.raises(ValueError, match=r"state\.pt is truncated or not a checkpoint: found [\d,]+ bytes"):
        checkpoint.read_state(path)


def test_a_missing_checkpoint_is_named(tiny, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*none\.safetensors: expected a file"):
        load_weights(tiny(), tmp_path / "none.safetensors")
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*state\.pt"):
        checkpoint.read_state(tmp_path)


def test_only_the_newest_checkpoint_is_kept(tiny, tmp_path: Path) -> None:
    assert checkpoint.last_checkpoint(tmp_path) is None
    for epoch in (9, 10):
        checkpoint.save_checkpoint(tmp_path, f"epoch-{epoch:04d}", tiny(), tiny(), {"epoch": epoch})
    last = checkpoint.last_checkpoint(tmp_path)
    assert last == tmp_path / "epoch-0010"
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-0010"]
    assert {path.name for path in last.iterdir()} == {"model.safetensors", "ema.safetensors", "state.pt"}
    assert checkpoint.read_state(last) == {"epoch": 10}


@pytest.mark.parametrize("broken", ["checkpoint.save_file", "checkpoint.torch.save", "whole_files.os.replace"])
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
        patch.setattr(f"pointcoc.train.{broken}", disk_full)
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
