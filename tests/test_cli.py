"""The command line: what it writes, and one sentence for each mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pointcoc import ContextClusterNet
from pointcoc.cli import main
from pointcoc.version import __version__

SHAPES = json.loads((Path(__file__).parent / "official" / "state_dict_shapes.json").read_text())["coc_tiny"]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    state = {name: torch.zeros(shape, dtype=torch.float16) for name, shape in SHAPES.items()}
    torch.save({"state_dict": state}, tmp_path / "coc_tiny.pth.tar")
    return tmp_path / "coc_tiny.pth.tar"


def test_convert(capsys, tmp_path: Path, checkpoint: Path) -> None:
    out = tmp_path / "out"
    assert main(["convert", str(checkpoint), str(out), "--preset", "coc_tiny", "--normalizer", "count"]) == 0
    shown = capsys.readouterr()
    assert f"wrote {out}: 5,570,584 parameters, normalizer count" in shown.out
    assert f"from_pretrained({str(out)!r})" in shown.out
    assert shown.err == ""
    assert ContextClusterNet.from_pretrained(out).config.normalizer == "count"


def test_convert_writes_where_pretrained_looks(monkeypatch, tmp_path: Path, checkpoint: Path) -> None:
    monkeypatch.setenv("POINTCOC_HOME", str(tmp_path / "home"))
    assert main(["convert", str(checkpoint), "--preset", "coc_tiny", "--normalizer", "similarity"]) == 0
    assert ContextClusterNet.from_preset("coc_tiny", pretrained=True).config.normalizer == "similarity"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--preset", "coc_tiny"], "nothing in this checkpoint tells its normalizer"),
        (["--normalizer", "count"], "fits coc_tiny, coc_tiny2, coc_tiny_plain alike: give preset="),
        (["--normalizer", "count", "--preset", "coc_huge"], "unknown preset 'coc_huge'; choose from coc_tiny, "),
        (["--normalizer", "count", "--preset", "coc_small"], "does not fit coc_small (best fit: coc_tiny); "),
    ],
)
def test_mistakes_end_with_one_sentence(
    capsys, tmp_path: Path, checkpoint: Path, arguments: list[str], sentence: str
) -> None:
    assert main(["convert", str(checkpoint), str(tmp_path / "out"), *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("pointcoc convert: error: ")
    assert sentence in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""
    assert not (tmp_path / "out").exists()


def test_files_that_are_no_checkpoints(capsys, tmp_path: Path) -> None:
    assert main(["convert", str(tmp_path / "none.pth")]) == 2
    assert "none.pth is not a file" in capsys.readouterr().err
    torch.save({"conv1.weight": torch.zeros(2), "bn1.weight": torch.zeros(2)}, tmp_path / "resnet.pth")
    assert main(["convert", str(tmp_path / "resnet.pth")]) == 2
    assert "speaks no official dialect" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--version"], 0, f"pointcoc {__version__}"),
        (["--help"], 0, "convert"),
        (["convert", "--help"], 0, "--normalizer"),
        ([], 2, "COMMAND"),
        (["convert", "a", "--normalizer", "mean"], 2, "mean"),
    ],
)
def test_options(capsys, arguments: list[str], code: int, text: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    shown = capsys.readouterr()
    assert stop.value.code == code
    assert text in shown.out + shown.err


def test_the_module_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pointcoc.cli", "convert", str(tmp_path / "none.pth")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"pointcoc convert: error: checkpoint {tmp_path / 'none.pth'} is not a file\n"
