"""The authors' point-cloud network: their numbers, ragged batches, inputs, classifier, errors."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from official_pointmlp import official_pointmlp_state
from order_one import order_one
from safetensors import safe_open
from set_samples import clouds
from torch import Tensor
from torch_geometric.data import Batch, Data

from pointcoc import PointMLPCoC, PointMLPConfig, PointSet, concat
from pointcoc.geometry import Segments
from pointcoc.models.pointmlp_coc import group_points
from pointcoc.pointset import cloud_to_points

TOY = Path(__file__).parents[1] / "official" / "toy_pointmlp_coc.safetensors"
SMALL = PointMLPConfig(
    num_classes=4, embed_dim=4, depths=(1, 1), group_depths=1, dims=(8, 12), strides=2, neighbors=5, hidden_dims=(6, 5)
)
FEWEST = 10  # 5 neighbors after one stage of stride 2


def read_toy() -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings and tensors of the authors' outputs."""
    with safe_open(TOY, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dictionary)
        return json.loads(file.metadata()["config"]), tensors


def toy_config(settings: dict[str, Any]) -> PointMLPConfig:
    dims = [settings["embed_dim"] * 2 ** (s + 1) for s in range(4)]
    return PointMLPConfig(
        num_classes=settings["class_num"],
        embed_dim=settings["embed_dim"],
        dims=dims,
        strides=settings["reducers"],
        neighbors=settings["k_neighbors"],
        group_depths=settings["pre_blocks"],
        depths=settings["pos_blocks"],
    )


def toy_network() -> tuple[PointMLPCoC, dict[str, Tensor]]:
    settings, tensors = read_toy()
    return PointMLPCoC.from_official(official_pointmlp_state(settings), toy_config(settings)), tensors


def small_network(config: PointMLPConfig = SMALL) -> PointMLPCoC:
    """A network in float64 with weights of order one, in evaluation mode."""
    return order_one(PointMLPCoC(config).double()).eval()


def as_features(*counts: int, seed: int = 0) -> PointSet:
    """Clouds whose features are their coordinates."""
    points = clouds(*counts, seed=seed)
    return points.with_x(points.pos)


def reproduce(net: PointMLPCoC, pos: Tensor) -> dict[str, Tensor]:
    """Compute every tensor of the file, features as rows."""
    points = cloud_to_points(pos)
    points = points.with_x(net.embedding(points.x))
    found = {"embedding": points.x, "logits": net(pos)}
    for s, stage in enumerate(net.stages):
        anchors, rows, neighbors = group_points(points, net.config.strides[s], net.config.neighbors[s])
        group = stage.norm(points.x[neighbors], points.x[rows], Segments.of(anchors))
        pooled = stage.pool(group)
        points = anchors.with_x(stage.blocks(pooled))
        found[f"grouped{s + 1}"] = group.flatten(0, 1) if s == 0 else group.mean(1)
        found |= {f"pre{s + 1}": pooled, f"stage{s + 1}": points.x, f"anchors{s + 1}": points.pos}
    return found


def as_rows(name: str, value: Tensor) -> Tensor:
    """The authors' layouts as rows: features are (B, C, points), all else has channels last."""
    value = value.mT if name.startswith(("embedding", "pre", "stage")) else value
    return value if name == "logits" else value.flatten(0, -2)


def nearest_first(expected: Tensor, found: Tensor, k: int) -> Tensor:
    """Put the members of each group in our order: the authors' code leaves them unsorted."""
    expected, found = expected.unflatten(0, (-1, k)), found.unflatten(0, (-1, k))
    order = (found[:, :, None] - expected[:, None]).abs().amax(-1).argmin(-1)
    assert torch.equal(order.sort(1)[0], torch.arange(k).expand_as(order))
    return expected.gather(1, order[..., None].expand_as(expected)).flatten(0, 1)


def assert_equal(actual: Tensor, expected: Tensor, atol: float = 1e-10) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


def test_every_tensor_of_the_authors_is_reproduced() -> None:
    net, tensors = toy_network()
    with torch.inference_mode():
        found = reproduce(net, tensors["pos"])
        stages = net.forward_intermediates(tensors["pos"])
    assert found.keys() == tensors.keys() - {"pos"}
    for name, value in found.items():
        expected = as_rows(name, tensors[name])
        assert_equal(value, nearest_first(expected, value, 8) if name == "grouped1" else expected)
    for s, points in enumerate(stages):
        assert_equal(points.x, found[f"stage{s + 1}"], 0)


