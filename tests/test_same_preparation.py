"""One object stored in three ways: every path from its file to a network gives the same class scores."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from recipes import example, run
from torch import Tensor

import pointcoc
from pointcoc import ContextClusterNet
from pointcoc.cli import main
from pointcoc.data import PrepareCloud, read_cloud, shapes
from pointcoc.predict import classify
from pointcoc.robustness import open_views

STORED = {"millimeters": (1000.0, (250.0, -40.0, 0.0)), "utm": (3.0, (5e5, 4e6, 100.0)), "ball": (1.0, (0.0, 0.0, 0.0))}
TOLERANCE = 1e-4
NUM_POINTS = 96


@pytest.fixture(scope="module")
def objects() -> tuple[np.ndarray, np.ndarray]:
    """Twenty solids of 96 points, float64, and their classes."""
    clouds = shapes("train", 20, 10, NUM_POINTS)
    return clouds.points.double().numpy(), clouds.labels.numpy()


@pytest.fixture(scope="module")
def folders(objects: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same objects in millimeters, in UTM and in the unit ball, as HDF5 files, and object 0 of each as a file."""
    root = tmp_path_factory.mktemp("objects")
    for name, (scale, offset) in STORED.items():
        folder = root / name
        folder.mkdir()
        (folder / "shape_names.txt").write_text("".join(f"solid{number}\n" for number in range(10)))
        points = objects[0] * scale + offset
        for split in ("train", "test"):
            with h5py.File(folder / f"ply_data_{split}0.h5", "w") as file:
                file["data"], file["label"] = points, objects[1]
        np.save(folder / "object.npy", points[0])
    return {name: root / name for name in STORED}


@pytest.fixture(scope="module")
def weights(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train in millimeters, by the recipe's defaults, so that scores are no accident of random weights."""
    out = tmp_path_factory.mktemp("run")
    options = ("--preset", "coc_points_small", "--epochs", 12, "--warmup-epochs", 0, "--batch-size", 4, "--lr", 2e-3)
    run(
        "modelnet40", "--data", folders["millimeters"], *options, "--num-points", NUM_POINTS, "--val-fraction", 0,
        "--out", out,
    )  # fmt: skip
    return out


@contextmanager
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Tensor]]:
    """Collect the class scores of everything that a network classifies."""
    scores: list[Tensor] = []
    forward = ContextClusterNet.forward_head

    def watched(net, features, pre_logits=False):
        logits = forward(net, features, pre_logits)
        scores.append(logits.detach().float().softmax(1))
        return logits

    with monkeypatch.context() as patch:
        patch.setattr(ContextClusterNet, "forward_head", watched)
        yield scores


@pytest.fixture(scope="module")
def truth(folders: dict[str, Path], weights: Path) -> Tensor:
    """Scores of object 0, in Python, step by step."""
    net = pointcoc.load(weights)
    prepare = PrepareCloud(net.weights_info.transform)
    with torch.no_grad():
        scores = net(prepare(read_cloud(folders["ball"] / "object.npy"))).softmax(1)[0]
    assert scores.max() > 0.15  # it has learned something
    return scores


@pytest.mark.parametrize("stored", STORED)
def test_every_path_gives_the_same_scores(
    folders: dict[str, Path], weights: Path, truth: Tensor, stored: str, tmp_path: Path, monkeypatch
) -> None:
    folder = folders[stored]
    file = str(folder / "object.npy")

    (found,) = classify(weights, file)
    torch.testing.assert_close(found.scores, truth, atol=TOLERANCE, rtol=0)
    assert found.name == f"solid{int(truth.argmax())}"

    assert main(["predict", file, "--weights", str(weights), "--out", str(tmp_path)]) == 0
    with (tmp_path / "classes.csv").open() as table:
        row = next(csv.DictReader(table))
    assert float(row["confidence"]) == pytest.approx(float(truth.max()), abs=TOLERANCE)
    assert row["class"] == found.name

    with seen(monkeypatch) as scores:
        run("modelnet40", "--data", folder, "--weights", weights, "--eval-only")
    torch.testing.assert_close(scores[0][0], truth, atol=TOLERANCE, rtol=0)

    module = example("modelnet40")
    settings = module.replace(module.default_settings(["--data", "x", "--weights", str(weights)]), data=folder)
    plain = module.replace(settings, scale=1.0, shift=0.0, resample=False, num_points=NUM_POINTS)
    training = module.open_clouds(plain, "train")
    training.transform = module.augmented(plain, plain.transform())
    net = pointcoc.load(weights)
    with torch.no_grad():
        torch.testing.assert_close(net(training[0]).softmax(1)[0], truth, atol=TOLERANCE, rtol=0)

    with seen(monkeypatch) as scores:
        points, _ = next(iter(open_views(net, folder).clean()))
        net(points)
    torch.testing.assert_close(scores[0][0], truth, atol=TOLERANCE, rtol=0)

    with seen(monkeypatch) as scores:
        watched = pytest.importorskip("pointcoc.viz.inputs").trace_file(file, net)
        net(watched.points)
    torch.testing.assert_close(scores[0][0], truth, atol=TOLERANCE, rtol=0)


def test_the_choice_of_points_is_the_same_too(folders: dict[str, Path], weights: Path) -> None:
    """Larger files: the network meets as many points as in training, the same ones wherever the file is read."""
    net = pointcoc.load(weights)
    transform = net.weights_info.transform
    assert transform.num_points == NUM_POINTS
    cloud = read_cloud(folders["utm"] / "object.npy")
    twice = np.concatenate([cloud.pos.numpy(), cloud.pos.numpy() + 1e-3])
    np.save(folders["utm"] / "twice.npy", twice)
    (found,) = classify(net, folders["utm"] / "twice.npy")
    chosen = PrepareCloud(transform)(read_cloud(folders["utm"] / "twice.npy"))
    assert len(chosen.pos) == NUM_POINTS
    with torch.no_grad():
        torch.testing.assert_close(net(chosen).softmax(1)[0], found.scores, atol=1e-6, rtol=0)
