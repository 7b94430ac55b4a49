"""What metrics.jsonl holds is what TensorBoard shows, also after a kill; other trackers receive no step twice."""

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker, register_tracker_class
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pointcoc.train import finish, fit


class Killed(BaseException):
    """What a kill is within one process."""


def kill_at(model: torch.nn.Module, number: int) -> None:
    """Raise before a forward pass of training, counted from 1."""
    calls = iter(range(1, 1000))

    def act(module: torch.nn.Module, _: object) -> None:
        if module.training and next(calls) == number:
            raise Killed

    model.register_forward_pre_hook(act)


def in_tensorboard(out: Path) -> dict[str, list[tuple[int, float]]]:
    log = EventAccumulator(str(out / "trackers" / "pointcoc"), size_guidance={"scalars": 0}, purge_orphaned_data=False)
    log.Reload()
    return {tag: [(event.step, event.value) for event in log.Scalars(tag)] for tag in log.Tags()["scalars"]}


def in_metrics(out: Path) -> dict[str, list[tuple[int, float]]]:
    values: dict[str, list[tuple[int, float]]] = {}
    for line in (out / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        split, step, _ = record.pop("split"), record.pop("update"), record.pop("time")
        for name, value in record.items():
            values.setdefault(f"{split}/{name}", []).append((step, pytest.approx(float(value), rel=1e-6)))
    return values


class Memory(GeneralTracker):
    """A tracker that keeps what it receives, over all runs of a test."""

    name = "memory"
    requires_logging_directory = False
    lines: ClassVar[list[tuple[int, dict[str, Any]]]] = []
    configuration: ClassVar[dict[str, Any]] = {}

    def __init__(self, run_name: str) -> None:
        super().__init__()
        assert run_name == "pointcoc"

    @property
    def tracker(self) -> object:
        return self.lines

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.configuration.update(values)

    def log(self, values: dict[str, Any], step: int | None = None, **_: object) -> None:
        assert step is not None
        self.lines.append((step, values))


@pytest.fixture
def memory() -> Any:
    register_tracker_class(Memory)
    yield Memory
    del LOGGER_TYPE_TO_CLASS["memory"]
    Memory.lines.clear()
    Memory.configuration.clear()


def test_tensorboard_shows_what_metrics_hold(tiny, train_loader, val_loader, settings) -> None:
    run, model = settings(trackers=("auto",), log_every=1), tiny()
    result = fit(model, train_loader, val_loader, run)
    scores = finish(model, val_loader, result, run)
    shown = in_tensorboard(run.out)
    assert shown == in_metrics(run.out)
    assert [step for step, _ in shown["update/loss"]] == list(range(1, 10))
    assert [step for step, _ in shown["val/accuracy"]] == [3, 6, 9]
    assert shown["test/accuracy"] == [(9, pytest.approx(scores["accuracy"]))]


@pytest.mark.parametrize("number", [2, 6])
def test_a_kill_leaves_no_step_twice(tiny, train_loader, val_loader, settings, memory, number: int) -> None:
    run = settings(trackers=("tensorboard", "memory"), log_every=1, resume="auto")
    model = tiny()
    kill_at(model, number)
    with pytest.raises(Killed):
        fit(model, train_loader, val_loader, run)
    assert [step for step, _ in in_tensorboard(run.out)["update/loss"]] == list(range(1, number))
    fit(tiny(), train_loader, val_loader, run)
    shown = in_tensorboard(run.out)
    assert shown == in_metrics(run.out)
    assert [step for step, _ in shown["update/loss"]] == list(range(1, 10))
    losses = [(step, values["update/loss"]) for step, values in memory.lines if "update/loss" in values]
    assert losses == [(step, pytest.approx(loss)) for step, loss in shown["update/loss"]]
    assert [step for step, values in memory.lines if "val/loss" in values] == [3, 6, 9]
    assert (memory.configuration["lr"], memory.configuration["batch_size"]) == (0.01, 64)


def test_a_line_keeps_the_time_at_which_it_was_written(tiny, train_loader, settings) -> None:
    run = settings(trackers=("tensorboard",), epochs=1, log_every=1)
    fit(tiny(), train_loader, None, run)
    path = run.out / "metrics.jsonl"
    records = [{**json.loads(line), "time": 1e9 + n} for n, line in enumerate(path.read_text().splitlines())]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    fit(tiny(), train_loader, None, settings(trackers=("tensorboard",), epochs=1, log_every=1, resume="must"))
    log = EventAccumulator(str(run.out / "trackers" / "pointcoc"))
    log.Reload()
    assert [event.wall_time for event in log.Scalars("update/loss")] == [1e9, 1e9 + 1, 1e9 + 2]


def test_none_leaves_no_folder_and_a_new_run_no_old_log(tiny, train_loader, settings) -> None:
    fit(tiny(), train_loader, None, settings(epochs=1))
    assert not (settings().out / "trackers").exists()
    fit(tiny(), train_loader, None, settings(epochs=2, trackers=("tensorboard",), overwrite=True))
    fit(tiny(), train_loader, None, settings(epochs=1, trackers=("tensorboard",), overwrite=True))
    assert in_tensorboard(settings().out)["train/epoch"] == [(3, 1.0)]


def test_a_missing_package_is_said_before_anything_is_written(tiny, train_loader, settings, monkeypatch) -> None:
    monkeypatch.setattr("pointcoc.train.trackers.get_available_trackers", list)
    with pytest.raises(ImportError, match="trackers has wandb, which needs the package wandb"):
        fit(tiny(), train_loader, None, settings(trackers=("wandb",)))
    assert not settings().out.exists()
