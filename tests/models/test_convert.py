"""Official checkpoints become folders, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pointcoc import ContextClusterNet
from pointcoc.models.convert import convert_official

SHAPES = json.loads((Path(__file__).parents[1] / "official" / "state_dict_shapes.json").read_text())


def official(name: str = "coc_tiny") -> dict[str, Tensor]:
    """Small random weights in the names and shapes of an official preset, float16 to be quick."""
    generator = torch.Generator().manual_seed(0)
    return {
        key: (torch.randn(shape, generator=generator) / 10).half().contiguous() for key, shape in SHAPES[name].items()
    }


def names_of_2023(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace("mixer.f.", "mixer.fc1."): value for name, value in state.items()}


def write(path: Path, state: dict[str, Tensor]) -> Path:
    torch.save({"state_dict": state, "epoch": 3}, path)
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write(tmp_path / "official.pth.tar", official())


def test_a_folder_is_written_that_loads(tmp_path: Path, checkpoint: Path) -> None:
    out = tmp_path / "a" / "out"
    folder, net = convert_official(checkpoint, out, preset="coc_tiny2", normalizer="count")
    assert folder == out
    assert sorted(file.name for file in out.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert [file.name for file in out.parent.iterdir()] == ["out"]
    loaded = ContextClusterNet.from_pretrained(out)
    assert (loaded.config, loaded.config.normalizer) == (net.config, "count")
    assert loaded.head.weight.dtype == torch.float16
    expected = ContextClusterNet.from_official(official(), preset="coc_tiny2", normalizer="count")
    assert all(torch.equal(value, expected.state_dict()[name]) for name, value in loaded.state_dict().items())


def test_config_and_card_say_where_the_weights_come_from(tmp_path: Path, checkpoint: Path) -> None:
    convert_official(checkpoint, tmp_path / "out", preset="coc_tiny", normalizer="similarity")
    content = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (content["preset"], content["license"]) == ("coc_tiny", "apache-2.0")
    assert content["source"].endswith(f"official.pth.tar, sha256 {hashlib.sha256(checkpoint.read_bytes()).hexdigest()}")
    assert content["transform"]["crop_pct"] == 0.9
    assert "license: apache-2.0" in (tmp_path / "out" / "README.md").read_text()


def test_by_default_pretrained_finds_it(monkeypatch, tmp_path: Path, checkpoint: Path) -> None:
    monkeypatch.setenv("POINTCOC_HOME", str(tmp_path / "home"))
    folder, net = convert_official(checkpoint, preset="coc_tiny_plain", normalizer="similarity")
    assert folder == tmp_path / "home" / "coc_tiny_plain"
    loaded = ContextClusterNet.from_preset("coc_tiny_plain", pretrained=True)
    assert torch.equal(loaded.head.weight, net.head.weight)


def test_networks_that_are_no_preset_need_a_folder(tmp_path: Path) -> None:
    state = official() | {"head.weight": torch.zeros(3, 320).half(), "head.bias": torch.zeros(3).half()}
    path = write(tmp_path / "other.pth", state)
    with pytest.raises(ValueError, match=r"not those of a preset with its classes .*: give the folder to write, OUT"):
        convert_official(path, preset="coc_tiny", normalizer="count")
    convert_official(path, tmp_path / "out", preset="coc_tiny", normalizer="count")


def test_only_the_names_of_2023_tell_the_normalizer(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(ValueError, match=r"nothing in this checkpoint tells its normalizer.*: give normalizer \("):
        convert_official(checkpoint, tmp_path / "out", preset="coc_tiny")
    old = write(tmp_path / "old.pth", names_of_2023(official()))
    _, net = convert_official(old, tmp_path / "out", preset="coc_tiny")
    assert net.config.normalizer == "count"
    with pytest.raises(ValueError, match=r"names of 2023 .* belong to normalizer 'count', got 'similarity'"):
        convert_official(old, tmp_path / "out2", preset="coc_tiny", normalizer="similarity")


def test_a_folder_is_replaced_only_by_force(tmp_path: Path, checkpoint: Path) -> None:
    arguments = (checkpoint, tmp_path / "out", "coc_tiny", "count")
    convert_official(*arguments)
    with pytest.raises(FileExistsError, match=r"out exists; give force \(--force\) to replace it"):
        convert_official(*arguments)
    (tmp_path / "out" / "config.json").write_text("{}")
    convert_official(*arguments, force=True)
    ContextClusterNet.from_pretrained(tmp_path / "out")
    (tmp_path / "out" / "thesis.tex").write_text("")
    with pytest.raises(FileExistsError, match=r"did not write \(thesis\.tex\) and is not replaced"):
        convert_official(*arguments, force=True)


@pytest.mark.parametrize("moment", ["writing", "moving"])
def test_nothing_is_left_of_a_conversion_that_fails(monkeypatch, tmp_path: Path, checkpoint: Path, moment: str) -> None:
    out, move = tmp_path / "out", os.replace
    convert_official(checkpoint, out, "coc_tiny", "count")
    before = {file: file.read_bytes() for file in out.iterdir()}

    def fail(source: Path, target: Path) -> None:
        if moment == "writing" or (Path(target) == out and not str(source).endswith(".replaced")):
            raise OSError("disk full")
        move(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        convert_official(checkpoint, out, "coc_tiny", "count", force=True)
    assert {file: file.read_bytes() for file in out.iterdir()} == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["official.pth.tar", "out"]
