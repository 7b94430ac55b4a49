"""Question: what do int8 weights cost in accuracy, and what do they gain in time?

Measures the small network of images that ships with the package on a folder of test images, in float32 and with int8
weights, by onnxruntime's dynamic quantization and by torchao, and prints a Markdown table::

    OMP_NUM_THREADS=1 python benchmarks/quantized.py --data cifar10/test

The second table has the time of coc_tiny with random weights, images of 224 x 224 pixels.

How to read it: "accuracy" of all images of the folder; "same class" is the share of images with the class of float32 in
torch; "ms" the median and, in brackets, quartiles of the time of a batch of 32, in turns of all rows, on one core.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime
import torch
from compile_times import processor
from onnxruntime.quantization import quantize_dynamic
from torch import Tensor
from torchao.quantization import Int8WeightOnlyConfig, quantize_

import pointcoc
from pointcoc import ContextClusterNet
from pointcoc.data import image_transform, open_image
from pointcoc.export import export_network

SHIPPED = Path(pointcoc.__file__).parent / "models" / "weights" / "shipped" / "image"
BATCH = 32
Run = Callable[[Tensor], Tensor]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with a folder of images for each class")
    parser.add_argument("--turns", type=int, default=30, help="of timing; default: %(default)s")
    options = parser.parse_args()
    torch.set_num_threads(1)
    net = pointcoc.load(SHIPPED).float()
    images, labels = read(options.data, net)
    print(f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, {processor()}, {len(images)} images\n")
    table(net, images, labels, options.turns)
    torch.manual_seed(0)
    print()
    table(ContextClusterNet.from_preset("coc_tiny").eval(), torch.rand(8, 3, 224, 224), None, options.turns // 3)


def read(folder: Path, net: ContextClusterNet) -> tuple[Tensor, Tensor]:
    """Return all images of a folder as the weights read them, and their classes."""
    transform, names = image_transform(net), {name: i for i, name in (net.weights_info.class_names or {}).items()}
    paths = sorted(folder.glob("*/*.jpg"))
    images = torch.stack([transform(open_image(path)) for path in paths])
    return images, torch.tensor([names[path.parent.name] for path in paths])


def table(net: ContextClusterNet, images: Tensor, labels: Tensor | None, turns: int) -> None:
    """Print one row a way to run a network."""
    with tempfile.TemporaryDirectory() as folder:
        runs = ways(net, Path(folder), tuple(images.shape[2:]))
        parts = images.split(BATCH)
        predicted = {name: torch.cat([run(part) for part in parts]).argmax(1) for name, run in runs.items()}
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(turns):
            for name, run in runs.items():
                start = time.perf_counter()
                run(images[:BATCH])
                times[name].append(1e3 * (time.perf_counter() - start))
    print(f"| run with | accuracy | same class | ms a batch of {min(BATCH, len(images))} |\n| --- | --- | --- | --- |")
    base = next(iter(predicted.values()))
    for name, classes in predicted.items():
        low, middle, high = statistics.quantiles(times[name], n=4)
        right = "" if labels is None else f"{(classes == labels).double().mean():.2%}"
        same = "" if labels is None else f"{(classes == base).double().mean():.2%}"
        print(f"| {name} | {right} | {same} | {middle:.1f} ({low:.1f} to {high:.1f}) |")


@torch.no_grad()
def ways(net: ContextClusterNet, folder: Path, size: tuple[int, int]) -> dict[str, Run]:
    """Return the ways to run a network by name; float32 in torch comes first."""
    quantized = copy.deepcopy(net)
    quantize_(quantized, Int8WeightOnlyConfig())
    plain = export_network(net, folder / "net.onnx", size=size)
    quantize_dynamic(plain, folder / "int8.onnx")
    nodes = Counter(node.op_type for node in onnx.load(folder / "int8.onnx").graph.node)
    found = f"{nodes['MatMulInteger']} products and {nodes['ConvInteger']} convolutions"
    return {
        "torch, float32": without_gradients(net),
        "torch, float32, `fuse()`": without_gradients(net.fuse()),
        "torch, int8 weights by torchao": without_gradients(quantized),
        "onnxruntime, float32": session(plain),
        f"onnxruntime, `quantize_dynamic` ({found})": session(folder / "int8.onnx"),
    }


def without_gradients(net: torch.nn.Module) -> Run:
    """Run a network for inference."""

    def run(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return net(images)

    return run


def session(path: Path) -> Run:
    """Run an ONNX file on one core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    loaded = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(loaded.run(None, {"input": images.numpy()})[0])


if __name__ == "__main__":
    main()
