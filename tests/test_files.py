"""A file appears whole or not at all."""

from pathlib import Path

import pytest

from pointcoc.files import atomic, cache_folder, remove


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(OSError, match="full"), atomic(path) as temporary:
        temporary.write_text("ne")
        raise OSError("full")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    for text in ("old", "new"):
        with atomic(path) as temporary:
            temporary.write_text(text)
    assert path.read_text() == "new"


def test_files_folders_and_nothing_are_removed(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "file").touch()
    for name in ("folder", "file", "nothing"):
        remove(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    with atomic(tmp_path / "file", is_shared=True) as first, atomic(tmp_path / "file", is_shared=True) as second:
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "file").read_text() == "first"  # the outer one ends last
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_cache_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.delenv("POINTCOC_HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    usual = tmp_path / ".cache" / "pointcoc" / "a"
    assert cache_folder("a") == usual
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("a") == tmp_path / "xdg" / "pointcoc" / "a"
    usual.mkdir(parents=True)  # from before $XDG_CACHE_HOME was set or read
    assert cache_folder("a") == usual
    monkeypatch.setenv("POINTCOC_HOME", str(tmp_path / "home"))
    assert cache_folder("a") == tmp_path / "home" / "a"
