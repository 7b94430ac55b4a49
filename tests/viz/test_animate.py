"""Maps over training: one picture an epoch, joined into a GIF."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from pointcoc import ContextClusterNet
from pointcoc.viz import EpochMaps, animate


def test_each_epoch_becomes_a_frame(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = ContextClusterNet.from_preset("coc_nano", num_classes=3, in_channels=1).train()
    maps = EpochMaps(tmp_path / "maps", {"digit": torch.rand(1, 1, 16, 16), "other": torch.rand(1, 1, 8, 8)}, dpi=40)
    for epoch in range(1, 4):
        maps(net, epoch)
        for parameter in net.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    assert net.training
    assert sorted(file.name for file in (tmp_path / "maps").glob("digit*")) == [
        f"digit-epoch000{epoch}.png" for epoch in (1, 2, 3)
    ]
    assert animate(tmp_path / "maps", tmp_path / "out.gif", "digit", 0.2) == 3
    with Image.open(tmp_path / "out.gif") as film:
        seen = []
        for frame in range(film.n_frames):
            film.seek(frame)
            seen.append((film.info["duration"], film.convert("RGB").tobytes()))
    assert [duration for duration, _ in seen] == [200, 200, 600]
    assert len({content for _, content in seen}) == 3


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inputs is empty"):
        EpochMaps(tmp_path, {})
    with pytest.raises(ValueError, match=r"names of inputs become those of files.*got 'a/b'"):
        EpochMaps(tmp_path, {"a/b": torch.rand(1, 1, 8, 8)})
    with pytest.raises(ValueError, match=r"holds no maps NAME-epochEEEE\.png; pointcoc.viz.EpochMaps writes them"):
        animate(tmp_path, tmp_path / "a.gif")
    for name in ("a", "b"):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}-epoch0001.png")
    with pytest.raises(ValueError, match="maps of several inputs; choose one of a, b"):
        animate(tmp_path, tmp_path / "a.gif")
    with pytest.raises(ValueError, match="unknown input 'c'; choose from a, b"):
        animate(tmp_path, tmp_path / "a.gif", "c")
    with pytest.raises(ValueError, match=r"out must end with \.gif, got .*a\.mp4"):
        animate(tmp_path, tmp_path / "a.mp4", "a")
    with pytest.raises(ValueError, match=r"seconds must be in \[0.02, 60\], got 0"):
        animate(tmp_path, tmp_path / "a.gif", "a", 0)
    assert animate(tmp_path, tmp_path / "a.gif", "a") == 1
