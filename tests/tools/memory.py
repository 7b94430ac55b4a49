"""Peak memory of code that runs in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MEASURE = """
import resource
import torch

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts KiB

def grown(run):
    before = peak()
    run()
    return peak() - before
"""


def printed_numbers(code: str) -> list[float]:
    """Run code that may call `grown(function)`, MiB that the peak rises by, and return the numbers that it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", MEASURE + code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return [float(word) for word in done.stdout.split()]
