"""Pictures of an evaluation: the confusion matrix, and pages of items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from pointcoc.data.image_files import ENDINGS, open_image
from pointcoc.train.findings import Findings, ItemFinding, Panel, Panels, spoken
from pointcoc.train.items import UNREADABLE, source_of
from pointcoc.train.task import input_panels

MOST_NUMBERS = 20
"""Classes of a confusion matrix whose cells hold numbers."""
MOST_NAMES = 60
"""Classes of a confusion matrix whose names stand at its sides."""
SIDE = 1.8  # inches of a panel
THUMBNAIL = 256  # pixels
MOST_POINTS = 20_000
MOST_PAIRS, MOST_OF_PAIR = 6, 4
WIDTH = 26  # letters of a title
Row = tuple[str, Panels]


def draw_confusion(confusion: Tensor, names: Sequence[str]) -> Figure:
    """Draw a confusion matrix: shares of each true class, in rows.

    Args:
        confusion: counts, shape (C, C): true classes in rows.
        names: of the classes.
    """
    shares = confusion.double() / confusion.sum(1, keepdim=True).clamp(min=1)
    has_names = len(names) <= MOST_NAMES
    size = max(4.5, min(14.0, 1.8 + 0.36 * len(names)))
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.subplots()
    shown = axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(shown, ax=axes, shrink=0.7, label="share of the true class")
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    if has_names:
        axes.set_xticks(range(len(names)), [_short(name) for name in names], rotation=90, fontsize=8)
        axes.set_yticks(range(len(names)), [_short(name) for name in names], fontsize=8)
    for row, column in torch.nonzero(confusion).tolist() if len(names) <= MOST_NUMBERS else []:
        color = "white" if shares[row, column] > 0.5 else "black"
        text = _percent(float(shares[row, column]))
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color=color)
    return figure


def worst_page(findings: Findings, dataset: Any, names: Sequence[str]) -> Figure | None:
    """Draw the worst items, the worst first; None where there is none to draw.

    Args:
        findings: with pictures of the worst items.
        dataset: names the files of the items.
        names: of the classes.
    """
    rows: list[Row] = []
    for one in findings.worst(len(findings.kept)):
        panels = _stored(dataset, one.index) or findings.kept.get(one.index)
        if panels and len(findings.kept.get(one.index, panels)) > 1:  # with what the model said of its pixels
            panels = [_filled(panel, panels) for panel in findings.kept[one.index]]
        if panels:
            rows.append((_title(one, dataset, names), panels))
    return _page("worst items first", rows) if rows else None


def confused_page(findings: Findings, dataset: Any, names: Sequence[str]) -> Figure | None:
    """Draw items of the classes that were most often taken for others, a row for each pair of classes.

    Args:
        findings: of a task with one class for each item.
        dataset: the items.
        names: of the classes.

    Returns:
        None where items have no class of their own, or no item was taken for another class.
    """
    wrong: dict[tuple[int, int], list[ItemFinding]] = {}
    for one in findings.items:
        if one.badness > 0 and "predicted" in one.facts:
            wrong.setdefault((one.facts["true"], one.facts["predicted"]), []).append(one)
    rows: list[Row] = []
    for true, guess, count in findings.confused(MOST_PAIRS) if wrong else []:
        items = sorted(wrong.get((true, guess), []), key=lambda one: -one.badness)[:MOST_OF_PAIR]
        panels = [panel for one in items for panel in _panels(findings, dataset, one.index)[:1]]
        if panels:
            rows.append((f"{_short(names[true])} → {_short(names[guess])}: {count}", panels))
    title = "most frequent confusions: true class → predicted class"
    return _page(title, rows, columns=1) if rows else None


def _panels(findings: Findings, dataset: Any, index: int) -> Panels:
    """Return pictures of an item: its file, what was kept, or the item itself."""
    return _stored(dataset, index) or findings.kept.get(index) or _read(dataset, index)


def _stored(dataset: Any, index: int) -> Panels:
    """Return the picture in the file of an item; none if it comes from no image file."""
    path = Path(source_of(dataset, index))
    if path.suffix.lower() not in ENDINGS or not path.is_file():
        return []
    try:
        image = open_image(path)
    except UNREADABLE:
        return []
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    data = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return [Panel(pixels=data.view(image.height, image.width, -1).movedim(-1, 0))]


def _filled(panel: Panel, stored: Panels) -> Panel:
    """Return a picture of boxes with the pixels of the file behind them."""
    return panel if panel.boxes is None or panel.pixels is not None else replace(panel, pixels=stored[0].pixels)


def _read(dataset: Any, index: int) -> Panels:
    """Return a picture of what the network reads of an item; none for a stream, which cannot be asked."""
    try:
        item = dataset[index]
    except (TypeError, NotImplementedError, *UNREADABLE):
        return []
    if getattr(item, "pos", None) is not None:
        return [Panel(pos=item.pos)]
    return input_panels(item[0][None], 0) if isinstance(item[0], Tensor) else []


def _title(one: ItemFinding, dataset: Any, names: Sequence[str]) -> str:
    facts = dict(one.facts)
    source = _short(Path(source_of(dataset, one.index)).name)
    if "predicted" not in facts:
        shares = {spoken(name): value for name, value in facts.items() if _is_share(value)}
        said = ", ".join(f"{name} {_percent(value)}" for name, value in shares.items())
        return f"{source}: {said}" if said else source
    confidence = _percent(facts["confidence"]) if "confidence" in facts else ""
    return f"{source}\n{_short(names[facts['true']])} → {_short(names[facts['predicted']])} {confidence}".rstrip()


def _page(title: str, rows: Sequence[Row], columns: int | None = None) -> Figure:
    """Draw titled rows of panels, several beside each other where they are short."""
    width = max(len(panels) for _, panels in rows)
    columns = columns or {1: 4, 2: 3}.get(width, 2)
    height = -(-len(rows) // columns)
    figure = Figure(figsize=(SIDE * width * columns + 0.4, (SIDE + 0.45) * height + 0.5), layout="constrained")
    figure.suptitle(title, fontsize=9)
    grid = figure.subfigures(height, columns, squeeze=False)
    for place, (words, panels) in enumerate(rows):
        part = grid[place // columns, place % columns]
        part.suptitle(words, fontsize=7)
        for number, panel in enumerate(panels):
            is_flat = panel.pos is None or panel.pos.shape[1] == 2
            axes = part.add_subplot(1, width, number + 1, projection=None if is_flat else "3d")
            _draw(axes, panel)
    return figure


def _draw(axes: Axes, panel: Panel) -> None:
    axes.set_axis_off()
    if panel.title:
        axes.set_title(panel.title, fontsize=7, pad=2)
    if panel.pixels is not None:
        axes.imshow(panel.pixels.movedim(0, -1).numpy())
        _draw_boxes(axes, panel, panel.pixels.shape[1] / panel.size[0])
        return
    assert panel.pos is not None
    rows = torch.linspace(0, len(panel.pos) - 1, min(MOST_POINTS, len(panel.pos))).long()
    pos, size = panel.pos[rows].numpy(), max(0.3, 40 / len(rows) ** 0.5)
    colors: Any = "#2b6cb0" if panel.colors is None else panel.colors[rows].numpy()
    if pos.shape[1] == 2:  # row and column of pixels
        axes.scatter(pos[:, 1], -pos[:, 0], s=size, c=colors, linewidths=0)
        axes.set_aspect("equal")
        return
    axes.scatter(pos[:, 0], pos[:, 1], pos[:, 2], s=size, c=colors, linewidths=0)  # type: ignore[misc]
    axes.set_box_aspect((pos.max(0) - pos.min(0)).clip(min=1e-6))  # type: ignore[attr-defined]


def _draw_boxes(axes: Axes, panel: Panel, scale: float) -> None:
    for row, box in enumerate([] if panel.boxes is None else (panel.boxes * scale).tolist()):
        color = "red" if panel.colors is None else panel.colors[row].tolist()
        corner, width, height = (box[0], box[1]), box[2] - box[0], box[3] - box[1]
        axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=color, linewidth=1))
        label = {"facecolor": color, "edgecolor": "none", "pad": 0.5, "alpha": 0.8}
        axes.text(box[0], box[1], panel.words[row], fontsize=4, color="white", va="bottom", bbox=label, clip_on=True)


def _is_share(value: Any) -> bool:
    return isinstance(value, float) and 0 <= value <= 1


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _short(name: str) -> str:
    return name if len(name) <= WIDTH else f"{name[: WIDTH - 1]}…"
