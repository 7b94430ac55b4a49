"""Markdown tables of the results of bench.py, one function a section."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tools.backbones import is_ours
from tools.scenes import table as scene_table

MIB = 1 << 20
Row = dict[str, Any]
GROUP = ("height", "width", "batch", "dtype")


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines of a table."""
    return [f"| {' | '.join(map(str, cells))} |" for cells in (head, ["---"] * len(head), *rows)]


def render(results: dict[str, Any]) -> str:
    """All sections that were measured, under what they were measured with."""
    parts = [heading(results)]
    parts += [part for section in SECTIONS if results.get(section) for part in render_section(results, section)]
    return "\n\n".join(parts) + "\n"


def render_section(results: dict[str, Any], section: str) -> list[str]:
    """Paragraphs and tables of a section."""
    title, tables = SECTIONS[section]
    return [f"## {title}", *("\n".join(lines) for lines in tables(results))]


def heading(results: dict[str, Any]) -> str:
    """What was run where, and how busy the machine was."""
    machine = results["machine"]
    lines = [f"# Benchmark on {machine['device']}", "", f"Command: `{results['command']}`, {results['date']}.", ""]
    lines += [f"- {name}: {value}" for name, value in machine.items()]
    lines += [f"- load before: {results['load_before']}; after: {results.get('load_after', 'not finished')}"]
    if machine["device"] == "cpu":
        lines += ["", "No GPU was used; nothing is said about GPUs, and nothing is estimated."]
    lines += [
        "",
        "How to read the tables: docs/benchmarks.md. Numbers are medians of turns; quartiles are in the JSON file.",
    ]
    return "\n".join(lines)


def network_tables(results: dict[str, Any]) -> list[list[str]]:
    """Parameters and operations."""
    head = ("network", "image", "million parameters", "GFLOPs", "GFLOPs, inference form")
    rows = [
        (r["network"], _size(r), f"{r['parameters'] / 1e6:.2f}", f"{r['gflops']:.2f}", f"{r['inference_gflops']:.2f}")
        for r in results["networks"]
    ]
    return [["A multiplication and an addition are two operations."], markdown(head, rows)]


def inference_tables(results: dict[str, Any]) -> list[list[str]]:
    """Images a second, and ratios, in each group."""
    return _timed_tables(results["inference"])


def training_tables(results: dict[str, Any]) -> list[list[str]]:
    """Images a second of training steps, and ratios, in each group."""
    return _timed_tables(results["training"])


def paper_tables(results: dict[str, Any]) -> list[list[str]]:
    """Means of the last iterations."""
    return [[f"Means of the last {results['paper'][0]['iterations']} iterations."], *_timed_tables(results["paper"])]


def _timed_tables(rows: Sequence[Row]) -> list[list[str]]:
    tables = []
    for key in dict.fromkeys(tuple(row[name] for name in GROUP) for row in rows):
        group = [row for row in rows if tuple(row[name] for name in GROUP) == key]
        tables.append([f"### {key[3]}, batch {key[2]}, {key[0]} x {key[1]}"])
        tables += [_speeds(group), *_ratios(group), *_errors(group)]
    return tables


def _speeds(group: Sequence[Row]) -> list[str]:
    modes = list(dict.fromkeys(row["mode"] for row in group))
    cells = {
        (row["network"], row["mode"]): f"{row['per_second']:.1f}" if "per_second" in row else "fails" for row in group
    }
    names = dict.fromkeys(row["network"] for row in group)
    rows = [(name, *(cells.get((name, mode), "") for mode in modes)) for name in names]
    return markdown(("images a second", *modes), rows)


def best_speeds(group: Sequence[Row]) -> dict[str, float]:
    """Images a second of each network in its best mode."""
    best: dict[str, float] = {}
    for row in group:
        if "per_second" in row:
            best[row["network"]] = max(row["per_second"], best.get(row["network"], 0.0))
    return best


def _ratios(group: Sequence[Row]) -> list[list[str]]:
    best = best_speeds(group)
    ours, peers = [name for name in best if is_ours(name)], [name for name in best if not is_ours(name)]
    rows = [(name, *(f"{best[name] / best[peer]:.2f}" for peer in peers)) for name in ours]
    return [markdown(("best mode / best mode", *peers), rows)] if ours and peers else []


def _errors(group: Sequence[Row]) -> list[list[str]]:
    failed = [row for row in group if "error" in row]
    return (
        [[f"- {row['network']}, {row['mode']}: {' '.join(row['error'].split())[:200]}" for row in failed]]
        if failed
        else []
    )


def memory_tables(results: dict[str, Any]) -> list[list[str]]:
    """Activations that training keeps, peak of the cluster operation."""
    head = ("network", "dtype", "MiB an image", "MiB an image, set_grad_checkpointing")
    rows = [
        (r["network"], r["dtype"], f"{r['saved_bytes'] / MIB:.1f}", f"{r['saved_bytes_recompute'] / MIB:.1f}")
        for r in results["memory"]
    ]
    return [["Saved activations:"], markdown(head, rows), *_peaks(results.get("cluster_peak", []))]


