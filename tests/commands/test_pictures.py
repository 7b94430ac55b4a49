"""The commands that draw: what they write, and one sentence for each mistake."""

from __future__ import annotations

import sys
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from PIL import Image

from pointcoc import ContextClusterNet
from pointcoc.cli import main


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an image, a cloud, and what is neither."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("a.png")
    np.save("b.npy", np.random.default_rng(0).normal(size=(200, 3)))
    np.save("empty.npy", np.zeros((0, 3)))
    Path("text.png").write_text("no image")
    (tmp_path / "more").mkdir()
    Image.fromarray(pixels).save("more/a.png")
    return tmp_path


def test_explore(capsys, files: Path) -> None:
    assert main(["explore", "a.png", "b.npy", "more/a.png", "--size", "32", "--out", "pages/page.html"]) == 0
    page = Path("pages/page.html").read_text()
    assert '"name":"more/a.png"' in page
    assert "a small network that ships with pointcoc" in page
    assert "wrote pages/page.html: 3 inputs, " in capsys.readouterr().out


def test_explore_with_weights(files: Path) -> None:
    torch.manual_seed(0)
    ContextClusterNet.from_preset("coc_nano", num_classes=3).save_pretrained("net")
    assert main(["explore", "a.png", "--weights", "net", "--size", "16", "--out", "page.html"]) == 0
    assert "Network: net." in Path("page.html").read_text()


@pytest.mark.parametrize("extra", [[], ["--stage", "1"], ["--kind", "similarity", "--head", "2"]])
def test_visualize(capsys, files: Path, extra: list[str]) -> None:
    assert main(["visualize", "a.png", "b.npy", "--size", "32", "--dpi", "40", "--out", "out", *extra]) == 0
    for name in ("a", "b"):
        with Image.open(files / "out" / f"{name}.png") as picture:
            assert picture.size[0] > picture.size[1] > 20
    assert "wrote 2 pictures to out" in capsys.readouterr().out


def test_inputs_of_one_name_keep_their_folders_apart_and_are_never_replaced(capsys, files: Path) -> None:
    before = Path("a.png").read_bytes()
    draw = ["visualize", "--size", "16", "--dpi", "20"]
    assert main([*draw, "a.png", "mo*/*.png", "--out", "out"]) == 0
    assert sorted(str(path) for path in Path("out").rglob("*.png")) == ["out/a.png", "out/more/a.png"]
    assert main([*draw, "a.png", "--out", "out/more/.."]) == 0  # its own results may be replaced
    capsys.readouterr()
    assert main([*draw, "a.png", "--out", "."]) == 2
    assert "--overwrite to replace them" in capsys.readouterr().err
    assert Path("a.png").read_bytes() == before
    assert main([*draw, "a.png", "--out", ".", "--overwrite"]) == 0
    assert Path("a.png").read_bytes() != before


def test_a_bar_counts_several_files_where_people_watch(capsys, monkeypatch, files: Path) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    draw = ["visualize", "--size", "16", "--dpi", "20", "--out", "out"]
    assert main([*draw, "a.png", "b.npy"]) == 0
    assert "2/2" in capsys.readouterr().err
    assert main([*draw, "a.png"]) == 0
    assert capsys.readouterr().err == ""


def test_animate(capsys, files: Path) -> None:
    for epoch in (1, 2):
        Image.new("RGB", (8, 8), (epoch * 100, 0, 0)).save(f"more/x-epoch{epoch:04d}.png")
    assert main(["animate", "more", "--out", "film.gif"]) == 0
    assert "wrote film.gif: 2 epochs" in capsys.readouterr().out
    with Image.open("film.gif") as film:
        assert film.n_frames == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["explore", "none.png", "--out", "p.html"], "none.png is not a file"),
        (
            ["explore", "a.png", "--out", "p.txt"],
            "--out must be the name of an HTML page, such as page.html, got p.txt",
        ),
        (["explore", "text.png", "--out", "p.html"], "text.png cannot be read: it is text, not an image"),
        (["explore", "empty.npy", "--out", "p.html"], "empty.npy cannot be read as a cloud: it has 0 points"),
        (
            ["explore", "a.png", "--weights", "nowhere", "--out", "p.html"],
            "no weights at nowhere: give a folder with model.safetensors",
        ),
        (["visualize", "a.png", "--out", "."], "a.png would be replaced: these files are no results of an earlier"),
        (
            ["visualize", "a.png", "--stage", "4", "--out", "o"],
            "--stage 4 does not exist; the network has stages 1 to 3",
        ),
        (["visualize", "a.png", "--stage", "0", "--out", "o"], "--stage counts from 1, got 0"),
        (["visualize", "a.png", "--block", "3", "--out", "o"], "block must be in [0, 0]"),
        (["visualize", "a.png", "--head", "5", "--out", "o"], "head must be in [0, 3]"),
        (
            ["visualize", "a.png", "--stage", "1", "--block", "1", "--out", "o"],
            "heads: leave --block out",
        ),
        (["visualize", "a.png", "--stage", "1", "--head", "2", "--out", "o"], "heads: leave --head out"),
        (["visualize", "b.npy", "--points", "0", "--out", "o"], "num_points must be at least 1, got 0"),
        (["animate", "more", "--out", "film.gif"], "more holds no maps"),
    ],
)
def test_mistakes_end_with_one_sentence(capsys, monkeypatch, files: Path, arguments: list[str], sentence: str) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(f"pointcoc {arguments[0]}: error: ")
    assert sentence in shown.err
    assert shown.err.count("\n") == 1


def test_a_missing_package_is_named(capsys, monkeypatch, files: Path) -> None:
    for name in [name for name in sys.modules if name.startswith("pointcoc.viz")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["explore", "a.png", "--out", "p.html"]) == 2
    assert "install it with: pip install 'pointcoc[viz]'" in capsys.readouterr().err
