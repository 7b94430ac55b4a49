"""The README says what is true: its Python blocks run, its commands and files exist."""

import re
from pathlib import Path

import pytest
from code_blocks import run_blocks, write_cloud_run, write_official_checkpoint, write_photos

from pointcoc import PRESETS, ContextClusterNet

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POINTCOC_HOME", str(tmp_path / "home"))
    write_official_checkpoint(tmp_path / "coc_tiny.pth.tar")
    write_cloud_run(tmp_path)
    write_photos(tmp_path)
    run_blocks(ROOT / "README.md")
    said = capsys.readouterr().out.splitlines()
    names = [line.split()[:2] for line in said if line.startswith("new/")]
    assert names == [["new/1.jpg", "day"], ["new/2.jpg", "day"], ["new/3.jpg", "night"]]  # two commands from a folder


def test_commands_name_files_that_exist() -> None:
    scripts = re.findall(r"python ((?:examples|benchmarks)/\S+\.py)", README)
    assert len(scripts) >= 6
    for script in scripts:
        assert (ROOT / script).is_file(), script


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^make (\w+)", README, re.MULTILINE))
    assert targets == {"demo", "test"}
    for target in targets:
        assert f"\n{target}:" in makefile


def test_the_table_of_presets_tells_their_parameters() -> None:
    table = README.split("## Presets")[1]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    told = dict(pair for row in rows for pair in _names_and_counts(row))
    counts = {name: sum(p.numel() for p in ContextClusterNet.from_preset(name).parameters()) for name in PRESETS}
    assert told == counts


def _names_and_counts(row: str) -> list[tuple[str, int]]:
    names, counts = re.findall(r"`(\w+)`", row), [int(n.replace(",", "")) for n in re.findall(r"\d[\d,]{5,}", row)]
    return list(zip(names, counts * len(names) if len(counts) == 1 else counts, strict=True))