def _peaks(rows: Sequence[Row]) -> list[list[str]]:
    head = ("backend", "image", "points", "centers", "input + output, MiB", "peak, MiB", "multiple")
    cells = [
        (
            r["backend"],
            _size(r),
            r["points"],
            r["centers"],
            f"{(r['input_bytes'] + r['output_bytes']) / MIB:.1f}",
            f"{r['peak_bytes'] / MIB:.1f}",
            f"{r['multiple']:.2f}",
        )
        for r in rows
    ]
    return (
        [["Peak memory of the cluster operation, first stage of coc_small, float32:"], markdown(head, cells)]
        if rows
        else []
    )


def detection_tables(results: dict[str, Any]) -> list[list[str]]:
    """Time and memory of a training step of Mask R-CNN, and how many times those of the peer ours take."""
    rows = results["detection"]
    peer = next(row for row in rows if not is_ours(row["network"].partition(",")[0]))
    head = ("backbone", "million parameters", "seconds a step", "of the peer's", "peak, MiB", "of the peer's")
    cells = [
        (
            r["network"],
            f"{r['parameters'] / 1e6:.1f}",
            f"{r['seconds']:.2f} ({r['low']:.2f} to {r['high']:.2f})",
            f"{r['seconds'] / peer['seconds']:.2f}",
            f"{r['peak_bytes'] / MIB:,.0f}",
            f"{r['peak_bytes'] / peer['peak_bytes']:.2f}",
        )
        for r in rows
    ]
    text = (
        f"One image of {_size(rows[0])} with eight objects, float32, random weights, median and quartiles of "
        f"{rows[0]['turns']} turns. The peer is torchvision's {peer['network']}. The peak is of what a step allocates."
    )
    return [[text], markdown(head, cells)]


def cloud_tables(results: dict[str, Any]) -> list[list[str]]:
    """Clouds a second."""
    rows = results["clouds"]
    speeds = {(row["network"], row["step"]): row["per_second"] for row in rows}
    names = dict.fromkeys(row["network"] for row in rows)
    cells = [(name, *(f"{speeds[name, step]:.1f}" for step in ("inference", "training"))) for name in names]
    text = f"Batch {rows[0]['batch']}, {rows[0]['points']:,} points, float32, eager, geometry included."
    left_out = [] if "pointnet2" in names else [["PointNet++ was left out: torch-cluster is not installed."]]
    return [[text], markdown(("clouds a second", "inference", "training step"), cells), *left_out]


def scene_tables(results: dict[str, Any]) -> list[list[str]]:
    """Microseconds per point."""
    return [["Microseconds per point, preset coc_scene, float32, inference:"], scene_table(results["scenes"])]


def limit_tables(results: dict[str, Any]) -> list[list[str]]:
    """Rates of the machine, and the shares that networks reach."""
    limits, rows = results["limits"], results.get("shares", [])
    rates = [(name, f"{row['per_second'] / 1e9:.1f}") for name, row in limits.items()]
    tables = [
        ["Rates: a large copy in 1e9 bytes a second, products in GFLOPs a second."],
        markdown(("what", "rate"), rates),
    ]
    head = (
        "network",
        "image",
        "batch",
        "dtype",
        "best mode",
        "GFLOPs a second",
        "of the matmul rate",
        "of the copy rate",
    )
    cells = [
        (
            r["network"],
            _size(r),
            r["batch"],
            r["dtype"],
            r["mode"],
            f"{r['gflops_per_second']:.0f}",
            f"{r['matmul_share']:.0%}",
            f"{r['copy_share']:.0%}",
        )
        for r in rows
    ]
    return [*tables, ["Inference:"], markdown(head, cells)] if rows else tables


def triton_tables(results: dict[str, Any]) -> list[list[str]]:
    """Milliseconds and bandwidth of the backends of the cluster operation."""
    copy = results.get("limits", {}).get("copy", {}).get("per_second")
    head = ("stage", "dtype", "step", "backend", "milliseconds", "MiB moved", "1e9 bytes a second", "of the copy rate")
    rows = [
        (
            r["stage"],
            r["dtype"],
            r["step"],
            r["backend"],
            f"{1e3 * r['seconds']:.3f}",
            f"{r['bytes'] / MIB:.0f}",
            f"{r['per_second'] / 1e9:.0f}",
            f"{r['per_second'] / copy:.0%}" if copy else "limits not measured",
        )
        for r in results["triton"]
    ]
    first = results["triton"][0]
    return [[f"{first['preset']}, batch {first['batch']}, {first['side']} x {first['side']}:"], markdown(head, rows)]


def _size(row: Row) -> str:
    return f"{row['height']} x {row['width']}"


SECTIONS = {
    "networks": ("Networks", network_tables),
    "inference": ("Inference", inference_tables),
    "training": ("Training steps: forward, backward, AdamW", training_tables),
    "memory": ("Memory", memory_tables),
    "detection": ("Mask R-CNN: one training step", detection_tables),
    "clouds": ("Clouds", cloud_tables),
    "scenes": ("Scenes", scene_tables),
    "limits": ("Limits of the machine", limit_tables),
    "triton": ("The Triton kernels of the cluster layer", triton_tables),
    "paper": ("The paper's protocol", paper_tables),
}
