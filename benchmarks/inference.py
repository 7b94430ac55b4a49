"""Question: how many images a second does the inference form classify, beside the backbones one would pick instead?

Times `net.fuse()` of a preset and a network of timm with about as many operations, each eager, compiled by inductor,
and compiled with freezing (weights are constants of the graph, laid out once), and our network without `fuse()`::

    OMP_NUM_THREADS=2 python benchmarks/inference.py                # coc_tiny beside deit_tiny
    OMP_NUM_THREADS=2 python benchmarks/inference.py --all          # and coc_small, coc_medium
    python benchmarks/inference.py --repeats 3 --modes eager --dtypes float32    # a quick look

How to read it: all networks of a dtype take turns in one process, so that other work on the machine strikes all of
them. Numbers are images a second at the median of the turns; "ratio" divides the best mode of ours by the best mode
of the peer, and above 1 ours is faster. Weights are random: they change no time. Above a load of about 1 (printed
before and after) the table is not worth keeping.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable

import timm
import torch
from torch import Tensor, nn

from pointcoc import ContextClusterNet

PAIRS = {
    "coc_tiny": "deit_tiny_patch16_224",
    "coc_small": "deit_small_patch16_224",
    "coc_medium": "swin_tiny_patch4_window7_224",
}
MODES = ("eager", "compiled", "frozen")
DTYPES = ("float32", "bfloat16")
Run = Callable[[Tensor], Tensor]


def main() -> None:
    """Print one table a pair and dtype."""
    settings = parse()
    print(f"batch {settings.batch}, 224 x 224, {settings.device}, medians of {settings.repeats} turns; images a second")
    print(f"torch {torch.__version__}, timm {timm.__version__}, {torch.get_num_threads()} threads, {_machine()}")
    print("load before:", _load())
    for ours, peer in PAIRS.items() if settings.all else [("coc_tiny", PAIRS["coc_tiny"])]:
        for dtype in settings.dtypes:
            compare(ours, peer, dtype, settings)
    print("load after:", _load())


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--all", action="store_true", help="all pairs instead of the first")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=20, help="turns of each network")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


@torch.no_grad()
def compare(ours: str, peer: str, dtype: str, settings: argparse.Namespace) -> None:
    """Time a pair in one dtype and print its table."""
    torch._dynamo.reset()
    as_given = {"device": settings.device, "dtype": getattr(torch, dtype)}
    images = torch.randn(settings.batch, 3, 224, 224, **as_given)
    net = ContextClusterNet.from_preset(ours).eval().to(**as_given)
    networks = {ours: net.fuse(), peer: timm.create_model(peer).eval().to(**as_given)}
    runs: dict[tuple[str, str], Run] = {(ours, "without fuse"): net}
    for name, network in networks.items():
        for mode in settings.modes:
            runs[name, mode] = prepare(network, mode, images)
    seconds = take_turns(runs, images, settings.repeats)
    print(f"\n| {dtype} | {' | '.join(('without fuse', *settings.modes))} |")
    print("| --- " * (len(settings.modes) + 2) + "|")
    best = {}
    for name in networks:
        speeds = {mode: settings.batch / seconds[name, mode] for mode in settings.modes}
        best[name] = max(speeds.values())
        cells = [f"{settings.batch / seconds[name, 'without fuse']:.1f}" if name == ours else ""]
        print(f"| {name} | {' | '.join(cells + [f'{speed:.1f}' for speed in speeds.values()])} |")
    print(f"\nratio of the best modes: {best[ours] / best[peer]:.2f}", flush=True)


def prepare(network: nn.Module, mode: str, images: Tensor) -> Run:
    """Bring a network into a mode and run it, so that compiling and filling caches are not timed."""
    network(images)
    if mode == "eager":
        return network
    is_frozen = mode == "frozen"  # the option names the mode; dynamo reads the setting, to make weights constants
    compiled = torch.compile(network, fullgraph=True, options={"freezing": is_frozen})
    with torch._inductor.config.patch(freezing=is_frozen):
        compiled(images)
    return compiled


def take_turns(runs: dict[tuple[str, str], Run], images: Tensor, repeats: int) -> dict[tuple[str, str], float]:
    """Run each in turn, `repeats` times after two for warming up; return the median seconds of each."""
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    for turn in range(repeats + 2):
        for key, run in runs.items():
            start = _now(images)
            run(images)
            if turn >= 2:
                seconds[key].append(_now(images) - start)
    return {key: statistics.median(times) for key, times in seconds.items()}


def _now(images: Tensor) -> float:
    if images.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()


def _machine() -> str:
    return f"{platform.machine()} with {os.cpu_count()} processors"


def _load() -> str:
    return ", ".join(f"{load:.2f}" for load in os.getloadavg())


if __name__ == "__main__":
    main()
