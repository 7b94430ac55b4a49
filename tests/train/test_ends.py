"""A run ends after its updates or its minutes, and the learning rate follows formulas by hand."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pointcoc.train import Settings, checkpoint, fit
from pointcoc.train.failures import save_batch
from pointcoc.train.optimization import make_scheduler


def records(out: Path, split: str) -> list[dict]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["split"] == split]


def rates(settings: Settings, updates_per_epoch: int, times: list[float]) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=settings.lr)
    scheduler, found = make_scheduler(optimizer, updates_per_epoch, settings), []
    for time in times:
        scheduler.step_update(time)
        found.append(optimizer.param_groups[0]["lr"])
    return found


def test_poly_falls_by_the_power_of_what_is_left() -> None:
    settings = Settings(schedule="poly", updates=100, warmup_epochs=0, lr=0.1, min_lr=0.01)
    expected = [0.01 + 0.09 * (1 - time / 100) ** 0.9 for time in (0, 1, 30, 50.5, 99)] + [0.01]
    assert rates(settings, 7, [0, 1, 30, 50.5, 99, 100]) == pytest.approx(expected)


def test_steps_are_tenths_after_two_thirds_and_eleven_twelfths() -> None:
    settings = Settings(schedule="steps", epochs=12, warmup_epochs=0.5, warmup_lr=0.0, lr=0.1)
    times = [0, 2, 5, 79, 80, 109, 110, 119]
    assert rates(settings, 10, times) == pytest.approx([0, 0.04, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_a_cosine_over_updates() -> None:
    settings = Settings(updates=50, warmup_epochs=0, lr=0.1, min_lr=0.0)
    expected = [0.05 * (1 + math.cos(math.pi * time / 50)) for time in (0, 20, 49)]
    assert rates(settings, 7, [0, 20, 49]) == pytest.approx(expected)


@pytest.mark.parametrize(("updates", "epochs"), [(5, 2), (6, 2), (2, 1)])
def test_a_run_ends_after_its_updates(tiny, train_loader, val_loader, settings, updates: int, epochs: int) -> None:
    run = settings(updates=updates, epochs=1, schedule="poly", warmup_epochs=0, min_lr=0.0, log_every=1)
    result = fit(tiny(), train_loader, val_loader, run)
    assert (result.updates, result.epochs) == (updates, epochs)
    assert [line["lr"] for line in records(run.out, "update")] == pytest.approx(
        [0.01 * (1 - done / updates) ** 0.9 for done in range(updates)]
    )
    assert [line["epoch"] for line in records(run.out, "val")] == list(range(1, epochs + 1))
    before = (run.out / "metrics.jsonl").read_text()
    assert fit(tiny(), train_loader, val_loader, replace(run, resume="must")) == result
    assert (run.out / "metrics.jsonl").read_text() == before


def test_a_run_that_gets_more_updates_goes_on_within_the_epoch(tiny, train_loader, settings) -> None:
    fit(tiny(), train_loader, None, settings(updates=5))
    result = fit(tiny(), train_loader, None, settings(updates=6, resume="must"))
    assert (result.updates, result.epochs) == (6, 2)
    assert [line["epoch"] for line in records(result.out, "train")] == [1, 2]


def test_a_run_by_the_clock_follows_the_share_of_the_time(tiny, train_loader, val_loader, settings) -> None:
    run = settings(minutes=0.01, schedule="poly", warmup_epochs=0, min_lr=0.0, log_every=1, resume="auto")
    result = fit(tiny(), train_loader, val_loader, run)
    state = checkpoint.read_state(checkpoint.last_checkpoint(run.out))
    assert 0.6 <= state["trained"] < 3
    found = [line["lr"] for line in records(run.out, "update")]
    assert found[0] == 0.01
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.005
    assert fit(tiny(), train_loader, val_loader, run).updates == result.updates


def test_a_cool_down_needs_epochs() -> None:
    with pytest.raises(ValueError, match="cooldown_epochs must be 0 with updates or minutes, got 2"):
        Settings(updates=3, cooldown_epochs=2)
    for name in ("updates", "minutes"):
        with pytest.raises(ValueError, match=f"{name} must be at least 0, got -1"):
            Settings(**{name: -1})


def test_a_batch_of_any_structure_is_read_back(tmp_path: Path) -> None:
    save_batch(tmp_path / "b.pt", [torch.ones(2), torch.zeros(3)], [{"boxes": torch.ones(1, 4)}], sources=["a.png"])
    save_batch(tmp_path / "c.pt", (torch.ones(2), torch.tensor([1])), torch.tensor([3]))
    read = torch.load(tmp_path / "b.pt", weights_only=True)
    assert torch.equal(read["inputs"][1], torch.zeros(3))
    assert torch.equal(read["labels"][0]["boxes"], torch.ones(1, 4))
    assert torch.load(tmp_path / "c.pt", weights_only=True)["inputs"][1].tolist() == [1]
