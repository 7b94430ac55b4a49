"""Packages of extras are imported, or a sentence says which is missing."""

from __future__ import annotations

import sys

import pytest

from pointcoc.checks import import_extra


def test_a_missing_package_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(
        ImportError, match=r"^this data set needs h5py; install it with: pip install 'pointcoc\[data\]'"
    ):
        import_extra("h5py", "data")


def test_a_package_that_a_module_of_ours_needs_is_named(monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "pointcoc.viz.figures", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="this command needs matplotlib"):
        import_extra("pointcoc.viz.figures", "viz", "this command")


def test_our_mistake_is_no_missing_package() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'pointcoc\.vis'"):
        import_extra("pointcoc.vis", "viz")


def test_a_package_that_lacks_something_says_so_itself(tmp_path, monkeypatch) -> None:
    (tmp_path / "half.py").write_text("import another_half")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="No module named 'another_half'"):
        import_extra("half", "viz")
