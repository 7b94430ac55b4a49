"""Fixtures of the geometry tests."""

from __future__ import annotations

import pytest
from set_samples import BACKENDS, use_backend


@pytest.fixture(params=BACKENDS)
def backend(request, monkeypatch) -> str:
    """A backend that can be used here, for neighbors and for farthest points."""
    if request.param == "torch_cluster":
        pytest.importorskip("torch_cluster", reason="torch_cluster is not installed")
    use_backend(request.param, monkeypatch)
    return request.param
