"""Scores by hand, metrics.jsonl line by line, and the line of an epoch."""

import json
import time
from pathlib import Path

import pytest
import torch

from pointcoc.train.metrics import Progress, Scores, append_metrics, trim_metrics


def test_scores_by_hand() -> None:
    scores = Scores(3)
    logits = torch.eye(3)[torch.tensor([0, 0, 1, 2])]
    scores.update(torch.tensor(4 * 1.0), logits, torch.tensor([0, 0, 0, 2]))
    scores.update(torch.tensor(3.0), torch.eye(3)[[1]], torch.tensor([1]))
    computed = scores.compute()
    assert computed["loss"] == pytest.approx((4 * 1.0 + 1 * 3.0) / 5)
    assert computed["accuracy"] == pytest.approx(4 / 5)
    assert computed["mean_class_accuracy"] == pytest.approx((2 / 3 + 1 + 1) / 3)


def test_a_line_is_on_disk_as_soon_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with path.open("a") as metrics:
        append_metrics(metrics, "train", 1, {"loss": 0.5, "is_best": True})
        line = json.loads(path.read_text())
        assert abs(line.pop("time") - time.time()) < 60
        assert line == {"split": "train", "epoch": 1, "loss": 0.5, "is_best": True}
        append_metrics(metrics, "val", 1, {"loss": float("nan")})
        assert json.loads(path.read_text().splitlines()[1])["loss"] is None


def test_trimming_keeps_whole_epochs_and_the_updates_of_one_begun(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with path.open("a") as metrics:
        for epoch in (1, 2, 3):
            append_metrics(metrics, "update", epoch, {"update": 10 * epoch - 5})
            append_metrics(metrics, "update", epoch, {"update": 10 * epoch})
            append_metrics(metrics, "train", epoch, {})
        append_metrics(metrics, "test", 1, {})
        append_metrics(metrics, "test-votes", 1, {})
    with path.open("a") as file:
        file.write('{"split": "tr')
    trim_metrics(path, 2, 25)
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert {line["split"] for line in kept} == {"update", "train"}
    assert [line["epoch"] for line in kept if line["split"] == "train"] == [1, 2]
    assert [line["update"] for line in kept if line["split"] == "update"] == [5, 10, 15, 20, 25]
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_trimming_nothing_makes_no_file(tmp_path: Path) -> None:
    trim_metrics(tmp_path / "metrics.jsonl", 2, 25)
    assert not list(tmp_path.iterdir())


def test_an_epoch_is_one_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    train = {"loss": 0.5, "accuracy": 0.75, "sets_per_second": 1234.0}
    with Progress(epochs=10, updates_per_epoch=4) as progress:
        progress.epoch(2, train, {"loss": 0.4, "accuracy": 0.8}, is_best=True)
        progress.epoch(3, train, None, is_best=True)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("epoch  2/10, train loss 0.500 accuracy 75.0%, val loss 0.400 accuracy 80.0% (best), 1,234")
    assert first.endswith("left")
    assert "val" not in second


def test_the_bar_of_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    scores = Scores(2)
    scores.update(torch.tensor(0.25), torch.eye(2), torch.tensor([0, 0]))
    with Progress(epochs=2, updates_per_epoch=1) as progress:
        progress.step(1, 2, 0.25, scores)
        progress.step(2, 2, 0.25, scores)
    shown = capsys.readouterr().err
    assert "epoch 2/2 100%" in shown
    assert "loss 0.250, accuracy 50.0%" in shown
    assert "sets/s" in shown
    assert "left" in shown
