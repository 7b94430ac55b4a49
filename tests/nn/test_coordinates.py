"""Fourier features by hand, and the precision they are computed in."""

from math import cos, pi, sin

import torch

from pointcoc.nn.coordinates import encode_coordinates, fourier_features


def test_by_hand() -> None:
    x, y = 0.25, -0.5
    expected = [
        sin(pi * x), sin(pi * y), cos(pi * x), cos(pi * y),
        sin(2 * pi * x), sin(2 * pi * y), cos(2 * pi * x), cos(2 * pi * y),
        sin(4 * pi * x), sin(4 * pi * y), cos(4 * pi * x), cos(4 * pi * y),
    ]  # fmt: skip
    actual = fourier_features(torch.tensor([[x, y]], dtype=torch.float64), 3)
    torch.testing.assert_close(actual, torch.tensor([expected], dtype=torch.float64), rtol=0, atol=1e-15)


def test_the_first_sine_tells_all_places_apart() -> None:
    line = torch.linspace(-0.5, 0.5, 101, dtype=torch.float64)[:, None]
    assert (fourier_features(line, 4)[:, 0].diff() > 0).all()


def test_shapes_and_precision() -> None:
    assert fourier_features(torch.zeros(2, 3, 2), 5).shape == (2, 3, 20)
    half = torch.tensor([[0.3125, -0.4375]], dtype=torch.bfloat16)
    expected = fourier_features(half.float(), 6).bfloat16()
    assert torch.equal(fourier_features(half, 6), expected)
    assert encode_coordinates(half, "numbers", 4) is half
    assert torch.equal(encode_coordinates(half, "fourier", 6), expected)
