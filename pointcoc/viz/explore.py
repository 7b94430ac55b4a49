"""One HTML file to explore clusters in: inputs, stages, blocks and heads, with all data inside."""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from PIL import Image
from torch import Tensor

from pointcoc.checks import check_filled
from pointcoc.models.clusters import StageClusters
from pointcoc.viz.colors import center_colors
from pointcoc.viz.maps import input_colors, lay_out
from pointcoc.viz.trace import Trace

PAGE, SCRIPT = (Path(__file__).parent / f"explore.{ending}" for ending in ("html", "js"))
MOST_NUMBER = 2**16 - 1


@dataclass(frozen=True, eq=False)
class Exhibit:
    """One input of a page.

    Args:
        name: what the page calls it.
        trace: an image whose pixels are all there, or a cloud in space.
        network: a sentence about the network that looked at it.
    """

    name: str
    trace: Trace
    network: str


def explore_page(exhibits: Sequence[Exhibit]) -> str:
    """Write a page that needs nothing but itself: no network, no other file.

    Choose an input, stage, block and head; a point under the pointer lights up its cluster and its center; clouds turn
    and zoom.

    Args:
        exhibits: at least one input with its clusters.

    Returns:
        The content of an HTML file.

    Raises:
        ValueError: if there is no input, or one is neither a complete image nor a cloud of three coordinates.
    """
    check_filled("exhibits", exhibits, "input")
    lut = (colormaps["cividis"](np.arange(256))[:, :3] * 255).round().astype("u1")
    data = {"similarity_colors": _base64(lut.tobytes()), "inputs": [_pack(one) for one in exhibits]}
    text = json.dumps(data, separators=(",", ":")).replace("</", "<\\/").replace("<!--", "<\\u0021--")
    page = PAGE.read_text(encoding="utf-8").replace("/*SCRIPT*/", SCRIPT.read_text(encoding="utf-8"))
    return page.replace("/*DATA*/", text)


def _pack(one: Exhibit) -> dict[str, Any]:
    """Return an input as JSON; arrays lie behind one another, compressed."""
    traced = one.trace
    arrays = [array for s, stage in enumerate(traced.stages) for array in _stage_arrays(traced, stage, s)]
    packed: dict[str, Any] = {"name": one.name, "network": one.network}
    if traced.is_image:
        packed |= _image(one)
    elif traced.points.pos.shape[1] != 3:
        raise ValueError(f"{one.name} has {traced.points.pos.shape[1]} coordinates a point; the page shows 3")
    else:
        arrays.append(("points", traced.points.pos.cpu().float().numpy()))
    blob, table = b"", []
    for name, array in arrays:
        table.append([name, array.dtype.str[1:], len(blob), array.size])
        blob += array.tobytes() + b"\0" * (-array.nbytes % 4)  # typed arrays must begin at a multiple of their item
    stages = [_stage(traced, s) for s in range(len(traced.stages))]
    return packed | {"stages": stages, "arrays": table, "blob": _base64(zlib.compress(blob, 9))}


def _stage(traced: Trace, s: int) -> dict[str, int]:
    stage = traced.stages[s]
    sizes = {
        "points": stage.points.num_points,
        "blocks": stage.num_blocks,
        "heads": stage.num_heads,
        "m": stage.num_centers,
        "centers": len(stage.center_pos),
    }
    if traced.is_image:
        assert stage.points.sizes is not None
        # As many sites of the input stand under the first one of the stage, on the longer side.
        stride = int(traced.points.pos[traced.rows[s] == 0].amax(0)[traced.shape.index(max(traced.shape))]) + 1
        sizes |= {"width": int(stage.points.sizes[0, 1]), "stride": stride}
    return sizes


def _stage_arrays(traced: Trace, stage: StageClusters, s: int) -> list[tuple[str, np.ndarray]]:
    arrays = {
        "region": _small(stage.region),
        "center": _small(torch.stack([one.center for one in stage.blocks]).mT),  # (blocks, heads, points)
        "similarity": _bytes(torch.stack([one.similarity for one in stage.blocks]).mT),
        "colors": _bytes(center_colors(stage.center_pos)),
        "centers": stage.center_pos.cpu().float().numpy(),
    }
    if not traced.is_image:
        arrays["rows"] = _small(traced.rows[s])
    return [(f"{name}{s}", np.ascontiguousarray(array)) for name, array in arrays.items()]


def _image(one: Exhibit) -> dict[str, Any]:
    traced = one.trace
    height, width = traced.shape
    if traced.points.num_points != height * width:
        raise ValueError(f"{one.name} has {traced.points.num_points} of {height * width} pixels; give complete images")
    file = io.BytesIO()
    Image.fromarray(_bytes(lay_out(traced, input_colors(traced), 1.0))).save(file, "JPEG", quality=88)
    return {"image": "data:image/jpeg;base64," + _base64(file.getvalue()), "width": width, "height": height}


def _small(values: Tensor) -> np.ndarray:
    if values.numel() and int(values.max()) > MOST_NUMBER:
        raise ValueError(f"the page holds numbers up to {MOST_NUMBER}, got {int(values.max())}; give smaller inputs")
    return values.cpu().numpy().astype("<u2")


def _bytes(values: Tensor) -> np.ndarray:
    return (values.detach().cpu().double().clamp(0, 1) * 255).round().numpy().astype("u1")


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
