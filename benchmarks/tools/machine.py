"""What a benchmark ran on, as text for its results."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from pointcoc.extensions import NAMES, extension

PACKAGES = ("torch", "timm", "torch_geometric")


def machine(device: torch.device) -> dict[str, str]:
    """Device, processor, threads, versions and commit."""
    found = {"device": device.type}
    if device.type == "cuda":
        found["GPU"] = f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}"
    found["processor"] = f"{_processor()}, {os.cpu_count()} processors, {torch.get_num_threads()} threads used"
    found["Python"] = platform.python_version()
    found |= {name: _version(name) for name in PACKAGES}
    found["extensions"] = ", ".join(name for name in NAMES if extension(name) is not None) or "none"
    return {**found, "commit": _commit()}


def load() -> str:
    """Load averages of 1, 5 and 15 minutes."""
    return ", ".join(f"{value:.2f}" for value in os.getloadavg())


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # an archive without git
        return "unknown"
