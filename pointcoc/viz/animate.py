"""Cluster maps over training: saved each epoch, joined into a GIF or MP4 afterwards."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from pointcoc.checks import check_choice, check_filled, check_range, import_extra
from pointcoc.models.network import ContextClusterNet
from pointcoc.viz.figures import draw_stages
from pointcoc.viz.trace import trace

LAST = 3  # the end stays on the screen as long as so many epochs
FRAME = re.compile(r"(?P<name>.+)-epoch\d{4}\.png")  # in the order of names epochs rise


class EpochMaps:
    """Save how a network clusters chosen inputs, once an epoch: ``maps(net, epoch)`` writes NAME-epochEEEE.png.

    ``pointcoc.train.fit(..., on_epoch=maps)`` calls it after each epoch.

    Args:
        folder: where pictures go; made if it is not there.
        inputs: names and inputs, each one set, as the network takes them; they follow it to its device.
        head: head whose clusters are shown, of the last block of every stage.
        dpi: dots per inch.
    """

    def __init__(self, folder: str | Path, inputs: Mapping[str, Any], head: int = 0, dpi: int = 100):
        check_filled("inputs", inputs, "name and input")
        wrong = [name for name in inputs if not re.fullmatch(r"[\w.-]+", name)]
        if wrong:
            raise ValueError(f"names of inputs become those of files: letters, digits, _ . - only, got {wrong[0]!r}")
        self.folder, self.inputs, self.head, self.dpi = Path(folder), dict(inputs), head, dpi

    def __call__(self, net: ContextClusterNet, epoch: int) -> None:
        """Save the maps of an epoch; the network stays as it is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, input in self.inputs.items():
            (traced,) = trace(net, net._points(input).to(next(net.parameters()).device))
            figure = draw_stages(traced, head=self.head, title=f"{name}, epoch {epoch}")
            figure.savefig(self.folder / f"{name}-epoch{epoch:04d}.png", dpi=self.dpi)


def animate(folder: str | Path, out: str | Path, name: str | None = None, seconds: float = 0.4) -> int:
    """Join the maps of one input into a GIF or an MP4 (H.264), one frame an epoch; the last stays three times as long.

    Args:
        folder: what `EpochMaps` wrote.
        out: file to write, its name ends with .gif or .mp4.
        name: which input; may be left out if there is just one.
        seconds: of each epoch.

    Returns:
        The number of epochs.

    Raises:
        ValueError: if there are no maps, several inputs and no name, maps of several sizes, or an argument is not
            allowed.
        ImportError: if an MP4 is asked for and the package av is not installed.
    """
    ending = Path(out).suffix.lower()
    if ending not in WRITERS:
        raise ValueError(f"out must end with {' or '.join(WRITERS)}, got {out}")
    check_range("seconds", seconds, 0.02, 60)
    files = _frames(Path(folder), name)
    frames = [Image.open(file).convert("RGB") for file in files]
    for file, frame in zip(files, frames, strict=True):
        if frame.size != frames[0].size:
            raise ValueError(
                f"maps of one animation must have one size in pixels, got {files[0].name} of {frames[0].width} x "
                f"{frames[0].height} and {file.name} of {frame.width} x {frame.height}"
            )
    WRITERS[ending](frames, Path(out), seconds)
    return len(frames)


def _write_gif(frames: list[Image.Image], out: Path, seconds: float) -> None:
    milliseconds = [round(1000 * seconds)] * (len(frames) - 1) + [round(1000 * LAST * seconds)]
    frames = [frame.quantize(256, dither=Image.Dither.NONE) for frame in frames]
    frames[0].save(out, save_all=True, append_images=frames[1:], duration=milliseconds, loop=0)


def _write_mp4(frames: list[Image.Image], out: Path, seconds: float) -> None:
    av = import_extra("av", "viz", "an MP4, unlike a .gif, needs")
    # White where a side is odd: H.264 halves both sides for colors.
    frames = [ImageOps.expand(frame, (0, 0, frame.width % 2, frame.height % 2), "white") for frame in frames]
    with av.open(str(out), "w") as film:
        stream = film.add_stream("libx264", rate=1 / Fraction(seconds).limit_denominator(1000))
        stream.width, stream.height = frames[0].size
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "16"}  # what every browser plays; lines stay sharp
        for frame in frames + [frames[-1]] * (LAST - 1):
            film.mux(stream.encode(av.VideoFrame.from_image(frame)))
        film.mux(stream.encode())


WRITERS = {".gif": _write_gif, ".mp4": _write_mp4}


def _frames(folder: Path, name: str | None) -> list[Path]:
    found = [(match["name"], file) for file in sorted(folder.glob("*.png")) if (match := FRAME.fullmatch(file.name))]
    names = sorted({one for one, _ in found})
    if not found:
        raise ValueError(f"{folder} holds no maps NAME-epochEEEE.png; pointcoc.viz.EpochMaps writes them")
    if name is None and len(names) > 1:
        raise ValueError(f"{folder} holds maps of several inputs; choose one of {', '.join(names)}")
    chosen = names[0] if name is None else name
    check_choice("input", chosen, names)
    return [file for one, file in found if one == chosen]
