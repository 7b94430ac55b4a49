"""Compiled packages are used where they load, and plain torch elsewhere."""

from __future__ import annotations

import importlib

import pytest
import torch

from pointcoc import extensions
from pointcoc.extensions import NAMES, extension


@pytest.mark.parametrize("name", NAMES)
def test_an_installed_package_is_used(monkeypatch, name: str) -> None:
    monkeypatch.delenv("POINTCOC_DISABLE_EXTENSIONS", raising=False)
    pytest.importorskip(name, reason=f"{name} is not installed")
    assert extension(name).__name__ == name


@pytest.mark.parametrize("value", ["1", "torch_scatter", "torch_cluster,torch_scatter"])
def test_a_disabled_package_is_not_used(monkeypatch, value: str) -> None:
    monkeypatch.setenv("POINTCOC_DISABLE_EXTENSIONS", value)
    assert extension("torch_scatter") is None


@pytest.mark.parametrize("value", ["", "0", "torch_cluster"])
def test_the_other_packages_stay(monkeypatch, value: str) -> None:
    monkeypatch.setenv("POINTCOC_DISABLE_EXTENSIONS", value)
    monkeypatch.setattr(extensions, "_load", lambda name: torch)
    assert extension("torch_scatter") is torch


def test_a_missing_package_is_not_used(monkeypatch) -> None:
    monkeypatch.delenv("POINTCOC_DISABLE_EXTENSIONS", raising=False)
    monkeypatch.setattr(extensions, "_load", lambda name: None)
    assert extension("torch_cluster") is None


def test_nothing_is_found_where_nothing_is_installed(monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert extensions._load.__wrapped__("torch_scatter") is None


def test_a_package_built_for_another_torch_warns(monkeypatch) -> None:
    def refuse(name: str) -> None:
        raise OSError("undefined symbol")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.warns(UserWarning, match=r"torch_scatter is installed but does not load \(undefined symbol\); plain"):
        assert extensions._load.__wrapped__("torch_scatter") is None


def test_a_traced_graph_uses_plain_torch(monkeypatch) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert extension("torch_scatter") is None


def test_an_unknown_name_is_our_mistake() -> None:
    with pytest.raises(AssertionError, match="torch_sparse"):
        extension("torch_sparse")