def test_the_preset_is_the_official_network() -> None:
    with torch.device("meta"):
        net = PointMLPCoC.from_preset("pointmlp_coc")
    assert net.config == PointMLPConfig()
    assert net.config.points_needed == (24, 48, 96, 192, 16)
    assert sum(parameter.numel() for parameter in net.parameters()) == 15_326_815
    assert net.stages[0].group_blocks[0].cluster.f.out_features == 32
    assert net.stages[3].group_blocks[0].cluster.f.out_features == 256


def test_the_full_preset_runs() -> None:
    net = PointMLPCoC.from_preset("pointmlp_coc", num_classes=3).eval()
    with torch.inference_mode():
        logits = net(torch.rand(1, 192, 3))
    assert logits.shape == (1, 3)
    assert bool(logits.isfinite().all())


def test_sets_of_different_sizes_give_the_same_alone_and_in_company() -> None:
    net, points = small_network(), as_features(FEWEST, 33, 14, 50)
    with torch.inference_mode():
        together = net(points)
        alone = torch.cat([net(one) for one in points.split()])
        reordered = net(concat(points.split()[::-1])).flip(0)
    assert_equal(together, alone, 1e-9)
    assert_equal(together, reordered, 1e-9)


def test_only_the_first_point_of_a_set_matters_among_their_order() -> None:
    net, points = small_network(), as_features(20)
    others = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(19)])
    with torch.inference_mode():
        logits = net(points)
        assert_equal(net(points.take(others)), logits, 1e-9)
        assert (net(points.take(torch.arange(19, -1, -1))) - logits).abs().max() > 1e-3


def test_all_kinds_of_input_give_the_same() -> None:
    net, tensor = small_network(), torch.rand(2, 16, 3, dtype=torch.float64)
    batch = Batch.from_data_list([Data(pos=pos) for pos in tensor])
    flat = tensor.flatten(0, 1)
    with torch.inference_mode():
        logits = net(tensor)
        assert logits.shape == (2, 4)
        for points in (cloud_to_points(tensor), PointSet(flat, flat, torch.tensor([0, 16, 32])), batch):
            assert_equal(net(points), logits, 0)
        assert_equal(net(Data(pos=tensor[1])), logits[1:], 1e-9)


def test_other_features_than_coordinates() -> None:
    net, points = small_network(SMALL.replace(in_channels=5)), clouds(12, 20, channels=5)
    with torch.inference_mode():
        assert net(points).shape == (2, 4)
        one = points.split()[1]
        tensor = torch.cat([one.pos, one.x[:, :2]], dim=1)
        assert_equal(net(tensor[None]), net(PointSet(tensor, one.pos, one.ptr)))


