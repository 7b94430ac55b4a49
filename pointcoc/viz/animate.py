"""Cluster maps over training: saved each epoch, joined into a GIF afterwards."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pointcoc.models.network import ContextClusterNet
from pointcoc.viz.figures import draw_stages
from pointcoc.viz.trace import trace

FRAME = re.compile(r"(?P<name>.+)-epoch(?P<epoch>\d{4})\.png")


class EpochMaps:
    """Save how a network clusters chosen inputs, once an epoch: ``maps(net, epoch)`` writes NAME-epochEEEE.png.

    Args:
        folder: where pictures go; made if it is not there.
        inputs: names and inputs, each one set, as the network takes them.
        head: head whose clusters are shown, of the last block of every stage.
        dpi: dots per inch.
    """

    def __init__(self, folder: str | Path, inputs: Mapping[str, Any], head: int = 0, dpi: int = 100):
        if len(inputs) == 0:
            raise ValueError("inputs is empty; give at least one name and input")
        wrong = [name for name in inputs if not re.fullmatch(r"[\w.-]+", name)]
        if wrong:
            raise ValueError(f"names of inputs become those of files: letters, digits, _ . - only, got {wrong[0]!r}")
        self.folder, self.inputs, self.head, self.dpi = Path(folder), dict(inputs), head, dpi

    def __call__(self, net: ContextClusterNet, epoch: int) -> None:
        """Save the maps of an epoch; the network stays as it is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, input in self.inputs.items():
            (traced,) = trace(net, input)
            figure = draw_stages(traced, head=self.head, title=f"{name}, epoch {epoch}")
            figure.savefig(self.folder / f"{name}-epoch{epoch:04d}.png", dpi=self.dpi)


def animate(folder: str | Path, out: str | Path, name: str | None = None, seconds: float = 0.4) -> int:
    """Join the maps of one input into a GIF, one frame an epoch; the last stays three times as long.

    Args:
        folder: what `EpochMaps` wrote.
        out: file to write, its name ends with .gif.
        name: which input; may be left out if there is just one.
        seconds: of each frame.

    Returns:
        The number of frames.

    Raises:
        ValueError: if there are no maps, several inputs and no name, or an argument is not allowed.
    """
    from PIL import Image

    if Path(out).suffix.lower() != ".gif":
        raise ValueError(f"out must end with .gif, got {out}")
    if not 0.02 <= seconds <= 60:
        raise ValueError(f"seconds must be in [0.02, 60], got {seconds}")
    files = _frames(Path(folder), name)
    frames = [Image.open(file).convert("RGB") for file in files]
    milliseconds = [round(1000 * seconds)] * (len(frames) - 1) + [round(3000 * seconds)]
    frames = [frame.quantize(256, dither=Image.Dither.NONE) for frame in frames]
    frames[0].save(out, save_all=True, append_images=frames[1:], duration=milliseconds, loop=0)
    return len(frames)


def _frames(folder: Path, name: str | None) -> list[Path]:
    found = [
        (match["name"], int(match["epoch"]), file)
        for file in folder.glob("*.png")
        if (match := FRAME.fullmatch(file.name))
    ]
    names = sorted({one for one, *_ in found})
    if not found:
        raise ValueError(f"{folder} holds no maps NAME-epochEEEE.png; pointcoc.viz.EpochMaps writes them")
    if name is None and len(names) > 1:
        raise ValueError(f"{folder} holds maps of several inputs; choose one of {', '.join(names)}")
    chosen = names[0] if name is None else name
    if chosen not in names:
        raise ValueError(f"unknown input {chosen!r}; choose from {', '.join(names)}")
    return [file for one, _, file in sorted(found, key=lambda frame: frame[1]) if one == chosen]
