"""Checks of arguments say what came and what is allowed; extras say how to install them."""

import sys
from pathlib import Path

import pytest

from pointcoc.checks import check_file, check_range, import_extra


def test_both_bounds_of_a_range_are_allowed() -> None:
    for value in (0, 0.5, 1):
        check_range("share", value, 0, 1)
    check_range("share", 1e9, 1e9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2, 0, 1), r"share must be in \[0, 1\], got 2"),
        ((-1, 0, 1), r"share must be in \[0, 1\], got -1"),
        ((0, 1), "share must be at least 1, got 0"),
        ((float("nan"), 0), "share must be at least 0, got nan"),
        ((float("nan"), 0, 1), r"share must be in \[0, 1\], got nan"),
    ],
)
def test_numbers_out_of_range(arguments: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_range("share", *arguments)


def test_a_missing_file_or_a_folder_in_its_place(tmp_path: Path) -> None:
    check_file(Path(__file__))
    with pytest.raises(FileNotFoundError, match=r"none\.txt is not a file"):
        check_file(tmp_path / "none.txt")
    with pytest.raises(FileNotFoundError, match="give a list"):
        check_file(str(tmp_path), "give a list")


def test_a_module_of_ours_names_the_package_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pointcoc.viz.colors", raising=False)
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ImportError, match=r"pictures need numpy; install it with: pip install 'pointcoc\[viz\]'"):
        import_extra("pointcoc.viz.colors", "viz", "pictures need")


def test_what_no_extra_brings_is_no_missing_extra() -> None:
    for module in ("pointcoc.nothing", "json.nothing"):
        with pytest.raises(ModuleNotFoundError, match=f"No module named '{module}'"):
            import_extra(module)


def test_a_package_that_lacks_something_says_so_itself(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half.py").write_text("import another_half")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="No module named 'another_half'"):
        import_extra("half", "viz")
