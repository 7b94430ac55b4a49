"""Images a second: groups of networks that take turns on one batch, in inference and in training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tools.backbones import Run, Size, form_of, inference_run, is_ours, make_network, modes_of, own_size, training_run
from tools.timing import free_memory, now, summary, take_turns

Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """Networks that run on batches of one size are compared with one another.

    Args:
        batch: images.
        size: height and width.
        inference: modes of inference.
        training: modes of training steps; none for no training.
        turns: runs of which the median counts, in inference; training takes a third.
    """

    batch: int
    size: Size
    inference: Sequence[str]
    training: Sequence[str]
    turns: int


def inference_rows(case: Case, dtype: str, names: Sequence[str], device: torch.device) -> list[Row]:
    """Time all networks in all modes of a case; a mode that cannot run here leaves a row that says why."""
    images = torch.randn(case.batch, 3, *case.size, device=device, dtype=getattr(torch, dtype))

    def prepared(name: str) -> Iterator[tuple[str, Callable[[], Run]]]:
        network = make_network(name, case.size).eval().to(device, images.dtype)
        for mode in modes_of(name, case.inference, images):
            yield mode, lambda mode=mode: inference_run(form_of(network, mode), mode, images)

    with torch.no_grad():
        return _rows(case, dtype, names, prepared, case.turns, device)


def training_rows(case: Case, dtype: str, names: Sequence[str], device: torch.device) -> list[Row]:
    """Time training steps of all networks in all modes of a case; bfloat16 is by autocast."""
    images = torch.randn(case.batch, 3, *case.size, device=device)

    def prepared(name: str) -> Iterator[tuple[str, Callable[[], Run]]]:
        network = make_network(name, case.size).to(device)
        for mode in case.training:
            yield mode, lambda mode=mode: training_run(network, mode, images, dtype)

    return _rows(case, dtype, names, prepared, max(1, case.turns // 3), device)


def _rows(
    case: Case,
    dtype: str,
    names: Sequence[str],
    prepared: Callable[[str], Iterator[tuple[str, Callable[[], Run]]]],
    turns: int,
    device: torch.device,
) -> list[Row]:
    """Prepare every run, let all take turns; a network that cannot run in a mode leaves a row that says why."""
    given = {"height": case.size[0], "width": case.size[1], "batch": case.batch, "dtype": dtype}
    runs: dict[tuple[str, str], Run] = {}
    rows: list[Row] = []
    for name in names:
        start = time.perf_counter()
        for mode, prepare in prepared(name):
            try:
                runs[name, mode] = prepare()
            except Exception as error:  # half an hour of other results must not be lost; the table says "fails"
                rows.append({"network": name, "mode": mode, **given, "error": f"{type(error).__name__}: {error}"[:500]})
        print(f"  {name} {dtype} ready in {time.perf_counter() - start:.0f} s", flush=True)
    seconds = take_turns(runs, turns, device)
    rows += [{"network": n, "mode": m, **given, **summary(s, case.batch)} for (n, m), s in seconds.items()]
    runs.clear()
    free_memory()
    return rows


@torch.no_grad()
def paper_rows(names: Sequence[str], batch: int, iterations: int, device: torch.device) -> list[Row]:
    """The paper's protocol: eager, float32, the mean of the last iterations after a tenth as many that do not count."""
    rows = []
    for name in names:
        side = own_size(name)
        images = torch.randn(batch, 3, side, side, device=device)
        network = make_network(name, (side, side)).eval().to(device)
        forms = {mode: form_of(network, mode) for mode in (("unfused", "eager") if is_ours(name) else ("eager",))}
        for mode, form in forms.items():
            seconds = _mean_seconds(form, images, iterations)
            row = {"network": name, "mode": mode, "height": side, "width": side, "batch": batch, "dtype": "float32"}
            rows.append({**row, "seconds": seconds, "iterations": iterations, "per_second": batch / seconds})
        del network, forms, form
        free_memory()
    return rows


def _mean_seconds(network: nn.Module, images: torch.Tensor, iterations: int) -> float:
    for _ in range(max(1, iterations // 10)):
        network(images)
    start = now(images.device)
    for _ in range(iterations):
        network(images)
    return (now(images.device) - start) / iterations