def test_every_parameter_has_a_gradient() -> None:
    net = small_network()
    net(as_features(40, 64, 50)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert bool(parameter.grad.isfinite().all()), name
        assert bool(parameter.grad.any()), name


def test_training() -> None:
    torch.manual_seed(0)
    net, points = PointMLPCoC(SMALL.replace(dropout=0.0)), as_features(40, 64, 50, 33).to(torch.float32)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    losses = []
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(net.train()(points), torch.arange(4))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert int(net.stages[0].transfer.norm.num_batches_tracked) == 40


def test_dropout_is_for_training_only() -> None:
    net, points = small_network(), as_features(20, 20)
    with torch.inference_mode():
        assert torch.equal(net(points), net(points))
        features = net.forward_features(points)
        assert not torch.equal(net.dropout.train()(features.x), features.x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_other_dtypes(dtype: torch.dtype) -> None:
    net, points = small_network(), as_features(20, 31)
    with torch.inference_mode():
        exact, logits = net(points), copy.deepcopy(net).to(dtype)(points.to(dtype))
    assert logits.dtype == dtype
    tolerance = {torch.float16: 0.03, torch.bfloat16: 0.3, torch.float32: 1e-4}[dtype]
    assert_equal(logits.double(), exact, tolerance * float(exact.abs().max()))


def test_coincident_points_have_finite_gradients() -> None:
    net = small_network()
    net(torch.ones(2, 12, 3, dtype=torch.float64)).sum().backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in net.parameters())


def test_heads() -> None:
    net, points = small_network(), as_features(15, 20)
    with torch.inference_mode():
        features = net.forward_features(points)
        assert features.counts.tolist() == [3, 5]
        assert features.x.shape == (8, 12)
        assert net.forward_head(features, pre_logits=True).shape == (2, 5)
        assert_equal(net.forward_head(features), net(points), 0)
        assert net.get_classifier() is net.head
        net.reset_classifier(7)
        assert net.config.num_classes == 7
        assert net(points).shape == (2, 7)
        assert net(points).dtype == torch.float64
        net.reset_classifier(0)
        assert isinstance(net.get_classifier(), torch.nn.Identity)
        assert_equal(net(points), net.forward_head(features, pre_logits=True), 0)


def test_a_network_without_hidden_layers() -> None:
    net, points = small_network(SMALL.replace(hidden_dims=())), as_features(15, 20)
    with torch.inference_mode():
        features = net.forward_features(points)
        pooled = torch.stack([one.x.amax(0) for one in features.split()])
        assert_equal(net.forward_head(features, pre_logits=True), pooled, 0)
        assert net(points).shape == (2, 4)


def test_copies_and_the_names_without_weight_decay() -> None:
    net, points = small_network(), as_features(12)
    with torch.inference_mode():
        assert torch.equal(copy.deepcopy(net)(points), net(points))
    names = net.no_weight_decay()
    assert {"stages.0.norm.weight", "head.bias", "stages.1.group_blocks.0.cluster.alpha"} <= names
    assert "head.weight" not in names


@pytest.mark.parametrize(
    ("overrides", "counts", "message"),
    [
        ({}, (30, 9), "set 1 of the batch is too small: of its 9 points 4 are left for the 5 neighbors of stage 2; "
                      "every set needs at least 10 points"),
        ({}, (4,), "of its 4 points 4 are left for the 5 neighbors of stage 1; every set needs at least 10 points"),
        ({}, (0, 12), "set 0 .* of its 0 points"),
        ({"strides": (2, 8)}, (15,), "of its 15 points 0 are left for an anchor after stage 2; .* at least 16 points"),
    ],
)  # fmt: skip
def test_sets_that_are_too_small(overrides: dict, counts: tuple[int, ...], message: str) -> None:
    net = small_network(SMALL.replace(**overrides))
    with pytest.raises(ValueError, match=message):
        net(as_features(*counts))
    with torch.inference_mode():
        assert bool(net(as_features(*[max(net.config.points_needed)] * 2)).isfinite().all())


def test_inputs_that_do_not_fit() -> None:
    net = small_network()
    with pytest.raises(ValueError, match=r"clouds must have shape \(B, N, 3\) or \(N, 3\), got \(4, 2\)"):
        net(torch.zeros(4, 2))
    with pytest.raises(ValueError, match=r"clouds must have shape \(B, N, 3\) or \(N, 3\), got \(2, 3, 1024\)"):
        net(torch.zeros(2, 3, 1024))
    with pytest.raises(ValueError, match="got 2 and 3"):
        net(clouds(20))
    with pytest.raises(ValueError, match="got 3 and 2"):
        net(clouds(20, dim=2, channels=3))
    with pytest.raises(ValueError, match="data has no tensor `pos`"):
        net(Data(x=torch.zeros(20, 3)))
    with pytest.raises(ValueError, match="pos must be finite"):
        net(torch.full((1, 20, 3), torch.nan))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"dim": 3}, "unknown setting 'dim'; choose from num_classes, in_channels, embed_dim, depths, "),
        ({"depths": ()}, r"depths must hold the blocks of each stage, such as \(2, 2, 2, 2\), got \(\)"),
        ({"neighbors": (24, 24)}, r"neighbors must be one value or 4 \(one a stage, like depths\), got \(24, 24\)"),
        ({"strides": 0}, r"strides must hold integers of at least 1, got \(0, 0, 0, 0\)"),
        ({"embed_dim": 0}, "embed_dim must be an integer of at least 1, got 0"),
        ({"hidden_dims": 512}, "hidden_dims must hold the channels of each layer before the classifier, got 512"),
        ({"hidden_dims": (512, 0)}, r"hidden_dims must hold integers of at least 1, got \(512, 0\)"),
        ({"num_classes": -1}, "num_classes must be an integer of at least 0, got -1"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_settings_that_are_not_allowed(overrides: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PointMLPCoC.from_preset("pointmlp_coc", **overrides)


def test_unknown_preset() -> None:
    with pytest.raises(ValueError, match="unknown preset of PointMLPCoC 'coc_points'; choose from pointmlp_coc"):
        PointMLPCoC.from_preset("coc_points")


def test_one_value_stands_for_all_stages() -> None:
    assert PointMLPConfig(depths=(1, 2), dims=8, strides=3, neighbors=4, group_depths=1) == PointMLPConfig(
        depths=(1, 2), dims=(8, 8), strides=(3, 3), neighbors=(4, 4), group_depths=(1, 1)
    )
    assert PointMLPConfig().replace(depths=1).depths == (1, 1, 1, 1)
