"""Networks for clouds by turns: ours, the authors' PointMLP-CoC as this library has it, PointNet++ on PyG's layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pointcoc import ContextClusterNet, PointMLPCoC, PointSet
from pointcoc.extensions import extension
from pointcoc.pointset import cloud_to_points
from tools.backbones import form_of
from tools.timing import Run, free_memory, summary, take_turns

NUM_CLASSES = 40
OURS = ("coc_points", "coc_points_small", "pointmlp_coc")


def cloud_networks() -> dict[str, nn.Module]:
    """Make the networks, in training mode; PointNet++ needs torch-cluster and is left out, with a sentence, without."""
    networks: dict[str, nn.Module] = {
        name: ContextClusterNet.from_preset(name, num_classes=NUM_CLASSES) for name in OURS[:2]
    }
    networks[OURS[2]] = PointMLPCoC.from_preset(OURS[2], num_classes=NUM_CLASSES)
    if extension("torch_cluster") is None:
        print("PointNet++ is left out: it needs torch-cluster (pip install torch-cluster)")
        return networks
    from tools.pointnet2 import PointNet2

    return {**networks, "pointnet2": PointNet2(NUM_CLASSES)}


def ball(num_clouds: int, num_points: int, device: torch.device) -> PointSet:
    """Clouds of one size on the surfaces of spheres of radius 1, for which PointNet++ has its radii."""
    generator = torch.Generator().manual_seed(0)
    pos = torch.nn.functional.normalize(torch.randn(num_clouds, num_points, 3, generator=generator), dim=2)
    return cloud_to_points(pos.to(device), 3)


def cloud_rows(num_clouds: int, num_points: int, turns: int, device: torch.device) -> list[dict[str, Any]]:
    """Time inference, then training steps, geometry included."""
    points = ball(num_clouds, num_points, device)
    rows = []
    for step, prepare in (("inference", inference_step), ("training", training_step)):
        runs = {name: prepare(network.to(device), points) for name, network in cloud_networks().items()}
        with torch.set_grad_enabled(step == "training"):
            seconds = take_turns(runs, turns, device)
        given = {"step": step, "batch": num_clouds, "points": num_points}
        rows += [{"network": name, **given, **summary(times, num_clouds)} for name, times in seconds.items()]
        free_memory()
    return rows


def inference_step(network: nn.Module, points: PointSet) -> Run:
    """Return a forward pass of the form that a user would run."""
    form = form_of(network, "eager")
    return lambda: form(points)


def training_step(network: nn.Module, points: PointSet) -> Run:
    """Return a step: forward, backward, AdamW."""
    labels: Tensor = torch.arange(points.num_sets, device=points.pos.device) % NUM_CLASSES
    optimizer = torch.optim.AdamW(network.train().parameters(), lr=1e-4, fused=True)

    def step() -> None:
        cross_entropy(network(points), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step
