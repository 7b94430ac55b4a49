"""Two processes are one, with copies of the weights or with shards of them, and what two began one can end."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ddp_kinds import make
from image_sources import write_shards
from safetensors.torch import load_file
from torch.testing import assert_close

from pointcoc.train import Settings, evaluate, load_weights
from pointcoc.train.checkpoint import read_state

SCRIPT = Path(__file__).with_name("tools") / "ddp.py"


SCORES = ("loss", "mean_iou", "instance_mean_iou", "class_mean_iou", "box_ap", "mask_ap")


def records(out: Path, split: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["split"] == split]


def losses(out: Path) -> list[float]:
    return [line["loss"] for line in records(out, "update")]


def scores(out: Path) -> list[dict[str, float]]:
    """What each epoch measured."""
    return [{name: line[name] for name in SCORES if name in line} for line in records(out, "val")]


def run(runs: list[dict[str, Any]], folder: Path) -> str:
    """Do runs in one Python, which imports once; return what they said."""
    command = [sys.executable, "-W", "ignore", str(SCRIPT), json.dumps(runs)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forks")


def test_two_processes_equal_one(tmp_path: Path) -> None:
    """About 25 seconds: an import, and six runs of which four have two processes on one core."""
    fields = {"ema": 0.9, "clip_grad": 1.0}
    shards = {"processes": 2, "out": "shards", "fsdp": 2, "resume": "auto"}
    runs = [
        {"processes": 1, "out": "one"},
        {"processes": 2, "out": "two", "accumulate": 2},
        {"processes": 2, "out": "stopped", "stop_at": 7, "resume": "auto"},
        {"processes": 1, "out": "stopped", "resume": "auto"},
        {**shards, "accumulate": 2, "recompute": True, "stop_at": 7},
        shards,
    ]
    said = run([{**one, **fields} for one in runs], tmp_path)
    # Two processes may share a line. An update in two parts is two passes, so that the 7th is in the 4th update.
    for saved in ("stopped/epoch-0001-update-00007", "shards/epoch-0000-update-00004"):
        assert said.count(f"stopped by SIGTERM, saved {saved}; the same command with --resume auto continues") == 2
    expected = losses(tmp_path / "one")
    assert len(expected) == 10
    for name in ("two", "stopped", "shards"):
        assert losses(tmp_path / name) == pytest.approx(expected, rel=0, abs=1e-9)
        for file in ("epoch-0002/model.safetensors", "epoch-0002/ema.safetensors", "best/model.safetensors"):
            assert_close(*(load_file(tmp_path / folder / file) for folder in ("one", name)), rtol=0, atol=1e-8)
        states = [read_state(tmp_path / folder / "epoch-0002")["optimizer"] for folder in ("one", name)]
        assert_close(*states, rtol=0, atol=1e-8)


@pytest.mark.parametrize("kind", ["masks", "parts", "objects"])
def test_two_processes_equal_one_in_dense_prediction(kind: str, tmp_path: Path) -> None:
    """What two processes measure is joined; a run that one of them stopped goes on with one."""
    run(
        [
            {"kind": kind, "processes": 1, "out": "one", "ema": 0.9},
            {"kind": kind, "processes": 2, "out": "two", "ema": 0.9, "stop_at": 7, "resume": "auto"},
            {"kind": kind, "processes": 1, "out": "two", "ema": 0.9, "resume": "auto"},
            {"kind": kind, "processes": 2, "out": "both", "ema": 0.9},
        ],
        tmp_path,
    )
    expected = losses(tmp_path / "one")
    assert len(expected) == 10
    for name in ("two", "both"):
        assert losses(tmp_path / name) == pytest.approx(expected, rel=0, abs=1e-9)
        for found, wanted in zip(scores(tmp_path / name), scores(tmp_path / "one"), strict=True):
            assert len(wanted) >= 2
            assert found == pytest.approx(wanted, rel=0, abs=1e-6)  # losses are measured in float32


def test_processes_share_tar_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each trains on shards of its own; what they measure is joined, though one has fewer images; a stop is no end."""
    write_shards(tmp_path / "shards", (8, 8, 8, 8))
    write_shards(tmp_path / "shards", (7, 5, 3), "val")
    two = {"kind": "shards", "processes": 2, "epochs": 3, "ema": 0.9}
    said = run(
        [
            {**two, "out": "whole"},
            {**two, "out": "stopped", "stop_at": 6, "resume": "auto"},
            {**two, "out": "stopped", "resume": "auto"},
        ],
        tmp_path,
    )
    assert said.count("stopped by SIGTERM, saved stopped/epoch-0001; ") == 2  # the second epoch begins anew
    assert len(losses(tmp_path / "whole")) == 12
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")
    assert len({(tmp_path / name / "best" / "model.safetensors").read_bytes() for name in ("whole", "stopped")}) == 1
    kind = make("shards")
    measured = load_weights(kind.model, tmp_path / "whole")["val"]
    monkeypatch.chdir(tmp_path)
    assert evaluate(kind.model, kind.loaders(Settings())[1]) == pytest.approx(measured, rel=0, abs=1e-6)
