"""The networks that ship: small, in the package, said to be what they are."""

from __future__ import annotations

import pytest
import torch

from pointcoc import ContextClusterNet
from pointcoc.data import shapes
from pointcoc.models.weights.loading import SHIPPED
from pointcoc.viz import shipped_network
from pointcoc.viz.shipped import Networks


def test_together_they_are_below_a_megabyte() -> None:
    assert sum(file.stat().st_size for folder in SHIPPED.values() for file in folder.parent.iterdir()) < 1_000_000


@pytest.mark.parametrize("kind", ["image", "cloud"])
def test_each_says_what_it_learned(kind: str) -> None:
    net = shipped_network(kind)
    assert not net.training
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}
    assert (net.weights_info.source or "").startswith("It learned ")


def test_the_network_for_clouds_has_learned_the_solids() -> None:
    test = shapes("test", num_points=1024)
    net = shipped_network("cloud")
    right = [int(net(test[i]).argmax()) == int(test[i].y) for i in range(40)]
    assert sum(right) >= 28  # of ten classes; measured: 88.2 % of the test set


def test_networks_by_file(tmp_path) -> None:
    networks = Networks()
    assert networks.of("a.ply") is networks.of("b.npy")
    assert networks.of("a.png").config.anchors == "lattice"
    assert networks.describe("a.png").startswith("No weights were given: a small network that ships with pointcoc. It")
    ContextClusterNet.from_preset("coc_nano", num_classes=3).save_pretrained(tmp_path / "net")
    given = Networks(tmp_path / "net")
    assert given.of("a.png").config.num_classes == 3
    assert given.describe("a.png") == f"Network: {tmp_path / 'net'}."


def test_unknown_kind() -> None:
    with pytest.raises(ValueError, match="unknown kind 'scene'; choose from image, cloud"):
        shipped_network("scene")
