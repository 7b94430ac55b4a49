"""Clouds in the unit ball, about the middle of their box or about their mean."""

from __future__ import annotations

import pytest
import torch

from pointcoc.data.unit_ball import to_unit_ball

POINTS = torch.tensor([[1.0, 1, 1], [1, 1, 1], [1, 1, 1], [5, 1, 1]])


def test_the_center_on_paper() -> None:
    assert to_unit_ball(POINTS).tolist() == [[-1, 0, 0]] * 3 + [[1, 0, 0]]
    assert torch.allclose(to_unit_ball(POINTS, "mean")[:, 0], torch.tensor([-1 / 3, -1 / 3, -1 / 3, 1]))


@pytest.mark.parametrize("center", ["box", "mean"])
def test_place_and_scale_do_not_matter(center: str) -> None:
    pos = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = to_unit_ball(pos, center)
    torch.testing.assert_close(to_unit_ball(7 * pos + 100, center), expected)
    assert float(expected.norm(dim=1).max()) == pytest.approx(1)


def test_one_place() -> None:
    for center in ("box", "mean"):
        assert torch.equal(to_unit_ball(torch.ones(2, 3), center), torch.zeros(2, 3))


def test_another_center_is_named() -> None:
    with pytest.raises(ValueError, match="unknown center 'origin'; choose from box, mean"):
        to_unit_ball(POINTS, "origin")
