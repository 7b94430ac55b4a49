"""Two processes are one, and what two began one can end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

SCRIPT = Path(__file__).with_name("ddp.py")


def losses(out: Path) -> list[float]:
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records if record["split"] == "update"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forks")
def test_two_processes_equal_one(tmp_path: Path) -> None:
    """About 20 seconds: an import, and four runs of which two have two processes on one core."""
    runs = [
        {"processes": 1, "out": "one"},
        {"processes": 2, "out": "two", "accumulate": 2},
        {"processes": 2, "out": "stopped", "stop_at": 7, "resume": "auto"},
        {"processes": 1, "out": "stopped", "resume": "auto"},
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", str(SCRIPT), json.dumps(runs)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    said = "stopped by SIGTERM, saved stopped/epoch-0001-update-00007; the same command with --resume auto continues"
    assert done.stdout.splitlines().count(said) == 2
    expected = losses(tmp_path / "one")
    assert len(expected) == 10
    for name in ("two", "stopped"):
        assert losses(tmp_path / name) == pytest.approx(expected, rel=0, abs=1e-9)
        weights = [load_file(tmp_path / folder / "epoch-0002" / "model.safetensors") for folder in ("one", name)]
        assert_close(*weights, rtol=0, atol=1e-8)
