"""Fixtures of the geometry tests."""

from __future__ import annotations

import pytest
from set_samples import BACKENDS


@pytest.fixture(params=BACKENDS)
def backend(request, monkeypatch) -> str:
    """A backend that can be used here."""
    monkeypatch.delenv("POINTCOC_DISABLE_EXTENSIONS", raising=False)
    if request.param == "torch_cluster":
        pytest.importorskip("torch_cluster", reason="torch_cluster is not installed")
    return request.param
