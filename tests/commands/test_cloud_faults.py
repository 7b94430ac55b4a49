"""Files that go wrong, through every command that reads clouds: right with a note, or one sentence, no traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pointcoc import ContextClusterNet
from pointcoc.cli import main
from pointcoc.data import read_cloud
from pointcoc.models import CloudTransform, WeightsInfo
from pointcoc.segmentation import point_segmentation

RNG = np.random.default_rng(0)
POS, RGB = RNG.normal(size=(60, 3)).round(4), RNG.integers(0, 256, (60, 3))
HEADER = "ply\nformat ascii 1.0\nelement vertex 60\n" + "".join(f"property float {axis}\n" for axis in "xyz")
COLORS = "".join(f"property uchar {name}\n" for name in ("red", "green", "blue"))


def rows(*columns: np.ndarray, mark: str = " ") -> str:
    return "".join(mark.join(f"{value:g}" for value in row) + "\n" for row in np.column_stack(columns).tolist())


# Name, content, and what is said: a part of a note on stderr, nothing, or (after "!") a part of the error.
FAULTS: dict[str, tuple[str, Callable[[], str], str]] = {
    "header": ("a.txt", lambda: "X Y Z R G B\n" + rows(POS, RGB), ""),
    "semicolons": ("a.txt", lambda: rows(POS, RGB, mark=";"), ""),
    "byte order mark": ("a.xyz", lambda: "\ufeff" + rows(POS), ""),
    "carriage returns": ("a.ply", lambda: (HEADER + COLORS + "end_header\n" + rows(POS, RGB)).replace("\n", "\r"), ""),
    "leica": ("a.pts", lambda: "60\n" + rows(POS, np.arange(60), RGB), ""),
    "normals": ("a.xyz", lambda: rows(POS, POS / 9), "columns 4 to 6 left out"),
    "nan": ("a.xyz", lambda: rows(POS) + "nan nan nan\n", "1 of 61 points are NaN or infinite and were dropped"),
    "stray byte": ("a.txt", lambda: rows(POS, RGB) + "1 2 3 10\x103 4 5\n", "row 61 had the byte 0x10 in a number"),
    "no format": ("a.ply", lambda: HEADER.replace("format ascii 1.0\n", "") + "end_header\n" + rows(POS), "!line 2"),
    "truncated": ("a.ply", lambda: HEADER + "end_header\n" + rows(POS[:20]), "!row 20"),
    "decimal comma": ("a.xyz", lambda: rows(POS).replace(".", ","), "!row 1 has a decimal comma"),
    "short row": ("a.txt", lambda: rows(POS, RGB) + "0.1 0.2 0.3 4\n", "!row 61 holds 4 numbers"),
    "last line cut": ("a.txt", lambda: rows(POS, RGB) + "0.1 0.2\n", "!row 61 holds 2 numbers"),
    "count": ("a.pts", lambda: "70\n" + rows(POS), "!it says 70 points and holds 60"),
    "split header": ("a.off", lambda: "OFF4 4 6\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n", ""),
}  # fmt: skip
COMMANDS = ("predict classes", "predict points", "explore", "visualize")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A classifier and a segmenter of clouds."""
    root = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    transform = CloudTransform(center="mean", scale="unit_ball", num_points=64, any_num_points=True)
    net = ContextClusterNet.from_preset("coc_points_small", num_classes=3)
    net.weights_info = WeightsInfo(class_names=("a", "b", "c"), transform=transform)
    net.save_pretrained(root / "classes")
    narrow = {"dims": (8, 12, 16), "heads": 2, "head_dims": 4, "num_classes": 0, "dense": True}
    model = point_segmentation(ContextClusterNet.from_preset("coc_points_small", **narrow), num_classes=3)
    model.weights_info = WeightsInfo(transform=transform)
    model.save_pretrained(root / "points")
    return {"classes": root / "classes", "points": root / "points"}


def run(command: str, file: Path, weights: dict[str, Path], out: Path) -> int:
    name, _, kind = command.partition(" ")
    chosen = weights[kind or "classes"]
    target = out / "page.html" if name == "explore" else out
    return main([name, str(file), "--weights", str(chosen), "--out", str(target)])


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("fault", FAULTS)
def test_every_command(fault: str, command: str, weights: dict[str, Path], tmp_path: Path, capsys) -> None:
    if command in ("explore", "visualize"):
        pytest.importorskip("matplotlib")
    name, content, said = FAULTS[fault]
    file = tmp_path / name
    file.write_bytes(content().encode())
    code = run(command, file, weights, tmp_path / "out")
    error = capsys.readouterr().err
    assert "Traceback" not in error
    if said.startswith("!"):
        assert code == 2
        assert f"error: {file} cannot be read as a cloud: " in error
        assert said[1:] in error
        return
    assert code == 0
    assert (said in error) if said else ("note: " not in error)
    written = tmp_path / "out" / "a.ply"
    if command == "predict points":
        assert torch.allclose(read_cloud(written).pos, read_cloud(file, num_points=2048).pos)
