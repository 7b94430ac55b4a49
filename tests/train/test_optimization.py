"""The optimizer, the schedule and the blending of images that settings ask for."""

from itertools import pairwise

import pytest
import torch

from pointcoc.train import Settings
from pointcoc.train.optimization import blend, make_mix, make_optimizer, make_scheduler


def test_parameters_of_one_dimension_have_no_weight_decay(tiny) -> None:
    model = tiny()
    optimizer = make_optimizer(model, Settings(weight_decay=0.3))
    decayed = {id(p) for group in optimizer.param_groups if group["weight_decay"] == 0.3 for p in group["params"]}
    spared = {id(p) for group in optimizer.param_groups if group["weight_decay"] == 0.0 for p in group["params"]}
    for parameter in model.parameters():
        assert (id(parameter) in decayed) == (parameter.ndim > 1)
        assert (id(parameter) in spared) == (parameter.ndim <= 1)


def test_an_unknown_optimizer_gets_names_like_it(tiny) -> None:
    with pytest.raises(ValueError, match=r"unknown optimizer 'adamww'; did you mean adamw"):
        make_optimizer(tiny(), Settings(optimizer="adamww"))
    with pytest.raises(ValueError, match=r"unknown optimizer '#'; timm.optim.list_optimizers\(\) names them"):
        make_optimizer(tiny(), Settings(optimizer="#"))


def test_the_rate_rises_in_a_line_and_falls_in_a_cosine(tiny) -> None:
    settings = Settings(epochs=10, warmup_epochs=2, lr=1.0, min_lr=0.1)
    optimizer = make_optimizer(tiny(), settings)
    scheduler = make_scheduler(optimizer, 5, settings)
    rates = [optimizer.param_groups[0]["lr"]]
    for update in range(1, 51):
        scheduler.step_update(update)
        rates.append(optimizer.param_groups[-1]["lr"])
    assert rates[0] == pytest.approx(1e-6)
    assert rates[5] == pytest.approx(0.5, abs=1e-5)
    assert rates[25] == pytest.approx(0.55)  # half way down the cosine, which starts at update 0
    assert rates[50] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(max(rates[10:]))
    assert all(a > b for a, b in pairwise(rates[10:]))


def test_the_schedule_of_the_official_recipe_at_several_updates(tiny) -> None:
    """300 epochs of cosine, 10 at 1e-6; two updates an epoch of 512 images: half of 1e-3 is the peak."""
    settings = Settings(
        epochs=300, cooldown_epochs=10, warmup_epochs=5, batch_size=512, lr=1e-3, lr_batch_size=1024, min_lr=1e-6
    )
    optimizer = make_optimizer(tiny(), settings)
    scheduler = make_scheduler(optimizer, 2, settings)
    expected = {
        0: 1e-6,
        5: 1e-6 + 0.5 * (5e-4 - 1e-6),  # half way up
        150: 1e-6 + 0.5 * (5e-4 - 1e-6) * (1 + 0.5**0.5),  # cos(pi / 4)
        300: 0.5 * (5e-4 + 1e-6),
        400: 1e-6 + 0.25 * (5e-4 - 1e-6),  # cos(2 pi / 3) = -1/2
        600: 1e-6,
        601: 1e-6,
        619: 1e-6,  # of the last update
    }
    for update, rate in expected.items():
        scheduler.step_update(update)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([rate, rate], rel=1e-9), update


def test_a_warm_up_begins_where_settings_say(tiny) -> None:
    settings = Settings(epochs=4, warmup_epochs=2, warmup_lr=0.2, lr=1.0)
    optimizer = make_optimizer(tiny(), settings)
    scheduler = make_scheduler(optimizer, 2, settings)
    rates = [optimizer.param_groups[0]["lr"]]
    for update in (1, 2, 3):
        scheduler.step_update(update)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8])


def test_a_warm_up_may_count_updates(tiny) -> None:
    settings = Settings(epochs=1, warmup_epochs=1, warmup_updates=4, warmup_lr=0.2, lr=1.0)
    optimizer = make_optimizer(tiny(), settings)
    scheduler = make_scheduler(optimizer, 100, settings)
    rates = []
    for update in (0, 2, 3):
        scheduler.step_update(update)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.2, 0.6, 0.8])


def test_blending_gives_probabilities() -> None:
    mix = make_mix(4, Settings(mixup=1.0, cutmix=1.0, label_smoothing=0.1))
    images, targets = blend(mix, torch.randn(6, 3, 8, 8), torch.tensor([0, 1, 2, 3, 0, 1]))
    assert images.shape == (6, 3, 8, 8)
    assert targets.shape == (6, 4)
    torch.testing.assert_close(targets.sum(1), torch.ones(6))
    assert targets.min() >= 0.1 / 4 - 1e-6


def test_without_blending_nothing_changes() -> None:
    images, labels = torch.randn(3, 1, 2, 2), torch.tensor([0, 1, 2])
    assert make_mix(4, Settings()) is None
    assert blend(None, images, labels) == (images, labels)


def test_blending_needs_pairs_of_images() -> None:
    mix = make_mix(4, Settings(mixup=1.0))
    with pytest.raises(ValueError, match="mixup and cutmix need an even number of images in every batch, got 3"):
        blend(mix, torch.randn(3, 1, 2, 2), torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match="must be 0 unless the input is an image tensor, got dict"):
        blend(mix, {}, torch.tensor([0, 1]))
