"""Question: does an exported network give what the network gives?

Exports presets with weights of order one in float32 to torch.export and ONNX, runs both files on the same inputs and
compares logits and the center of every point in every block::

    python benchmarks/export.py

How to read it: "flips" is the share of (point, block, head) whose center differs; another order of summation is enough
where two centers are nearly as similar. "equal" is the number of inputs without any flip, and "difference" the largest
difference between the logits of those, which should be that of rounding. Logits are of order one.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests" / "tools"))

from order_one import order_one_network  # noqa: E402
from tools.made_inputs import waves  # noqa: E402

from pointcoc import ContextClusterNet  # noqa: E402
from pointcoc.export import ExportForm, export_network  # noqa: E402

NUM = 8
# Preset, arguments of export_network, and the size or the number of points of the inputs.
CASES = (
    ("coc_nano", {"size": (32, 32)}, 32),
    ("coc_tiny", {"size": (224, 224)}, 224),
    ("coc_tiny", {"size": (224, 224), "dynamic": True}, 160),
    ("coc_small", {"size": (224, 224)}, 224),
    ("coc_points_small", {"num_points": 1024}, 1024),
    ("coc_points", {"num_points": 1024}, 1024),
)


def main() -> None:
    """Print the table."""
    print(f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, {NUM} inputs, weights of order one\n")
    print("| preset | exported for | run with | format | flips | equal | difference | seconds to export |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, arguments, given in CASES:
        net = order_one_network(name, torch.float32)
        input = waves(NUM, given) if "size" in arguments else torch.rand(NUM, given, 3)
        with torch.no_grad():
            expected = ExportForm(net, "assignments")(input)
        for suffix in (".pt2", ".onnx"):
            found, seconds = run(net, suffix, arguments, input)
            flips, equal, difference = compare(found, expected)
            kind = "any size" if arguments.get("dynamic") else f"{next(iter(arguments.values()))}"
            row = (
                name,
                kind,
                given,
                suffix,
                f"{flips:.4%}",
                f"{equal} of {NUM}",
                f"{difference:.1e}",
                f"{seconds:.0f}",
            )
            print("|", " | ".join(map(str, row)), "|", flush=True)


def run(net: ContextClusterNet, suffix: str, arguments: dict, input: Tensor) -> tuple[list[Tensor], float]:
    """Export, load and run; return the outputs and the seconds that the export took."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        path = export_network(net, Path(folder) / f"net{suffix}", output="assignments", **arguments)
        seconds = time.perf_counter() - start
        if suffix == ".pt2":
            with torch.no_grad():
                return list(torch.export.load(path).module()(input)), seconds
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return [torch.from_numpy(one) for one in session.run(None, {"input": input.numpy()})], seconds


def compare(found: list[Tensor], expected: tuple[Tensor, ...]) -> tuple[float, int, float]:
    """Share of flips, inputs without any, and the largest difference between the logits of those."""
    differ = [(a != b).view(NUM, -1) for a, b in zip(found[1:], expected[1:], strict=True)]
    flips = torch.cat(differ, dim=1)
    same = ~flips.any(1)
    difference = (found[0] - expected[0])[same].abs()
    return float(flips.double().mean()), int(same.sum()), float(difference.max()) if same.any() else float("nan")


if __name__ == "__main__":
    main()
