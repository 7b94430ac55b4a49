"""Corruptions of images keep what each promises: means, deviations, shares, and the same result for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from pointcoc.robustness import IMAGE_CORRUPTIONS, STRENGTHS, corrupt_image
from pointcoc.robustness.drawing import generator
from pointcoc.robustness.image_blur import _disk, enlarge, motion_blur, streak
from pointcoc.robustness.image_weather import plasma

# Glass blur, frost and elastic trade one number for another; pixelate depends on how the boxes fall, motion blur on the
# angle, which is drawn.
UNEVEN = ("glass_blur", "elastic", "pixelate", "frost", "motion_blur")
GROWING = [kind for kind in IMAGE_CORRUPTIONS if kind not in UNEVEN]
BLURS = ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "pixelate")


def picture(size: tuple[int, int] = (32, 32), channels: int = 3) -> Tensor:
    """Soft color waves with an edge, values in [0.2, 0.8]."""
    rows, columns = torch.meshgrid(torch.linspace(0, 6, size[0]), torch.linspace(0, 6, size[1]), indexing="ij")
    waves = torch.stack([torch.sin(rows * (1 + c) + columns) for c in range(channels)])
    return 0.5 + 0.2 * waves + 0.1 * torch.sign(rows - columns)


@pytest.mark.parametrize("kind", IMAGE_CORRUPTIONS)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8), (3, 20, 45), (4, 5, 3), (3, 1, 1)])
def test_shape_and_range_stay_and_the_seed_determines_the_image(kind: str, shape: tuple[int, int, int]) -> None:
    image = picture(shape[1:], shape[0])
    for strength in (1, 5):
        first = corrupt_image(image, kind, strength, seed=2, index=3)
        assert first.shape == image.shape
        assert first.dtype == image.dtype
        assert first.min() >= 0
        assert first.max() <= 1
        assert torch.equal(first, corrupt_image(image, kind, strength, seed=2, index=3))


@pytest.mark.parametrize("kind", [k for k in IMAGE_CORRUPTIONS if k not in (
    "defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg"
)])  # fmt: skip
def test_others_are_drawn_for_another_item_and_another_seed(kind: str) -> None:
    first = corrupt_image(picture(), kind, 4, seed=2, index=3)
    assert not torch.equal(first, corrupt_image(picture(), kind, 4, seed=2, index=4))
    assert not torch.equal(first, corrupt_image(picture(), kind, 4, seed=3, index=3))


@pytest.mark.parametrize("kind", GROWING)
def test_distance_grows_with_strength(kind: str) -> None:
    distance = [
        sum(float((corrupt_image(picture(), kind, strength, index=i) - picture()).norm()) for i in range(12))
        for strength in STRENGTHS
    ]
    assert distance == sorted(distance)


@pytest.mark.parametrize(("strength", "deviation"), [*zip(STRENGTHS, (0.04, 0.06, 0.08, 0.09, 0.10))])
def test_gaussian_noise_has_its_deviation(strength: int, deviation: float) -> None:
    noise = corrupt_image(torch.full((3, 64, 64), 0.5), "gaussian_noise", strength) - 0.5
    assert noise.std() == pytest.approx(deviation, rel=0.03)
    assert abs(noise.mean()) < 0.1 * deviation


@pytest.mark.parametrize(("strength", "photons"), [*zip(STRENGTHS, (500, 250, 100, 75, 50))])
def test_shot_noise_counts_photons(strength: int, photons: int) -> None:
    noisy = corrupt_image(torch.full((3, 64, 64), 0.3, dtype=torch.float64), "shot_noise", strength)
    counts = noisy * photons
    torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-9)
    assert noisy.var() == pytest.approx(0.3 / photons, rel=0.05)


@pytest.mark.parametrize(("strength", "share"), [*zip(STRENGTHS, (0.01, 0.02, 0.03, 0.05, 0.07))])
def test_impulses_are_black_or_white_and_have_their_share(strength: int, share: float) -> None:
    noisy = corrupt_image(torch.full((3, 128, 128), 0.5), "impulse_noise", strength)
    assert set(noisy.unique().tolist()) == {0.0, 0.5, 1.0}
    assert float((noisy != 0.5).float().mean()) == pytest.approx(share, rel=0.1)
    assert float((noisy == 1).sum() / (noisy != 0.5).sum()) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("kind", BLURS)
@pytest.mark.parametrize("strength", STRENGTHS)
def test_blurs_leave_an_even_image_alone_and_stay_within_its_values(kind: str, strength: int) -> None:
    even = torch.full((3, 32, 32), 0.4, dtype=torch.float64)
    # Pixelate counts in 255ths.
    tolerance = 1 / 255 if kind == "pixelate" else 1e-9
    torch.testing.assert_close(corrupt_image(even, kind, strength), even, rtol=0, atol=tolerance)
    blurred = corrupt_image(picture(), kind, strength)
    assert blurred.min() >= picture().min() - tolerance - 1e-6
    assert blurred.max() <= picture().max() + tolerance + 1e-6


def test_the_disk_of_defocus_sums_to_one_and_is_round() -> None:
    disk = _disk(1.5, 0.1)
    assert disk.sum() == pytest.approx(1)
    np.testing.assert_allclose(disk, disk.T)
    np.testing.assert_allclose(disk[3 - 1 : 3 + 2, 3 - 1 : 3 + 2], np.full((3, 3), 1 / 9), atol=1e-9)


def test_a_streak_is_one_half_of_a_gaussian() -> None:
    dot = np.zeros((9, 9, 1))
    dot[4, 2] = 1
    streaked = streak(dot, 2, 1.0, 0.0)[4, :, 0]
    weights = np.exp(-(np.arange(5) ** 2) / 2)
    np.testing.assert_allclose(streaked[2:7], weights / weights.sum(), atol=1e-12)
    assert streaked[:2].sum() == 0


def test_motion_along_one_angle_grows_with_strength() -> None:
    image = picture().permute(1, 2, 0).numpy()
    distance = [np.linalg.norm(motion_blur(image, s, generator(0, "angle", 0, 0)) - image) for s in STRENGTHS]
    assert distance[:2] == sorted(distance[:2])
    assert distance[3] == pytest.approx(distance[2])  # the radius grows, but not the deviation
    assert distance[1] < distance[2] < distance[4]
    assert distance[4] > 1.3 * distance[0]


def test_enlarging_keeps_the_middle_and_lengthens_from_there() -> None:
    ramp = np.broadcast_to(np.arange(9.0)[None, :, None], (9, 9, 1))
    np.testing.assert_allclose(enlarge(ramp, 1.0), ramp, atol=1e-12)
    np.testing.assert_allclose(enlarge(ramp, 2.0)[4, :, 0], 4 + (np.arange(9) - 4) / 2, atol=1e-12)


def test_glass_takes_pixels_from_beside() -> None:
    columns = torch.arange(32.0).div(31).expand(3, 32, 32).contiguous()
    moved = (corrupt_image(columns, "glass_blur", 1) - columns) * 31
    assert set(moved.round().unique().tolist()) == {-1.0, 0.0}
    torch.testing.assert_close(moved, moved.round(), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("strength", "added"), [*zip(STRENGTHS, (0.05, 0.1, 0.15, 0.2, 0.3))])
def test_brightness_raises_the_value_and_keeps_the_hue(strength: int, added: float) -> None:
    brighter = corrupt_image(picture(), "brightness", strength)
    expected = (picture().amax(0) + added).clamp(max=1)
    torch.testing.assert_close(brighter.amax(0), expected)
    torch.testing.assert_close(brighter / brighter.amax(0), picture() / picture().amax(0))
    black = corrupt_image(torch.zeros(3, 4, 4), "brightness", strength)
    torch.testing.assert_close(black, torch.full((3, 4, 4), added))


@pytest.mark.parametrize(("strength", "kept"), [*zip(STRENGTHS, (0.75, 0.5, 0.4, 0.3, 0.15))])
def test_contrast_shrinks_the_deviation_of_a_channel_and_keeps_its_mean(strength: int, kept: float) -> None:
    dull = corrupt_image(picture(), "contrast", strength)
    torch.testing.assert_close(dull.mean((1, 2)), picture().mean((1, 2)))
    torch.testing.assert_close(dull.std((1, 2)), kept * picture().std((1, 2)))


def test_fog_keeps_the_brightest_value_as_bound_and_lightens_the_dark() -> None:
    image = picture()
    for strength in STRENGTHS:
        foggy = corrupt_image(image, "fog", strength)
        assert foggy.max() <= image.max() + 1e-6
        assert foggy.std() < image.std() + 0.1
    assert corrupt_image(torch.zeros(3, 8, 8), "fog", 3).max() == 0  # as in the benchmark: black has no bright value


def test_plasma_fills_zero_to_one_and_is_smoother_with_more_decay() -> None:
    rough, smooth = (plasma((64, 48), decay, generator(0, "fog", 1, 0)) for decay in (1.5, 3.0))
    assert rough.shape == (64, 48)
    whole = plasma((64, 64), 3.0, generator(0, "fog", 1, 0))
    assert (whole.min(), whole.max()) == (0, 1)
    assert np.abs(np.diff(smooth, axis=0)).mean() < 0.5 * np.abs(np.diff(rough, axis=0)).mean()


def test_snow_and_frost_lighten_black() -> None:
    for kind in ("snow", "frost"):
        light = corrupt_image(torch.zeros(3, 32, 32), kind, 5)
        assert light.mean() > 0.1
    ice = corrupt_image(torch.zeros(3, 32, 32, dtype=torch.float64), "frost", 1)
    assert ice.max() <= 0.2 * 0.93 + 1e-9
    assert (ice[2] >= ice[0]).all()


def test_pixelate_of_a_half_is_the_mean_of_boxes() -> None:
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    values = [len(corrupt_image(image, "pixelate", strength)[0].unique()) for strength in (1, 5)]
    assert values[1] < values[0]
    assert corrupt_image(image, "pixelate", 5).std() < 0.85 * image.std()


def test_jpeg_of_lower_quality_is_farther_off() -> None:
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    errors = [float((corrupt_image(image, "jpeg", strength) - image).square().mean()) for strength in STRENGTHS]
    assert errors == sorted(errors)
    assert errors[0] > 1e-3


def test_elastic_moves_but_hardly_changes_the_histogram() -> None:
    for strength in STRENGTHS:
        bent = corrupt_image(picture((64, 64)), "elastic", strength)
        assert (bent - picture((64, 64))).abs().mean() > 0.01
        assert bent.mean() == pytest.approx(float(picture((64, 64)).mean()), abs=0.1)


@pytest.mark.parametrize(
    ("image", "kind", "strength", "sentence"),
    [
        (torch.zeros(3, 4, 4), "rain", 1, "unknown kind 'rain'; choose from gaussian_noise, shot_noise, "),
        (torch.zeros(3, 4, 4), "fog", 0, "strength must be one of 1, 2, 3, 4, 5, got 0"),
        (torch.zeros(4, 4), "fog", 1, r"image must have shape \(C, H, W\), got \(4, 4\)"),
        (torch.full((3, 4, 4), 1.5), "fog", 1, r"image must have values in \[0, 1\], got 1.5 to 1.5"),
        (torch.full((3, 4, 4), torch.nan), "fog", 1, r"image must have values in \[0, 1\], got nan to nan"),
    ],
)
def test_mistakes(image: Tensor, kind: str, strength: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        corrupt_image(image, kind, strength)
