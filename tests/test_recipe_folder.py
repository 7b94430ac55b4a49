"""Twenty objects a class in five formats: one command trains, and new files get the name of their class."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cloud_writers import WRITERS, write_off
from recipes import records, run

from pointcoc.predict import classify

OFFSET = np.array([500_000.0, 4_000_000.0, 100.0])
FORMATS = (".ply", ".las", ".pcd", ".xyz", ".off")
SHAPES = {"cube": (1.0, 1.0, 1.0), "plate": (1.0, 1.0, 0.05)}


def write(path: Path, size: tuple[float, float, float], seed: int) -> None:
    """Write a box, as a mesh or as points on its surface, somewhere on a map."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    low = OFFSET + random.integers(0, 100, 3)
    high = low + np.array(size) * random.uniform(0.8, 1.2, 3)
    if path.suffix == ".off":
        return write_off(path, low, high)
    count = 70 + seed  # each cloud has another number of points
    inside = random.random((count, 3))
    areas = np.array([size[1] * size[2], size[0] * size[2], size[0] * size[1]])
    axis = random.choice(3, count, p=areas / areas.sum())
    inside[np.arange(count), axis] = random.integers(0, 2, count)
    return WRITERS[path.suffix](path, low + inside * (high - low), random.integers(0, 256, (count, 3)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("boxes")
    for number, (kind, size) in enumerate(SHAPES.items()):
        for item in range(20):
            write(root / kind / f"{item}{FORMATS[item % 5]}", size, 20 * number + item)
    return root


def test_a_folder_trains_and_new_files_are_named(folder: Path, tmp_path: Path, capsys) -> None:
    options = ("--preset", "coc_points_small", "--num-points", 64, "--up", "z", "--epochs", 8, "--batch-size", 8)
    more = ("--scale", 1.1, "--lr", 5e-3, "--warmup-epochs", 0.5, "--clip-grad", 1, "--out", tmp_path / "run")
    run("modelnet40", "--data", folder, *options, *more)
    said = capsys.readouterr().out
    assert "there is no split: " in said
    assert records(tmp_path / "run")[-1]["accuracy"] >= 0.9
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    assert len(split["train"]) + len(split["test"]) == 40
    assert not set(split["train"]) & set(split["test"])
    new = [tmp_path / f"{kind}{ending}" for kind in SHAPES for ending in FORMATS]
    for number, file in enumerate(new):
        write(file, SHAPES[file.stem], 100 + number)
    found = classify(tmp_path / "run", new)
    assert sum(one.name == one.path.stem for one in found) >= 9
    assert all(0.5 <= one.confidence <= 1 for one in found)


def test_a_feature_that_files_lack_stops_before_training(folder: Path, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit):
        run("modelnet40", "--data", folder, "--smoke", "--features", "color", "--out", tmp_path / "run")
    said = " ".join(capsys.readouterr().err.split())
    assert ".off has no color, and the features are color" in said
    assert not (tmp_path / "run").exists()
