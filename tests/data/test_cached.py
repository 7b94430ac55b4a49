"""The cache of parsed files: when it answers, when it parses anew, damage, and several processes at once."""

from __future__ import annotations

import multiprocessing
import os
import re
from pathlib import Path

import numpy as np
import pytest

from pointcoc.data.cached import cache_file, cached, fingerprint


class Parser:
    """Reads the numbers of files, and counts how often."""

    def __init__(self, *sources: Path) -> None:
        self.sources = sources
        self.calls = 0

    def __call__(self) -> dict[str, np.ndarray]:
        self.calls += 1
        values = [float(value) for source in self.sources for value in source.read_text().split()]
        return {"pos": np.array(values), "label": np.arange(3), "remarks": np.array(["a", "über"])}


def write(path: Path, text: str, time: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (time, time))
    return path


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    source = write(tmp_path / "a" / "room.txt", "4000000.125 2")
    parse = Parser(source)
    for _ in range(2):
        found = cached(tmp_path / "cache", source, [source], {"classes": ["floor"]}, parse)
        assert list(found) == ["pos", "label", "remarks"]
        assert found["pos"].dtype == np.float64
        assert found["pos"].tolist() == [4000000.125, 2]
        assert found["remarks"].tolist() == ["a", "über"]
    assert parse.calls == 1
    assert list(cached(tmp_path / "cache", source, [source], {"classes": ["floor"]}, parse, only=["label"])) == [
        "label"
    ]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [
        cache_file(tmp_path / "cache", source, {"classes": ["floor"]}).name
    ]


def test_none_keeps_nothing(tmp_path: Path) -> None:
    source = write(tmp_path / "room.txt", "1")
    parse = Parser(source)
    assert list(cached(None, source, [source], {}, parse, only=["pos"])) == ["pos"]
    cached(None, source, [source], {}, parse)
    assert parse.calls == 2
    assert list(tmp_path.iterdir()) == [source]


def test_what_changes_is_parsed_anew(tmp_path: Path) -> None:
    source, other = write(tmp_path / "a" / "room.txt", "1"), write(tmp_path / "b" / "room.txt", "2")

    def read(*sources: Path, item: Path | None = None, **facts: object) -> tuple[list[float], int]:
        parse = Parser(*sources)
        return cached(tmp_path / "cache", item or sources[0], sources, facts, parse)["pos"].tolist(), parse.calls

    assert read(source) == ([1], 1)
    assert read(source) == ([1], 0)
    assert read(other) == ([2], 1)  # another folder, equal names
    assert read(source, classes=["floor"]) == ([1], 1)
    assert read(source, classes=["floor", "wall"]) == ([1], 1)
    write(source, "3", time=2)  # as long as before
    assert read(source) == ([3], 1)
    write(source, "33", time=2)  # as old as before
    assert read(source) == ([33], 1)
    assert read(source, other, item=source) == ([33, 2], 1)  # one source more
    assert read(source) == ([33], 1)
    files = list((tmp_path / "cache").iterdir())
    assert len(files) == 4  # an edited source replaces what is out of date


def test_a_link_is_the_file_it_points_to(tmp_path: Path) -> None:
    source, other = write(tmp_path / "a.txt", "1"), write(tmp_path / "b.txt", "2")
    link = tmp_path / "link.txt"
    link.symlink_to(source)
    assert cached(tmp_path / "cache", link, [link], {}, Parser(link))["pos"].tolist() == [1]
    link.unlink()
    link.symlink_to(other)
    assert cached(tmp_path / "cache", link, [link], {}, Parser(link))["pos"].tolist() == [2]


@pytest.mark.parametrize(
    "damage", ["cut", "empty", "text", "flipped", "array", "no_key", "method", "encrypted", "lost"]
)
def test_a_damaged_file_is_written_again(tmp_path: Path, damage: str) -> None:
    source = write(tmp_path / "room.txt", "1 2 3")
    kept = cache_file(tmp_path / "cache", source, {})
    parse = Parser(source)
    cached(tmp_path / "cache", source, [source], {}, parse)
    whole = kept.read_bytes()
    if damage == "flipped":
        at = whole.index(np.array([1.0, 2, 3]).tobytes())
        kept.write_bytes(whole[:at] + b"\x01" + whole[at + 1 :])
    elif damage in ("method", "encrypted", "lost"):
        at = [found.start() for found in re.finditer(b"PK\x01\x02", whole)][-1]  # the last entry of the directory
        if damage == "lost":  # the comment of the entry before takes it in
            before = whole.rindex(b"PK\x01\x02", 0, at)
            length = len(whole) - 22 - at
            kept.write_bytes(whole[: before + 32] + length.to_bytes(2, "little") + whole[before + 34 :])
        else:
            place = at + (10 if damage == "method" else 8)
            kept.write_bytes(whole[:place] + b"\x01" + whole[place + 1 :])
    elif damage == "array":
        with kept.open("wb") as file:
            np.save(file, np.zeros(3))
    elif damage == "no_key":
        np.savez(kept, pos=np.zeros(3))
    else:
        kept.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"no array"}[damage])
    for _ in range(2):
        assert cached(tmp_path / "cache", source, [source], {}, parse)["pos"].tolist() == [1, 2, 3]
    assert parse.calls == 2
    assert kept.stat().st_size == len(whole)


def test_an_error_of_the_parser_leaves_no_file(tmp_path: Path) -> None:
    source = write(tmp_path / "room.txt", "no number")
    with pytest.raises(ValueError, match="could not convert"):
        cached(tmp_path / "cache", source, [source], {}, Parser(source))
    with pytest.raises(ValueError, match="pos must be an array of numbers, booleans or text to be cached, got object"):
        cached(tmp_path / "cache", source, [source], {}, lambda: {"pos": np.array([None])})
    assert not (tmp_path / "cache").exists()
    with pytest.raises(FileNotFoundError):
        fingerprint([tmp_path / "nowhere"])


def _race(folder: Path, source: Path) -> bool:
    found = cached(folder, source, [source], {}, Parser(source))
    return found["pos"].tolist() == [1, 2, 3]


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    source = write(tmp_path / "room.txt", "1 2 3")
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert all(pool.starmap(_race, [(tmp_path / "cache", source)] * 16))
    assert len(list((tmp_path / "cache").iterdir())) == 1
