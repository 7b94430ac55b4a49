"""Parsed text and meshes: what the cache returns is what the file holds now."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from cloud_writers import write_off

from pointcoc.data import CloudFolder, cloud_cache, cloud_folder, read_cloud
from pointcoc.data.cloud_cache import read_cached

TEXT = "500000.123 4000000.456 1 0 128 255\nnan 0 0 0 0 0\n500001.123 4000000.456 2 9 9 9\n"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that were parsed."""
    found: list[Path] = []

    def watched(path: Path, **reading: object):
        found.append(path)
        return read_cloud(path, **reading)

    monkeypatch.setattr(cloud_cache, "read_cloud", watched)
    return found


def test_the_second_time_nothing_is_parsed_and_all_is_there(tmp_path: Path, reads: list[Path]) -> None:
    file = tmp_path / "a.xyz"
    file.write_text(TEXT)
    first, again = (read_cached(file, tmp_path / "cache") for _ in range(2))
    truth = read_cloud(file)
    assert reads == [file]
    for one in (first, again):
        assert one.pos.dtype == torch.float64
        assert one.pos.equal(truth.pos)
        assert one.features.keys() == truth.features.keys() == {"color"}
        assert one.features["color"].equal(truth.features["color"])
        assert one.rows.tolist() == [0, 2]
        assert (one.label, one.remarks, one.path) == (None, truth.remarks, file)


def test_what_changes_is_parsed_again(tmp_path: Path, reads: list[Path]) -> None:
    file, cache = tmp_path / "a.xyz", tmp_path / "cache"
    file.write_text(TEXT)
    read_cached(file, cache)
    time = file.stat().st_mtime_ns
    file.write_text(TEXT.replace("0 128 255", "1 128 255"))  # as many bytes
    os.utime(file, ns=(time + 1, time + 1))
    assert read_cached(file, cache).features["color"][0, 0] == pytest.approx(1 / 255)
    assert set(read_cached(file, cache, columns=("x", "y", "z", "_", "_", "intensity")).features) == {"intensity"}
    assert len(reads) == 3
    for entry in cache.iterdir():
        entry.write_bytes(entry.read_bytes()[:50])
    assert len(read_cached(file, cache)) == 2
    assert len(reads) == 4
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.xyz").write_text("1 2 3\n")
    assert len(read_cached(tmp_path / "other" / "a.xyz", cache)) == 1


def test_a_cache_that_cannot_be_written_is_none(tmp_path: Path) -> None:
    file = tmp_path / "a.xyz"
    file.write_text(TEXT)
    (tmp_path / "cache").write_text("a file")
    assert len(read_cached(file, tmp_path / "cache")) == 2


def test_a_folder_with_much_to_parse_keeps_it(
    tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POINTCOC_HOME", str(tmp_path / "home"))
    for split in ("train", "test"):
        for kind in ("cup", "pen"):
            (tmp_path / "set" / split / kind).mkdir(parents=True)
            write_off(tmp_path / "set" / split / kind / "box.off", torch.zeros(3).numpy(), torch.ones(3).numpy())
            (tmp_path / "set" / split / kind / "scan.xyz").write_text(TEXT)
    plain = CloudFolder(tmp_path / "set")
    assert not (tmp_path / "home").exists()
    monkeypatch.setattr(cloud_folder, "CACHED", 100)
    kept = CloudFolder(tmp_path / "set")
    assert f"parsed text and meshes are kept in {tmp_path / 'home' / 'clouds'}" in kept.remarks
    assert len(reads) == 8
    monkeypatch.setattr(cloud_folder, "IN_MEMORY", 0)
    again = CloudFolder(tmp_path / "set")
    for number in range(4):
        assert again[number].pos.equal(plain[number].pos)
    assert len(reads) == 8
    CloudFolder(tmp_path / "set", cache=tmp_path / "mine")
    assert len(list((tmp_path / "mine").iterdir())) == 4


def test_workers_parse_and_leave_errors_to_the_data_set(tmp_path: Path, reads: list[Path]) -> None:
    for kind in ("cup", "pen"):
        for split in ("train", "test"):
            (tmp_path / "set" / split / kind).mkdir(parents=True)
            (tmp_path / "set" / split / kind / "scan.xyz").write_text(TEXT)
    bad = tmp_path / "set/train/cup/bad.xyz"
    bad.write_text("1 2\n")
    clouds = CloudFolder(tmp_path / "set", cache=tmp_path / "cache", workers=2, max_bad=1)
    assert len(clouds) == 2
    assert reads == [bad]  # the others were parsed elsewhere
    with pytest.raises(ValueError, match=r"bad.xyz"):
        CloudFolder(tmp_path / "set", cache=tmp_path / "cache", workers=2)
