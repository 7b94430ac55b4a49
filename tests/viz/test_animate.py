"""Maps over training: one picture an epoch, joined into a GIF or an MP4."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from pointcoc import ContextClusterNet
from pointcoc.train import Settings, fit
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


def test_an_mp4_has_an_epoch_a_frame_and_a_longer_end(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="an MP4 needs the extra viz")
    shades = (250, 130, 10)
    for epoch, shade in enumerate(shades, start=1):
        Image.new("RGB", (33, 21), (shade, shade, shade)).save(tmp_path / f"gray-epoch{epoch:04d}.png")
    assert animate(tmp_path, tmp_path / "out.mp4", seconds=0.4) == 3
    with av.open(str(tmp_path / "out.mp4")) as film:
        frames = [
            (float(frame.pts * frame.time_base), frame.to_ndarray(format="rgb24")) for frame in film.decode(video=0)
        ]
        assert film.streams.video[0].codec_context.name == "h264"
        assert film.duration / av.time_base == pytest.approx(5 * 0.4)
    assert [seconds for seconds, _ in frames] == pytest.approx([0, 0.4, 0.8, 1.2, 1.6])
    for (_, pixels), shade in zip(frames, (*shades, 10, 10), strict=True):
        assert pixels.shape == (22, 34, 3)  # even, and nothing is cut off
        assert abs(pixels[:20, :32].astype(int) - shade).max() <= 4


def test_an_mp4_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a-epoch0001.png")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(
        ImportError, match=r"an MP4, unlike a .gif, needs av; install it with: pip install 'pointcoc\[viz\]"
    ):
        animate(tmp_path, tmp_path / "a.mp4")
    assert not (tmp_path / "a.mp4").exists()


def test_training_saves_a_map_each_epoch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    images, labels = torch.rand(4, 1, 8, 8), torch.arange(4) % 2
    net = ContextClusterNet.from_preset("coc_nano", num_classes=2, in_channels=1)
    maps = EpochMaps(tmp_path / "maps", {"first": images[:1]}, dpi=30)
    settings = Settings(epochs=2, batch_size=4, lr=1e-2, warmup_epochs=0, out=tmp_path / "run")
    fit(net, DataLoader(TensorDataset(images, labels), batch_size=4), None, settings, on_epoch=maps)
    assert sorted(file.name for file in (tmp_path / "maps").iterdir()) == ["first-epoch0001.png", "first-epoch0002.png"]


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
    with pytest.raises(ValueError, match=r"out must end with \.gif or \.mp4, got .*a\.avi"):
        animate(tmp_path, tmp_path / "a.avi", "a")
    with pytest.raises(ValueError, match=r"seconds must be in \[0.02, 60\], got 0"):
        animate(tmp_path, tmp_path / "a.gif", "a", 0)
    assert animate(tmp_path, tmp_path / "a.gif", "a") == 1
    Image.new("RGB", (6, 4)).save(tmp_path / "a-epoch0002.png")
    with pytest.raises(
        ValueError, match=r"one size in pixels, got a-epoch0001\.png of 4 x 4 and a-epoch0002\.png of 6 x 4"
    ):
        animate(tmp_path, tmp_path / "a.gif", "a")
