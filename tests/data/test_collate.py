"""collate_sets: a batch holds the items one after the other; items that do not fit are named."""

import pytest
import torch
from torch.utils.data import DataLoader
from torch_geometric.data import Data

from pointcoc import ContextClusterNet
from pointcoc.data import collate_sets
from pointcoc.pointset import PointSet


def item(num_points=3, label=0, **fields):
    return Data(pos=torch.arange(3.0 * num_points).view(-1, 3) + label, y=torch.tensor([label]), **fields)


def test_batch_holds_the_items_in_order():
    items = [item(3, 4), item(1, 7), item(5, 0)]
    points, labels = collate_sets(items)
    assert isinstance(points, PointSet)
    assert points.ptr.tolist() == [0, 3, 4, 9]
    assert points.pos.equal(torch.cat([one.pos for one in items]))
    assert points.sizes is None and points.grid is None
    assert labels.dtype == torch.int64 and labels.tolist() == [4, 7, 0]
    points.validate()


def test_coordinates_are_the_features_without_x():
    points, _ = collate_sets([item(2), item(4)])
    assert points.x.equal(points.pos)


def test_positions_in_float64_stay_and_meet_a_network_as_float32():
    items = [Data(pos=torch.rand(size, 3, dtype=torch.float64), y=0) for size in (40, 1)]
    points, _ = collate_sets(items)
    assert (points.pos.dtype, points.x.dtype) == (torch.float64, torch.float32)
    assert ContextClusterNet.from_preset("coc_points_small", num_classes=2)(points).shape == (2, 2)


def test_features_and_sizes_are_kept():
    sites = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    items = [
        Data(x=torch.full((2, 5), float(k)), pos=sites, sizes=torch.tensor([[3, 2 + k]]), y=torch.tensor(k))
        for k in (0, 1)
    ]
    points, labels = collate_sets(items)
    assert points.x[:, 0].tolist() == [0, 0, 1, 1]
    assert points.sizes.tolist() == [[3, 2], [3, 3]]
    assert labels.tolist() == [0, 1]
    points.validate()


def test_equals_the_pyg_batch():
    from torch_geometric.data import Batch

    items = [item(k, k, x=torch.randn(k, 2)) for k in (1, 4, 2)]
    points, labels = collate_sets(items)
    batch = Batch.from_data_list(items)
    expected = PointSet.from_pyg(batch)
    for name in ("x", "pos", "ptr"):
        assert getattr(points, name).equal(getattr(expected, name))
    assert labels.equal(batch.y)


def test_in_a_loader():
    loader = DataLoader([item(k, k) for k in range(1, 6)], batch_size=2, collate_fn=collate_sets)
    assert [points.ptr.tolist() for points, _ in loader] == [[0, 1, 3], [0, 3, 7], [0, 5]]


def test_plain_integer_label():
    _, labels = collate_sets([Data(pos=torch.zeros(1, 3), y=3)])
    assert labels.tolist() == [3]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "items must hold at least one set, got none"),
        ([item(), Data(y=torch.tensor([0]))], "`pos` as a matrix, got nothing in item 1"),
        ([Data(pos=torch.zeros(3), y=torch.tensor([0]))], r"`pos` as a matrix, got a tensor of shape \(3,\)"),
        (
            [item(), Data(pos=torch.zeros(3, 2), y=torch.tensor([0]))],
            "`pos` with the same number of columns, got 3 in item 0 and 2",
        ),
        ([item(x=torch.zeros(3, 1)), item()], "`x` all or none, got item 0 with and item 1 without"),
        ([item(), item(sizes=torch.ones(1, 3).long())], "`sizes` all or none, got item 1 with and item 0 without"),
        ([item(x=torch.zeros(2, 1))], "one row of `x` per point, got 2 rows and 3 points in item 0"),
        ([item(), item(0)], "at least one point each, got none in item 1"),
        ([Data(pos=torch.zeros(1, 3))], "a label `y` of one integer, got nothing in item 0"),
        ([Data(pos=torch.zeros(1, 3), y=torch.tensor([0.5]))], r"`y` of one integer, got a tensor of shape \(1,\)"),
        ([Data(pos=torch.zeros(1, 3), y=torch.tensor([1, 2]))], r"`y` of one integer, got a tensor of shape \(2,\)"),
        ([Data(pos=torch.zeros(1, 3), y="cat")], "`y` of one integer, got str 'cat'"),
    ],
)
def test_errors(items, message):
    with pytest.raises(ValueError, match=message):
        collate_sets(items)
