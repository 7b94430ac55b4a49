"""digits: real images, reproducible split, ink sets that hold the very pixels of the images."""

import pytest
import torch
from torch.utils.data import DataLoader

from pointcoc.data import DigitImages, DigitInk, collate_sets, digits, ink_points
from pointcoc.data.digits import DIGITS_MEAN, DIGITS_STD, INK_THRESHOLD
from pointcoc.pointset import image_to_points


@pytest.fixture(scope="module")
def images():
    return digits("test")


@pytest.fixture(scope="module")
def ink():
    return digits("test", form="ink")


def test_split_is_stratified_and_complete():
    train, test = digits("train", size=8), digits("test", size=8)
    assert len(train) == 1438 and len(test) == 359
    share = test.labels.bincount() / (train.labels.bincount() + test.labels.bincount())
    assert ((share - 0.2).abs() < 0.005).all()
    seen = {image.numpy().tobytes() for image in train.images}
    assert not any(image.numpy().tobytes() in seen for image in test.images)


def test_images_are_normalized():
    train = digits("train")
    assert isinstance(train, DigitImages)
    assert train.images.mean().abs() < 1e-4 and (train.images.std() - 1).abs() < 1e-4
    brightness = train.images * DIGITS_STD + DIGITS_MEAN
    assert brightness.min() > -1e-6 and brightness.max() < 1 + 1e-6


def test_image_items(images):
    image, label = images[0]
    assert image.shape == (1, 32, 32) and image.dtype == torch.float32
    assert isinstance(label, int) and label == images.labels[0]
    assert images.classes == tuple("0123456789")
    batch, labels = next(iter(DataLoader(images, batch_size=4)))
    assert batch.shape == (4, 1, 32, 32) and labels.equal(images.labels[:4])


def test_size_8_is_the_original():
    from sklearn.datasets import load_digits

    original = torch.from_numpy(load_digits().images).float()
    image = digits("test", size=8).images[0, 0] * DIGITS_STD + DIGITS_MEAN
    assert ((original / 16 - image).abs().amax((1, 2)) < 1e-6).any()


def test_ink_sets_are_the_bright_pixels_of_the_images(images, ink):
    assert isinstance(ink, DigitInk) and len(ink) == len(images) and ink.labels.equal(images.labels)
    everything = image_to_points(images.images[:3])
    bright = everything.x[:, 0] * DIGITS_STD + DIGITS_MEAN > INK_THRESHOLD
    for number, expected in enumerate(everything.take(bright).split()):
        data = ink[number]
        assert data.x.equal(expected.x) and data.pos.equal(expected.pos) and data.sizes.equal(expected.sizes)
        assert data.y.tolist() == [int(images.labels[number])]


def test_ink_sets_differ_in_size_and_make_batches(ink):
    points, labels = collate_sets([ink[number] for number in range(8)])
    points.validate()
    assert len(set(points.counts.tolist())) > 1
    assert points.sizes.tolist() == [[32, 32]] * 8
    assert labels.equal(ink.labels[:8])


def test_iteration_ends_and_negative_index(ink, images):
    assert sum(1 for _ in ink) == len(ink)
    assert sum(1 for _ in images) == len(images)
    assert ink[-1].pos.equal(ink[len(ink) - 1].pos)
    with pytest.raises(IndexError):
        ink[len(ink)]


def test_transforms_are_applied():
    flipped = digits("test", size=8, transform=lambda image: image.flip(-1))
    assert flipped[3][0].equal(flipped.images[3].flip(-1))

    def halve(data):
        data.x = data.x / 2
        return data

    halved, plain = digits("test", "ink", 8, halve), digits("test", "ink", 8)
    assert halved[3].x.equal(plain[3].x / 2)
    assert halved[3].x.equal(plain[3].x / 2), "a transform must not change the data set"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("val",), "unknown split 'val'; choose from train, test"),
        (("test", "points"), "unknown form 'points'; choose from image, ink"),
        (("test", "image", 7), "size must be an integer of at least 8, got 7"),
        (("test", "ink", 32.0), "size must be an integer of at least 8, got 32.0"),
    ],
)
def test_argument_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        digits(*arguments)


def test_an_image_without_ink_is_named():
    images = torch.ones(3, 1, 4, 4)
    images[1] = 0.1
    with pytest.raises(
        ValueError, match=r"images must have ink.*0.25; image 1 has none \(its brightest pixel is 0.1\)"
    ):
        ink_points(images)


def test_ink_points_of_another_shape():
    with pytest.raises(ValueError, match=r"images must have shape \(B, 1, H, W\), got \(2, 3, 4, 4\)"):
        ink_points(torch.ones(2, 3, 4, 4))


def test_missing_scikit_learn_says_how_to_install(monkeypatch):
    monkeypatch.setattr("importlib.import_module", _no_module)
    with pytest.raises(ImportError, match=r"needs sklearn; install it with: pip install 'pointcoc\[train\]'"):
        digits("test")


def _no_module(name):
    package = name.partition(".")[0]
    raise ModuleNotFoundError(f"No module named '{package}'", name=package)
