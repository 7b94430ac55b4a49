"""Question: where does the time of the inference form go?

Profiles one network in one mode with torch.profiler and prints the operators by their own time, a Markdown table::

    OMP_NUM_THREADS=2 python benchmarks/operators.py coc_small --dtype bfloat16 --mode frozen
    OMP_NUM_THREADS=2 python benchmarks/operators.py deit_small_patch16_224 --dtype bfloat16 --mode frozen

How to read it: milliseconds are means over the runs, and shares are of all operators' own time. The profiler itself
takes time at each operator, so many small ones look larger than they are. `generated code` joins all kernels that
inductor wrote. The last line divides all operations of the network by its time, and by the time of its products alone
(linear layers, batched products, convolutions): beside `make bench BENCH='--sections limits'`, which measures a large
product on the same machine, the second says how much is left to gain in products, the first how much around them.
"""

from __future__ import annotations

import argparse
import platform
from collections import Counter
from collections.abc import Sequence

import torch
from tools.backbones import DTYPES, INFERENCE_MODES, Run, form_of, inference_run, make_network
from tools.costs import operations
from torch.profiler import ProfilerActivity, profile

PRODUCTS = ("linear", "mm", "convolution", "native_stage")
FEWEST = 0.01  # share below which an operator joins the rest


def main(arguments: Sequence[str] | None = None) -> None:
    """Profile one network and print its table."""
    options = parse(arguments)
    images = torch.randn(options.batch, 3, options.size, options.size, dtype=getattr(torch, options.dtype))
    size = (options.size, options.size)
    network = make_network(options.network, size).eval().to(images.dtype)
    with torch.no_grad(), torch._inductor.config.patch({"cpp.enable_kernel_profile": True}):
        run = inference_run(form_of(network, options.mode), options.mode, images)
        times = operator_times(run, options.runs)
    print(f"{options.network}, {options.dtype}, {options.mode}, batch {options.batch}, {options.size} x {options.size}")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}\n")
    print(table(times, options.batch * operations(form_of(network, "eager"), images[:1])))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("network", help="a preset for images, or a model of timm")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--mode", choices=INFERENCE_MODES, default="eager")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224, help="side of the images")
    parser.add_argument("--runs", type=int, default=10)
    return parser.parse_args(arguments)


def operator_times(run: Run, runs: int) -> Counter[str]:
    """Milliseconds of own time per run, by operator."""
    run()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(runs):
            run()
    times: Counter[str] = Counter()
    for event in profiler.key_averages():
        name = "generated code" if "_cpp_fused" in event.key else event.key
        times[name] += event.self_cpu_time_total / 1000 / runs
    return times


def table(times: Counter[str], flops: int) -> str:
    """Markdown of the operators that take more than a hundredth, and the rates of the products."""
    total = sum(times.values())
    rows = ["| operator | ms | share |", "| --- | --- | --- |"]
    large = [(name, ms) for name, ms in times.most_common() if ms >= FEWEST * total]
    rest = total - sum(ms for _, ms in large)
    for name, ms in [*large, ("the rest", rest), ("all", total)]:
        rows.append(f"| {name.removeprefix('aten::')} | {ms:.2f} | {ms / total:.1%} |")
    products = sum(ms for name, ms in times.items() if any(part in name for part in PRODUCTS))
    rates = f"{flops / total / 1e6:.0f} GFLOP/s in all, {flops / products / 1e6:.0f} in the time of the products"
    return "\n".join([*rows, "", rates])


if __name__ == "__main__":
    main()
