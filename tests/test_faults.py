"""Three kills in a short run; `make faults` has twenty."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("tools") / "faults.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each run is a fork")
def test_runs_that_were_killed_end_with_the_same_bits() -> None:
    """About 15 seconds, half of them the import in a process that has never trained, without which it cannot fork."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", str(SCRIPT), "--kills", "3"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("3 kills: every checkpoint readable")
