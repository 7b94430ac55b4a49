"""Two processes are one, with copies of the weights or with shards of them, and what two began one can end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from pointcoc.train.checkpoint import read_state

SCRIPT = Path(__file__).with_name("ddp.py")


def losses(out: Path) -> list[float]:
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records if record["split"] == "update"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forks")
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
    runs = [{**run, **fields} for run in runs]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", str(SCRIPT), json.dumps(runs)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    # Two processes may share a line. An update in two parts is two passes, so that the 7th is in the 4th update.
    for saved in ("stopped/epoch-0001-update-00007", "shards/epoch-0000-update-00004"):
        said = f"stopped by SIGTERM, saved {saved}; the same command with --resume auto continues"
        assert done.stdout.count(said) == 2
    expected = losses(tmp_path / "one")
    assert len(expected) == 10
    for name in ("two", "stopped", "shards"):
        assert losses(tmp_path / name) == pytest.approx(expected, rel=0, abs=1e-9)
        for file in ("epoch-0002/model.safetensors", "epoch-0002/ema.safetensors", "best.safetensors"):
            assert_close(*(load_file(tmp_path / folder / file) for folder in ("one", name)), rtol=0, atol=1e-8)
        states = [read_state(tmp_path / folder / "epoch-0002")["optimizer"] for folder in ("one", name)]
        assert_close(*states, rtol=0, atol=1e-8)
