"""Parsed clouds in the cache: text and meshes are parsed once, until their file or what is asked of it changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pointcoc.data.cached import cached
from pointcoc.data.cloud import Cloud
from pointcoc.data.cloud_files import MESHES, read_cloud

READERS = 2
"""Raised when a reader changes what it returns."""
SLOW = (*MESHES, ".txt", ".xyz", ".asc", ".csv", ".pts", ".ptx")
"""Endings of files that take longer to parse than to read."""
FEATURE = "feature "


def read_cached(path: Path, cache: Path | None, **reading: Any) -> Cloud:
    """Read a cloud, from the cache if it holds what the file would give; else the cache gets it.

    Args:
        path: the file.
        cache: folder of the cache; None, and a format that is not slow to parse, goes without.
        **reading: arguments of `read_cloud`.
    """
    if cache is None or path.suffix.lower() not in SLOW:
        return read_cloud(path, **reading)
    try:
        arrays = cached(
            cache, path, [path], {"readers": READERS, **reading}, lambda: _to_arrays(read_cloud(path, **reading))
        )
    except OSError:  # a full disk costs time, not the training
        return read_cloud(path, **reading)
    return _from_arrays(arrays, path)


def _to_arrays(cloud: Cloud) -> dict[str, np.ndarray]:
    tensors = {"pos": cloud.pos, "label": cloud.label, "rows": cloud.rows}
    tensors |= {f"{FEATURE}{name}": values for name, values in cloud.features.items()}
    arrays = {name: values.numpy() for name, values in tensors.items() if values is not None}
    return arrays | {"remarks": np.array(json.dumps(cloud.remarks))}


def _from_arrays(arrays: Mapping[str, np.ndarray], path: Path) -> Cloud:
    tensors = {name: torch.from_numpy(values) for name, values in arrays.items() if name != "remarks"}
    return Cloud(
        pos=tensors["pos"],
        features={name.removeprefix(FEATURE): one for name, one in tensors.items() if name.startswith(FEATURE)},
        label=tensors.get("label"),
        rows=tensors.get("rows"),
        remarks=tuple(json.loads(str(arrays["remarks"]))),
        path=path,
    )
