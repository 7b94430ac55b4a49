"""Classes of clouds in files: names and confidence, printed, written, and in Python."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import pointcoc
from pointcoc import ContextClusterNet
from pointcoc.cli import main
from pointcoc.data import PrepareCloud, read_cloud
from pointcoc.models import CloudTransform, WeightsInfo
from pointcoc.predict import classify, predict

NAMES = ("chair", "lamp", "sofa")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of clouds, and two clouds."""
    root = tmp_path_factory.mktemp("classes")
    torch.manual_seed(0)
    net = ContextClusterNet.from_preset("coc_points_small", num_classes=3)
    transform = CloudTransform(center="mean", scale="unit_ball", num_points=50)
    net.weights_info = WeightsInfo(class_names=NAMES, transform=transform)
    net.save_pretrained(root / "net")
    net.weights_info = WeightsInfo(transform=transform)
    net.save_pretrained(root / "nameless")
    for number, count in enumerate((40, 80)):
        np.save(root / f"cloud{number}.npy", np.random.default_rng(number).normal(size=(count, 3)))
    return root


def test_python_names_files_with_confidence(place: Path) -> None:
    files = [place / "cloud0.npy", place / "cloud1.npy"]
    found = classify(place / "net", files)
    net = pointcoc.load(place / "net")
    for one, file in zip(found, files, strict=True):
        with torch.no_grad():
            expected = net(PrepareCloud(net.weights_info.transform)(read_cloud(file))).softmax(1)[0]
        torch.testing.assert_close(one.scores, expected)
        assert (one.path, one.name) == (file, NAMES[int(expected.argmax())])
        assert one.confidence == pytest.approx(float(expected.max()))
        assert [name for name, _ in one.top(2)] == [NAMES[i] for i in expected.topk(2).indices]
        assert len(one.top()) == 3
    (alone,) = classify(net, files[1])
    assert torch.equal(alone.scores, found[1].scores)
    assert classify(place / "nameless", files[0])[0].name in ("0", "1", "2")


def test_the_command_prints_and_writes(place: Path, tmp_path: Path, capsys) -> None:
    files = [str(place / "cloud0.npy"), str(place / "cloud1.npy")]
    found = classify(place / "net", files)
    assert main(["predict", *files, "--weights", str(place / "net")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{one.path}  {', '.join(f'{name} {score:.1%}' for name, score in one.top())}" for one in found]
    assert main(["predict", *files, "--weights", str(place / "net"), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (f"wrote what classifier says to {tmp_path / 'out'}")
    with (tmp_path / "out" / "classes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == files
    assert list(rows[0]) == ["file", "class", "confidence", "class_2", "confidence_2", "class_3", "confidence_3"]
    assert (rows[1]["class_2"], float(rows[1]["confidence_2"])) == (
        found[1].top()[1][0],
        pytest.approx(found[1].top()[1][1], abs=1e-6),
    )
    written = json.loads((tmp_path / "out" / "classes.json").read_text())
    assert written[0]["class"] == found[0].name
    assert written[0]["top"][0] == [found[0].name, pytest.approx(found[0].confidence)]


def test_mistakes_are_one_sentence(place: Path, capsys) -> None:
    ContextClusterNet.from_preset("coc_points_small", num_classes=0).save_pretrained(place / "headless")
    cloud = str(place / "cloud0.npy")
    for words, sentence in (
        (
            (cloud, "--weights", "net", "--threshold", "0.3"),
            "threshold has no effect on a network that gives each file one class: leave it out",
        ),
        ((cloud, "--weights", "headless"), "the network has no classifier (num_classes is 0), so it names no class"),
        (("none.ply", "--weights", "net"), "none.ply is not a file"),
    ):
        inputs, _, weights, *rest = words
        assert main(["predict", inputs, "--weights", str(place / weights), *rest]) == 2
        error = capsys.readouterr().err
        assert sentence in error
        assert "Traceback" not in error


def test_nothing_to_classify_is_refused(place: Path) -> None:
    with pytest.raises(ValueError, match="files must hold at least one image or cloud, got none"):
        predict(place / "net", [])
