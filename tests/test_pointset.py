"""PointSet: flat tensors of several sets, their checks, torch_geometric, and images."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from set_samples import clouds, pixels

from pointcoc import PointSet, cloud_to_points, concat, image_to_points
from pointcoc.pointset import counts_to_ptr, grid_sites, pixel_coordinates

NAMES = ("x", "pos", "ptr", "sizes")
LATTICE = {"pos": grid_sites((2, 2), torch.device("cpu")), "ptr": torch.tensor([0, 4]), "sizes": torch.tensor([[2, 2]])}


def assert_same(one: PointSet, other: PointSet, grid: bool = True) -> None:
    for name in NAMES:
        assert (getattr(one, name) is None) == (getattr(other, name) is None), name
        if getattr(one, name) is not None:
            torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=0, atol=0)
    assert not grid or one.grid == other.grid


def five(**fields) -> PointSet:
    """Five points of two sets, some fields replaced."""
    return PointSet(**{"x": torch.zeros(5, 3), "pos": torch.zeros(5, 2), "ptr": torch.tensor([0, 2, 5])} | fields)


def square(**fields) -> PointSet:
    """A lattice of 2 x 2 sites, some fields replaced."""
    return PointSet(**{"x": torch.arange(4.0)[:, None]} | LATTICE | fields)


def test_counts_and_sets_of_the_points() -> None:
    points = five(ptr=torch.tensor([0, 2, 2, 5]))
    assert (points.num_points, points.num_sets) == (5, 3)
    assert points.counts.tolist() == [2, 0, 3]
    assert points.batch.tolist() == [0, 0, 2, 2, 2]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"x": torch.zeros(5)}, r"x must have shape \(N, C\), got \(5,\)"),
        ({"x": torch.zeros(5, 3, 1)}, r"x must have shape \(N, C\), got \(5, 3, 1\)"),
        ({"x": torch.zeros(5, 3, dtype=torch.int64)}, r"x must be floating point, got torch\.int64"),
        ({"pos": torch.zeros(5)}, r"pos must have shape \(5, D\) to match x, got \(5,\)"),
        ({"pos": torch.zeros(4, 2)}, r"pos must have shape \(5, D\) to match x, got \(4, 2\)"),
        ({"pos": torch.zeros(5, 2).half()}, r"pos must be float32 or float64, got torch\.float16"),
        ({"ptr": torch.tensor([0, 5]).int()}, r"ptr must be int64 of shape \(B \+ 1,\), got torch\.int32 \(2,\)"),
        ({"ptr": torch.tensor([[0, 5]])}, r"ptr must be int64 of shape \(B \+ 1,\), got torch\.int64 \(1, 2\)"),
        ({"ptr": torch.tensor([0])[:0]}, r"ptr must be int64 of shape \(B \+ 1,\), got torch\.int64 \(0,\)"),
        ({"sizes": torch.ones(1, 2).long()}, r"sizes must be int64 of shape \(2, 2\), got torch\.int64 \(1, 2\)"),
        ({"sizes": torch.ones(2, 2)}, r"sizes must be int64 of shape \(2, 2\), got torch\.float32 \(2, 2\)"),
        ({"grid": (1, 5)}, r"grid needs sizes and one entry per axis of pos \(2\).*got grid \(1, 5\), sizes None"),
    ],
)
def test_a_field_that_does_not_fit_is_named(fields: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        five(**fields)


def test_the_promise_grid_must_fit_the_points() -> None:
    with pytest.raises(ValueError, match=r"grid \(2, 3\) of 1 sets needs 6 points, got 4"):
        square(grid=(2, 3))
    with pytest.raises(ValueError, match=r"grid needs sizes and one entry per axis of pos \(2\).*got grid \(4,\)"):
        square(grid=(4,))


@pytest.mark.parametrize(
    ("bounds", "sentence"),
    [
        ([0], "the batch is empty: ptr must describe at least one set"),
        ([0, 4], "ptr must run from 0 to the number of points 5, got 0 to 4"),
        ([0, 2, 6], "ptr must run from 0 to the number of points 5, got 0 to 6"),
        ([1, 5], "ptr must run from 0 to the number of points 5, got 1 to 5"),
        ([0, 3, 2, 5], r"ptr must not decrease, got \[0, 3, 2, 5\]"),
    ],
)
def test_ptr_is_validated(bounds: list[int], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        five(ptr=torch.tensor(bounds)).validate()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_coordinates_must_be_finite(value: float) -> None:
    pos = torch.zeros(5, 2)
    pos[3, 1] = value
    with pytest.raises(ValueError, match=rf"pos must be finite, got \[0.0, {value}\] in row 3 \(set 1\)"):
        five(pos=pos).validate()


@pytest.mark.parametrize("site", [[0.5, 0.0], [-1.0, 0.0], [0.0, 2.0], [1e30, 0.0]])
def test_sites_must_be_integers_inside_the_lattice(site: list[float]) -> None:
    pos = LATTICE["pos"].clone()
    pos[2] = torch.tensor(site)
    with pytest.raises(ValueError, match=r"pos must hold integer sites of its lattice \[2, 2\], got \[.*\] in row 2"):
        square(pos=pos).validate()


def test_a_site_may_appear_once_in_a_set() -> None:
    twice = square(pos=LATTICE["pos"][[0, 1, 2, 2]])
    with pytest.raises(ValueError, match="pos holds a lattice site more than once"):
        twice.validate()
    square(pos=LATTICE["pos"][[0, 1, 0, 1]], ptr=torch.tensor([0, 2, 4]), sizes=torch.tensor([[2, 2]] * 2)).validate()


def test_valid_points_come_back() -> None:
    for points in (five(), square(), square(grid=(2, 2)), clouds(1, 0, 3), clouds(0)):
        assert points.validate() is points


def test_take_groups_by_set_and_keeps_the_order_of_the_index() -> None:
    points = clouds(2, 0, 3)
    taken = points.take(torch.tensor([4, 1, 2, 0, 4]))
    assert taken.ptr.tolist() == [0, 2, 2, 5]
    for name in ("x", "pos"):
        assert torch.equal(getattr(taken, name), getattr(points, name)[[1, 0, 4, 2, 4]])


def test_take_by_mask_keeps_sizes_and_drops_the_promise() -> None:
    taken = square(grid=(2, 2)).take(torch.tensor([True, False, True, True]))
    assert_same(
        taken, square(x=torch.tensor([[0.0], [2], [3]]), pos=LATTICE["pos"][[0, 2, 3]], ptr=torch.tensor([0, 3]))
    )
    assert taken.grid is None


@pytest.mark.parametrize("index", [torch.zeros(0, dtype=torch.int64), torch.zeros(5, dtype=torch.bool)])
def test_take_nothing(index: torch.Tensor) -> None:
    taken = five().take(index)
    assert (taken.num_points, taken.ptr.tolist()) == (0, [0, 0, 0])


@pytest.mark.parametrize(
    ("index", "sentence"),
    [
        (torch.tensor([0, 5]), r"index must be in \[0, 4\], got 0 to 5"),
        (torch.tensor([-1, 2]), r"index must be in \[0, 4\], got -1 to 2"),
        (torch.ones(4, dtype=torch.bool), r"a mask must have shape \(5,\), got \(4,\)"),
        (torch.ones(5, 1, dtype=torch.bool), r"a mask must have shape \(5,\), got \(5, 1\)"),
        (torch.zeros(2), r"index must be a 1-d tensor of integers or a mask, got torch\.float32 \(2,\)"),
        (torch.zeros(2, 1).long(), r"index must be a 1-d tensor of integers or a mask, got torch\.int64 \(2, 1\)"),
    ],
)
def test_take_names_a_wrong_index(index: torch.Tensor, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        five().take(index)


def test_take_refuses_a_site_twice() -> None:
    with pytest.raises(ValueError, match="index takes a lattice site more than once"):
        square().take(torch.tensor([0, 1, 1]))


@pytest.mark.parametrize("points", [clouds(1, 0, 3), pixels((2, 3), (1, 1)), pixels((2, 3), (2, 3)), clouds(4)])
def test_concat_undoes_split(points: PointSet) -> None:
    alone = points.split()
    assert [one.num_points for one in alone] == points.counts.tolist()
    assert all(one.num_sets == 1 for one in alone)
    assert_same(concat(alone), points)


def test_concat_keeps_the_promises_that_all_make() -> None:
    wide, tall = pixels((2, 3)), pixels((3, 2))
    assert concat([wide, wide]).grid == (2, 3)
    mixed = concat([wide, tall, wide])
    assert mixed.grid == ((2, 3), (3, 2), (2, 3)) == mixed.lattices
    assert mixed.lattice is None
    assert mixed.sizes.tolist() == [[2, 3], [3, 2], [2, 3]]
    assert concat([mixed, wide]).grid == (*mixed.grid, (2, 3))
    assert concat([wide, tall.take(torch.arange(6))]).grid is None
    fives = cloud_to_points(torch.zeros(2, 5, 3))
    assert concat([fives, fives]).size == 5
    assert concat([fives, clouds(5, channels=3)]).size is None


@pytest.mark.parametrize("other", [clouds(2, channels=3), clouds(2, dim=2), pixels((1, 1))])
def test_concat_names_sets_that_do_not_fit(other: PointSet) -> None:
    with pytest.raises(ValueError, match=r"sets must agree in \(channels, dimensions, is a lattice\), got \[\("):
        concat([clouds(2), other])


def test_concat_needs_a_set() -> None:
    with pytest.raises(ValueError, match="sets is empty; give at least one PointSet"):
        concat([])


@pytest.mark.parametrize(
    ("dtype", "pos_dtype"),
    [
        (torch.bfloat16, torch.float64),
        (torch.float16, torch.float64),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (None, torch.float64),
    ],
)
def test_to_a_dtype(dtype: torch.dtype | None, pos_dtype: torch.dtype) -> None:
    points = pixels((2, 3), (2, 3)).to("cpu", dtype)
    assert (points.x.dtype, points.pos.dtype) == (dtype or torch.float64, pos_dtype)
    assert (points.ptr.dtype, points.sizes.dtype, points.grid) == (torch.int64, torch.int64, (2, 3))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_coordinates_stay_float32(dtype: torch.dtype) -> None:
    points = five(pos=torch.full((5, 2), 1001.0))
    for half in (points.to(dtype), points.to(dtype=dtype)):
        assert (half.x.dtype, half.pos.dtype) == (dtype, torch.float32)
        assert torch.equal(half.pos, points.pos)


def test_to_a_device() -> None:
    points = square(grid=(2, 2)).to("meta")
    assert {getattr(points, name).device.type for name in NAMES} == {"meta"}
    assert clouds(2).to("cpu").sizes is None


def test_maps_and_features() -> None:
    images = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    points = image_to_points(images)
    assert torch.equal(points.to_maps()[:, :3], images)
    assert_same(points.with_x(points.x).with_x(points.x), points)
    with pytest.raises(ValueError, match="to_maps needs complete lattices of one size"):
        clouds(2).to_maps()
    with pytest.raises(ValueError, match=r"pos must have shape \(3, D\)"):
        points.with_x(torch.zeros(3, 1))


def test_sets_are_frozen() -> None:
    with pytest.raises(AttributeError):
        five().x = torch.zeros(5, 1)  # type: ignore[misc]


@pytest.mark.parametrize("points", [clouds(1, 0, 3), clouds(4), clouds(2, 0), pixels((2, 3), (1, 4), kept=0.5)])
def test_pyg_batches_come_back(points: PointSet) -> None:
    batch = points.to_pyg()
    assert torch.equal(batch.batch, points.batch)
    assert batch.num_graphs == points.num_sets
    assert_same(PointSet.from_pyg(batch), points)
    assert torch.equal(batch.get_example(0).pos, points.split()[0].pos)


def test_pyg_data_without_features_or_float32() -> None:
    from torch_geometric.data import Data

    data = Data(pos=torch.rand(4, 3, dtype=torch.float64))
    points = PointSet.from_pyg(data)
    assert points.x is data.pos
    assert points.ptr.tolist() == [0, 4]
    whole = PointSet.from_pyg(Data(pos=torch.tensor([[0, 1], [1, 0]]), sizes=torch.tensor([[2, 2]])))
    assert whole.pos.dtype == torch.float32
    assert whole.sizes.tolist() == [[2, 2]]


def test_pyg_data_with_batch_but_no_ptr() -> None:
    from torch_geometric.data import Data

    points = PointSet.from_pyg(Data(pos=torch.rand(4, 3), batch=torch.tensor([0, 0, 2, 2])))
    assert points.ptr.tolist() == [0, 2, 2, 4]
    fields = SimpleNamespace(pos=torch.rand(2, 3), batch=torch.tensor([0, 0]), num_graphs=3)
    assert PointSet.from_pyg(fields).ptr.tolist() == [0, 2, 2, 2]


def test_pyg_loader_makes_batches() -> None:
    from torch_geometric.loader import DataLoader

    points = pixels((2, 3), (1, 4), (3, 3), kept=0.6)
    sets = [PointSet.to_pyg(one).get_example(0) for one in points.split()]
    first, second = (PointSet.from_pyg(batch) for batch in DataLoader(sets, batch_size=2))
    assert_same(concat([first, second]), points)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"x": torch.zeros(2, 1)}, r"data has no tensor `pos`; it has only \['x'\]"),
        ({"pos": torch.zeros(2, 3), "batch": torch.tensor([1, 0])}, "data.batch must be sorted"),
        ({"pos": torch.zeros(2, 3), "ptr": torch.tensor([0, 1])}, "ptr must run from 0 to the number of points 2"),
        ({"pos": torch.full((2, 3), torch.nan)}, "pos must be finite"),
        ({"pos": torch.zeros(2, 3), "x": torch.zeros(3, 1)}, r"pos must have shape \(3, D\) to match x"),
        ({"pos": torch.zeros(2, 2), "sizes": torch.tensor([[2, 2]])}, "pos holds a lattice site more than once"),
    ],
)
def test_pyg_data_that_does_not_fit_is_named(fields: dict, sentence: str) -> None:
    from torch_geometric.data import Data

    with pytest.raises(ValueError, match=sentence):
        PointSet.from_pyg(Data(**fields))


def test_another_object_is_named() -> None:
    with pytest.raises(ValueError, match="data has no tensor `pos`; it has type list"):
        PointSet.from_pyg([1, 2])


def test_an_image_on_paper() -> None:
    points = image_to_points(torch.tensor([[[[1.0, 2, 3], [4, 5, 6]]]]))
    assert points.x.tolist() == [
        [1, -0.5, -0.5],
        [2, 0, -0.5],
        [3, 0.5, -0.5],
        [4, -0.5, 0.5],
        [5, 0, 0.5],
        [6, 0.5, 0.5],
    ]
    assert points.pos.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert (points.ptr.tolist(), points.sizes.tolist(), points.grid) == ([0, 6], [[2, 3]], (2, 3))


@pytest.mark.parametrize("grid", [(1, 1), (1, 4), (4, 1)])
def test_a_side_of_one_pixel_is_in_the_middle(grid: tuple[int, int]) -> None:
    points = image_to_points(torch.zeros(1, 1, *grid)).validate()
    for feature, size in zip(points.x[:, 1:].T, reversed(grid), strict=True):
        assert (feature.min(), feature.max()) == ((0, 0) if size == 1 else (-0.5, 0.5))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_images_of_any_float_dtype(dtype: torch.dtype) -> None:
    points = image_to_points(torch.rand(2, 1, 3, 300).to(dtype)).validate()
    assert points.x.dtype == dtype
    assert points.pos.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    exact = pixel_coordinates((3, 300), torch.device("cpu"), torch.float64).flatten(0, 1)
    torch.testing.assert_close(points.x[:900, 1:].double(), exact, rtol=0, atol=torch.finfo(dtype).eps / 4)


def test_a_list_of_images_of_one_size_is_their_stack() -> None:
    images = torch.rand(3, 2, 4, 5)
    assert_same(image_to_points(list(images)), image_to_points(images))


def test_a_list_of_images_of_several_sizes() -> None:
    images = [torch.rand(2, 4, 5), torch.rand(2, 1, 3)]
    points = image_to_points(images)
    assert points.grid == ((4, 5), (1, 3))
    assert points.sizes.tolist() == [[4, 5], [1, 3]]
    with pytest.raises(ValueError, match="to_maps needs complete lattices of one size"):
        points.to_maps()
    assert_same(points, concat([image_to_points(image[None]) for image in images]))


def test_masks_take_pixels() -> None:
    images, mask = torch.rand(2, 1, 3, 4), torch.rand(2, 3, 4) < 0.5
    points = image_to_points(images, mask)
    assert_same(points, image_to_points(images).take(mask.flatten()))
    assert_same(points, image_to_points(list(images), list(mask)))
    assert image_to_points(images, torch.zeros_like(mask)).ptr.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (
            torch.zeros(3, 4, 4),
            r"shape \(B, C, H, W\) or be a sequence of \(C, H, W\), got \(3, 4, 4\)",
        ),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), r"floating point, got torch\.uint8; divide uint8 pixels by 255"),
        (torch.zeros(0, 3, 4, 4), r"images must not be empty, got shape \(0, 3, 4, 4\)"),
        (torch.zeros(1, 3, 0, 4), r"images must not be empty, got shape \(1, 3, 0, 4\)"),
        ([], "images is empty; give at least one image"),
        ([torch.zeros(4, 4)], r"a sequence of images must hold \(C, H, W\) tensors, got one of shape \(4, 4\)"),
        ([torch.zeros(1, 2, 2), torch.zeros(3, 2, 2)], "images must agree in channels and dtype, got"),
        ([torch.zeros(1, 2, 2), torch.zeros(1, 2, 2).double()], "images must agree in channels and dtype, got"),
        ([torch.zeros(1, 2, 2, dtype=torch.uint8)], "divide uint8 pixels by 255 first"),
    ],
)
def test_images_that_do_not_fit_are_named(images, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        image_to_points(images)


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (torch.ones(2, 4, 4), r"mask must be bool, got \['torch\.float32'\]"),
        (torch.ones(2, 4, 3).bool(), r"mask must hold one \(H, W\) per image: \[\(4, 4\), \(4, 4\)\], got \[\(4, 3\)"),
        (torch.ones(1, 4, 4).bool(), r"mask must hold one \(H, W\) per image"),
        (torch.ones(4, 4).bool(), r"mask must hold one \(H, W\) per image"),
        ([torch.ones(4, 4).bool()], r"mask must hold one \(H, W\) per image"),
    ],
)
def test_masks_that_do_not_fit_are_named(mask, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        image_to_points(torch.zeros(2, 1, 4, 4), mask)


def test_sites_and_bounds() -> None:
    assert grid_sites((2, 1, 2), torch.device("cpu")).tolist() == [[0, 0, 0], [0, 0, 1], [1, 0, 0], [1, 0, 1]]
    assert counts_to_ptr(torch.tensor([2, 0, 3])).tolist() == [0, 2, 2, 5]


def test_a_promise_has_a_lattice_for_each_set() -> None:
    two = pixels((2, 2), (1, 3))
    assert replace(two, grid=((2, 2), (1, 3))).lattices == ((2, 2), (1, 3))
    with pytest.raises(ValueError, match=r"grid \(2, 3\) of 2 sets needs 12 points, got 7"):
        replace(two, grid=(2, 3))
    with pytest.raises(ValueError, match=r"grid \(\(2, 2\), \(1, 4\)\) of 2 sets needs 8 points, got 7"):
        replace(two, grid=((2, 2), (1, 4)))
    with pytest.raises(ValueError, match=r"grid needs sizes and one entry per axis of pos \(2\)"):
        replace(two, grid=((2, 2),))


def test_promises_that_are_not_kept_are_named() -> None:
    three = replace(clouds(4, 4), ptr=torch.tensor([0, 3, 8]), size=4)
    with pytest.raises(ValueError, match=r"every set is promised to have 4 points, got \[3, 5\]"):
        three.validate()
    square = pixels((2, 2))
    with pytest.raises(ValueError, match=r"grid promises lattices \[\[2, 2\]\], but sizes are \[\[2, 3\]\]"):
        replace(square, sizes=torch.tensor([[2, 3]])).validate()


def test_clouds_of_one_size() -> None:
    batch = torch.rand(3, 4, 6)
    points = cloud_to_points(batch).validate()
    assert (points.size, points.ptr.tolist(), points.grid) == (4, [0, 4, 8, 12], None)
    assert torch.equal(points.x.view_as(batch), batch)
    assert torch.equal(points.pos, points.x[:, :3])
    assert cloud_to_points(batch.half()).pos.dtype == torch.float32
    assert points.to(torch.float64).size == 4
    assert [one.size for one in points.split()] == [4] * 3
    assert points.take(torch.arange(4)).size is None
    with pytest.raises(ValueError, match=r"clouds must have shape \(B, N, C\), C at least 3, got \(3, 4\)"):
        cloud_to_points(batch[..., 0])
    with pytest.raises(ValueError, match=r"size 5 of 3 sets does not give 12 points"):
        replace(points, size=5)
