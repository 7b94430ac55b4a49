"""Views draw reproducibly, and a measurement adds up what a network of known errors does."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from pointcoc.checks import import_extra
from pointcoc.robustness import (
    CLOUD_CORRUPTIONS,
    IMAGE_CORRUPTIONS,
    CloudViews,
    ImageViews,
    Robustness,
    accuracy_of,
    draw_robustness,
    measure,
    to_json,
    to_markdown,
)
from pointcoc.robustness.drawing import generator
from pointcoc.robustness.views import chosen, kept


def clouds(count: int = 6, num_points: int = 40) -> list[Data]:
    draw = torch.Generator().manual_seed(0)
    return [Data(pos=torch.randn(num_points, 3, generator=draw), y=torch.tensor([i % 2])) for i in range(count)]


def images(count: int = 6) -> list[tuple[Tensor, int]]:
    draw = torch.Generator().manual_seed(0)
    return [(torch.rand(1, 8, 8, generator=draw), i % 2) for i in range(count)]


class CountsPoints(nn.Module):
    """Says class 1 to sets of more than a number of points, else class 0."""

    num_classes = 2

    def __init__(self, least: int) -> None:
        super().__init__()
        self.least = least

    def forward(self, inputs) -> Tensor:
        many = (inputs.counts if hasattr(inputs, "counts") else torch.full((len(inputs),), 64)) > self.least
        return torch.stack([~many, many], dim=1).float()


def first(loader):
    return next(iter(loader))


def test_batches_of_clouds() -> None:
    views = CloudViews(clouds(), seed=1, batch_size=4)
    points, labels = first(views.clean())
    assert torch.equal(points.pos, torch.cat([cloud.pos for cloud in clouds()[:4]]))
    assert labels.tolist() == [0, 1, 0, 1]
    assert first(views.reduced(75))[0].counts.tolist() == [10] * 4
    assert first(views.corrupted("cutout", 5))[0].counts.tolist() == [30] * 4
    assert len(views) == 6
    assert views.kinds == tuple(CLOUD_CORRUPTIONS)


def test_batches_of_images() -> None:
    views = ImageViews(images(), lambda image: image - 0.5, seed=1, batch_size=4)
    inputs, labels = first(views.clean())
    assert torch.equal(inputs, torch.stack([image for image, _ in images()[:4]]) - 0.5)
    assert labels.tolist() == [0, 1, 0, 1]
    assert first(views.corrupted("contrast", 5))[0].std() < 0.3 * inputs.std()
    points, labels = first(views.reduced(50))
    assert points.counts.tolist() == [32] * 4
    assert points.sizes.tolist() == [[8, 8]] * 4
    row = points.pos.long()
    assert torch.equal(points.x[:32, 0], inputs[0, 0][row[:32, 0], row[:32, 1]])
    assert views.kinds == tuple(IMAGE_CORRUPTIONS)


def of_clouds(**options) -> CloudViews:
    return CloudViews(clouds(), **options)


def of_images(**options) -> ImageViews:
    return ImageViews(images(), nn.Identity(), **options)


@pytest.mark.parametrize("make", [of_clouds, of_images])
def test_workers_and_batches_do_not_change_what_is_drawn(make) -> None:
    kind = make().kinds[5]

    def values(**options) -> Tensor:
        parts = [inputs for inputs, _ in make(**options).corrupted(kind, 4)]
        return torch.cat([getattr(part, "pos", part) for part in parts])

    assert torch.equal(values(batch_size=6), values(batch_size=1))
    assert torch.equal(values(batch_size=2), values(batch_size=2, workers=1))
    assert not torch.equal(values(), values(seed=1))


def test_a_limit_takes_the_same_items_and_their_corruption_stays() -> None:
    numbers = chosen(100, 10, seed=3)
    assert numbers == sorted(set(numbers)) == chosen(100, 10, seed=3)
    assert len(numbers) == 10
    assert numbers != chosen(100, 10, seed=4)
    assert max(numbers) > 20
    assert chosen(5, 9, seed=0) == chosen(5, None, seed=0) == [0, 1, 2, 3, 4]
    whole, part = CloudViews(clouds(), batch_size=6), CloudViews(clouds(), limit=2, batch_size=6)
    everything, some = (first(views.corrupted("gaussian_noise", 2))[0].split() for views in (whole, part))
    for number, one in zip(chosen(6, 2, seed=0), some, strict=True):
        assert torch.equal(everything[number].pos, one.pos)


def test_a_larger_share_leaves_a_part_of_what_a_smaller_one_leaves() -> None:
    sets = [set(kept(50, percent, seed=0, index=4).tolist()) for percent in range(0, 100, 10)]
    assert [len(one) for one in sets] == [50, 45, 40, 35, 30, 25, 20, 15, 10, 5]
    assert all(after < before for before, after in itertools.pairwise(sets))
    assert sets[5] != set(kept(50, 50, seed=0, index=5).tolist())
    assert len(kept(3, 99, seed=0, index=0)) == 1


def test_means_by_hand() -> None:
    result = Robustness(
        clean=0.1, errors={"a": {1: 0.2, 5: 0.4}, "b": {1: 0.5, 5: 0.7}}, removed={0: 0.9, 50: 0.6}, num_items=10
    )
    assert result.of_kind("a") == pytest.approx(0.3)
    assert result.mean == pytest.approx(0.45)
    assert result.added == pytest.approx(0.35)
    text = to_markdown(result)
    assert (
        "Mean error over corruptions 45.0%; clean error 10.0%; corruption adds 35.0 points, 4.50 times. 10 items."
        in text
    )
    assert "| a    | 20.0 | 40.0 | 30.0 |" in text
    assert "| mean | 35.0 | 55.0 | 45.0 |" in text
    assert "| accuracy   | 90.0 | 60.0 |" in text
    content = to_json(result, {"data": "x"})
    assert content["errors"] == {"a": {"1": 0.2, "5": 0.4}, "b": {"1": 0.5, "5": 0.7}}
    assert (content["data"], content["mean_error"], content["clean_error"]) == ("x", pytest.approx(0.45), 0.1)
    assert content["accuracy_by_percent_removed"] == {"0": 0.9, "50": 0.6}


def test_a_perfect_clean_error_has_no_ratio() -> None:
    text = to_markdown(Robustness(clean=0.0, errors={"a": {1: 0.2}}, removed={}, num_items=1))
    assert "times" not in text
    assert "removed" not in text


def test_the_picture_shows_every_number() -> None:
    result = Robustness(clean=0.1, errors={"a_b": {1: 0.2, 5: 0.8}}, removed={0: 0.9, 50: 0.6}, num_items=10)
    errors, removed = draw_robustness(result, num_classes=4).axes
    assert [text.get_text() for text in errors.texts] == ["20", "80", "50"]
    assert [label.get_text() for label in errors.get_yticklabels()] == ["a b"]
    curve, chance = removed.lines
    np.testing.assert_allclose(curve.get_xydata(), [[0, 90], [50, 60]])
    assert set(chance.get_ydata()) == {25}
    assert len(draw_robustness(Robustness(clean=0, errors={"a": {1: 0}}, removed={}, num_items=1)).axes) == 1


def test_a_network_that_counts_points() -> None:
    """Of 40 points: cutout 5 leaves 30, upsampling adds to 80; class 1 is right for every second cloud."""
    passes: list[str] = []
    result = measure(
        accuracy_of(CountsPoints(35)),
        CloudViews(clouds(5)),
        kinds=["cutout", "upsampling"],
        strengths=[5],
        percents=[0, 50],
        progress=passes.append,
    )
    assert result.clean == pytest.approx(0.6)
    assert result.errors == {"cutout": {5: pytest.approx(0.4)}, "upsampling": {5: pytest.approx(0.6)}}
    assert result.removed == {0: pytest.approx(0.4), 50: pytest.approx(0.6)}
    assert result.num_items == 5
    assert passes == ["clean", "cutout 5", "upsampling 5", "0 % removed", "50 % removed"]


def test_a_function_measures_networks_of_any_make() -> None:
    seen = []

    def accuracy(loader) -> float:
        seen.append(first(loader)[0].shape)
        return 0.25

    result = measure(accuracy, ImageViews(images(), nn.Identity()), strengths=[2], percents=())
    assert seen == [(6, 1, 8, 8)] * 16
    assert result.mean == result.clean == 0.75
    assert result.removed == {}


@pytest.mark.parametrize(
    ("kinds", "strengths", "sentence"),
    [
        (["rain"], [1], "unknown kind 'rain'; choose from gaussian_noise"),
        (["fog"], [0], "strength must be one of 1, 2, 3, 4, 5, got 0"),
        ([], [1], "kinds must be one or more, each once, got none"),
        (["fog", "fog"], [1], "kinds must be one or more, each once, got fog, fog"),
        (["fog"], [1, 1], "strengths must be one or more, each once, got 1, 1"),
    ],
)
def test_choices_that_cannot_be_measured(kinds: list[str], strengths: list[int], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        measure(lambda loader: 1.0, ImageViews(images(), nn.Identity()), kinds, strengths)


def test_numbers_that_are_too_small() -> None:
    with pytest.raises(ValueError, match="limit must be an integer of at least 1, got 0"):
        CloudViews(clouds(), limit=0)
    with pytest.raises(ValueError, match="the data set must hold at least one item, got none"):
        CloudViews([])
    with pytest.raises(ValueError, match=r"percent must be in \[0, 99\], got 100"):
        kept(5, 100, 0, 0)


def test_random_numbers_differ_in_everything_they_are_drawn_for() -> None:
    draws = [
        generator(*what).random()
        for what in ((0, "fog", 1, 0), (1, "fog", 1, 0), (0, "snow", 1, 0), (0, "fog", 2, 0), (0, "fog", 1, 1))
    ]
    assert len(set(draws)) == 5
    assert generator(0, "fog", 1, 0).random() == draws[0]


def test_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pointcoc.robustness.image_blur")
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ImportError, match=r"robustness needs scipy; install it with: pip install 'pointcoc\[train\]'"):
        import_extra("pointcoc.robustness.image_blur", needs="robustness needs")
