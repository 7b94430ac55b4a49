"""A run continues with the bits of one never stopped; a signal saves it, a full disk spoils nothing."""

import errno
import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch.utils.data import DataLoader, IterableDataset

from pointcoc.train import Stopped, checkpoint, fit
from pointcoc.train.processes import make_accelerator


class Killed(BaseException):
    """What a kill is within one process: nothing runs after it."""


def at_forward(model: torch.nn.Module, number: int, act) -> None:
    """Call `act` before a forward pass of training, counted from 1."""
    calls = iter(range(1, 1000))
    model.register_forward_pre_hook(lambda module, _: act() if module.training and next(calls) == number else None)


def kill() -> None:
    raise Killed


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def lines(out: Path) -> list[dict]:
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [
        {name: value for name, value in record.items() if name in ("split", "epoch", "update", "loss", "lr", "is_best")}
        for record in records
    ]


def names(out: Path) -> list[str]:
    return [path.name for path in checkpoint.checkpoints(out)]


@pytest.mark.parametrize("number", [1, 2, 4, 6, 9])
def test_a_kill_at_any_update_changes_nothing(tiny, train_loader, val_loader, settings, tmp_path, number: int) -> None:
    fields = {"save_every": 2, "log_every": 1, "ema": 0.9, "resume": "auto"}
    whole, killed = (settings(out=tmp_path / name, **fields) for name in ("whole", "killed"))
    expected = tiny()
    fit(expected, train_loader, val_loader, whole)
    model = tiny()
    at_forward(model, number, kill)
    with pytest.raises(Killed):
        fit(model, train_loader, val_loader, killed)
    model, other = tiny(), DataLoader(train_loader.dataset, batch_size=12, shuffle=True, num_workers=number % 2)
    fit(model, other, val_loader, killed)
    assert same_weights(model, expected)
    assert lines(killed.out) == lines(whole.out)
    last = [torch.load(out / "epoch-0003" / "state.pt", weights_only=True) for out in (whole.out, killed.out)]
    torch.testing.assert_close(last[0]["optimizer"], last[1]["optimizer"], rtol=0, atol=0)


@pytest.fixture
def scaled(monkeypatch) -> None:
    """The scaler of fp16, on a CPU, where accelerate has none: twice the scale after two updates without overflow."""

    def make(precision: str) -> Accelerator:
        accelerator = make_accelerator("no")
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2)
        return accelerator

    monkeypatch.setattr("pointcoc.train.run.make_accelerator", make)


def test_the_scaler_of_gradients_continues(tiny, train_loader, settings, tmp_path, scaled) -> None:
    whole, killed = (settings(out=tmp_path / name, resume="auto", clip_grad=0.5) for name in ("whole", "killed"))
    expected, model = tiny(), tiny()
    fit(expected, train_loader, None, whole)
    at_forward(model, 8, kill)
    with pytest.raises(Killed):
        fit(model, train_loader, None, killed)
    fit(model, train_loader, None, killed)
    states = [checkpoint.read_state(out / "epoch-0003")["scaler"] for out in (whole.out, killed.out)]
    assert (states[0]["scale"], states[0]["_growth_tracker"]) == (2.0**14, 1)  # nine updates
    assert states[1] == states[0]
    assert same_weights(model, expected)


def test_an_overflow_leaves_the_weights_and_halves_the_scale(tiny, train_loader, settings, scaled) -> None:
    model, seen = tiny(), []
    model.register_forward_pre_hook(lambda module, _: seen.append(module.first.weight.detach().clone()))
    model.first.weight.register_hook(lambda gradient: gradient * torch.inf if len(seen) == 2 else gradient)
    fit(model, train_loader, None, settings(epochs=1))
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(seen[1], seen[2])
    assert checkpoint.read_state(settings().out / "epoch-0001")["scaler"]["scale"] == 2.0**9


def test_the_last_checkpoints_are_kept(tiny, train_loader, val_loader, settings) -> None:
    fit(tiny(), train_loader, val_loader, settings(save_every=2, keep=3))
    assert names(settings().out) == ["epoch-0002", "epoch-0002-update-00008", "epoch-0003"]


@pytest.mark.parametrize("is_validated", [False, True])
def test_checkpoints_may_be_some_epochs_apart(tiny, train_loader, val_loader, settings, tmp_path, is_validated) -> None:
    each, apart, val = tiny(), tiny(), val_loader if is_validated else None
    fit(each, train_loader, val, settings(epochs=5, keep=9, out=tmp_path / "each"))
    run = settings(epochs=5, keep=9, save_epochs=2)
    result = fit(apart, train_loader, val, run)
    assert names(run.out) == ["epoch-0002", "epoch-0004", "epoch-0005"]
    assert same_weights(each, apart)
    assert result.best_epoch == 5 or is_validated
    expected = lines(run.out)
    assert expected == lines(tmp_path / "each")
    for name in ("epoch-0005", "epoch-0004"):  # as a kill in the fourth epoch leaves it, with a best file of later
        shutil.rmtree(run.out / name)
    again = tiny()
    assert fit(again, train_loader, val, replace(run, resume="must")).best_epoch == result.best_epoch
    assert same_weights(each, again)
    assert lines(run.out) == expected


def test_a_stopped_run_that_is_asked_for_no_more_leaves_its_last_weights(tiny, train_loader, settings) -> None:
    model, run = tiny(), settings(epochs=5, save_epochs=4)
    at_forward(model, 11, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Stopped, match="epoch-0003-update-00011"):
        fit(model, train_loader, None, run)
    assert not (run.out / checkpoint.BEST).exists()
    last = tiny()
    result = fit(last, train_loader, None, replace(run, epochs=3, resume="must"))
    assert result.best_epoch == result.epochs >= 3
    assert same_weights(last, model)


class Stream(IterableDataset):
    """Pairs that come in an order of their own; `short` promises more of them."""

    def __init__(self, pairs, short: bool = False) -> None:
        self.pairs, self.short = pairs, short

    def __iter__(self):
        return iter([self.pairs[index] for index in range(len(self.pairs))])

    def __len__(self) -> int:
        return len(self.pairs) + 12 * self.short


def test_a_stream_continues_with_the_same_readers(tiny, train_loader, settings) -> None:
    def loader(**options) -> DataLoader:
        return DataLoader(Stream(train_loader.dataset, options.pop("short", False)), batch_size=12, **options)

    fit(tiny(), loader(), None, settings(epochs=1))
    again = settings(epochs=2, resume="must")
    with pytest.raises(ValueError, match=r"processes x workers of a stream: 1 x 0, got 1 x 1"):
        fit(tiny(), loader(num_workers=1), None, again)
    with pytest.raises(ValueError, match=r"save_epochs must be 1 for a stream, which continues after .*, got 2"):
        fit(tiny(), loader(), None, replace(again, save_epochs=2))
    assert fit(tiny(), loader(), None, again).updates == 6
    with pytest.raises(ValueError, match="a stream ended after 3 of 4 updates of epoch 1"):
        fit(tiny(), loader(short=True), None, settings(overwrite=True))


def test_a_folder_with_the_best_model_alone_is_that_of_a_run(tiny, train_loader, val_loader, settings) -> None:
    run = settings(epochs=3, save_epochs=3)
    fit(tiny(), train_loader, val_loader, run)
    shutil.rmtree(run.out / "epoch-0003")
    with pytest.raises(ValueError, match=r"out must not hold a run, got .* with best: add --resume auto"):
        fit(tiny(), train_loader, val_loader, run)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_the_run_continues(tiny, train_loader, val_loader, settings, tmp_path, number: int) -> None:
    expected, model = tiny(), tiny()
    fit(expected, train_loader, val_loader, settings(out=tmp_path / "whole"))
    at_forward(model, 5, lambda: os.kill(os.getpid(), number))
    run = settings(resume="auto")
    with pytest.raises(Stopped, match=r"saved .*epoch-0001-update-00005; the same command with --resume auto") as stop:
        fit(model, train_loader, val_loader, run)
    assert (stop.value.number, stop.value.checkpoint) == (number, run.out / "epoch-0001-update-00005")
    model = tiny()
    fit(model, train_loader, val_loader, run)
    assert same_weights(model, expected)


def test_a_signal_during_validation_saves_the_whole_pass(tiny, train_loader, val_loader, settings, tmp_path) -> None:
    expected, model = tiny(), tiny()
    fit(expected, train_loader, val_loader, settings(out=tmp_path / "whole"))
    hook = model.register_forward_pre_hook(
        lambda module, _: None if module.training else os.kill(os.getpid(), signal.SIGTERM)
    )
    run = settings(resume="auto")
    with pytest.raises(Stopped, match="epoch-0000-update-00003"):
        fit(model, train_loader, val_loader, run)
    hook.remove()
    fit(model, train_loader, val_loader, run)
    assert same_weights(model, expected)
    assert lines(run.out) == lines(tmp_path / "whole")


def test_auto_begins_where_there_is_nothing(tiny, train_loader, val_loader, settings) -> None:
    assert fit(tiny(), train_loader, val_loader, settings(resume="auto")).epochs == 3


def test_a_cool_down_follows_the_epochs_and_survives_a_kill(tiny, train_loader, settings) -> None:
    run = settings(epochs=1, cooldown_epochs=2, min_lr=1e-4, log_every=1, resume="auto")
    model = tiny()
    at_forward(model, 8, kill)
    with pytest.raises(Killed):
        fit(model, train_loader, None, run)
    assert fit(tiny(), train_loader, None, run).epochs == 3
    rates = {line["update"]: line["lr"] for line in lines(run.out) if line["split"] == "update"}
    assert list(rates) == list(range(1, 10))
    assert [rates[update] for update in range(4, 10)] == pytest.approx([1e-4] * 6)


def test_other_data_are_refused(tiny, train_loader, val_loader, settings) -> None:
    fit(tiny(), train_loader, val_loader, settings())
    fewer = DataLoader(train_loader.dataset, batch_size=18, shuffle=True)
    with pytest.raises(ValueError, match=r"training data of the run in .*: 3 updates an epoch, got 2"):
        fit(tiny(), fewer, val_loader, settings(resume="must"))


@pytest.mark.parametrize("writer", ["safetensors", "torch"])
def test_a_full_disk_leaves_the_previous_checkpoint_whole(
    tiny, train_loader, val_loader, settings, tmp_path, monkeypatch, writer: str
) -> None:
    expected = tiny()
    fit(expected, train_loader, val_loader, settings(out=tmp_path / "whole"))
    calls = iter(range(100))
    is_weights = writer == "safetensors"
    target = "pointcoc.models.weights.folder.save_file" if is_weights else "pointcoc.train.checkpoint.torch.save"
    write = save_file if is_weights else torch.save

    def full(value: object, path: Path, **options: object) -> None:
        if "epoch-0002" in str(path) and next(calls) == 0:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        write(value, path, **options)

    run = settings(resume="auto")
    with monkeypatch.context() as patch:
        patch.setattr(target, full)
        with pytest.raises(
            OSError, match=r"epoch-0002 could not be written \(.*No space left.*epoch-0001, is whole: --r"
        ):
            fit(tiny(), train_loader, val_loader, run)
    assert names(run.out) == ["epoch-0001"]
    assert not list(run.out.glob("*.temporary"))
    model = tiny()
    fit(model, train_loader, val_loader, run)
    assert same_weights(model, expected)


def test_a_disk_that_really_takes_no_more(tiny, tmp_path) -> None:
    """The limit on the size of a file stands for a full disk: each library meets it in its own way."""
    resource = pytest.importorskip("resource")
    before = checkpoint.save_checkpoint(tmp_path, "epoch-0001", tiny(), None, {"epoch": 1})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size, state in ((500, {}), (100_000, {"big": torch.zeros(100_000)})):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            with pytest.raises(OSError, match=r"epoch-0002 could not be written .*epoch-0001, is whole"):
                checkpoint.save_checkpoint(tmp_path, "epoch-0002", tiny(), None, state)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert checkpoint.checkpoints(tmp_path) == [before]
    checkpoint.load_checkpoint(before, tiny(), None)


def test_recompute_and_compile_last_as_long_as_the_run(tiny, train_loader, settings, monkeypatch) -> None:
    with pytest.raises(ValueError, match="recompute needs a network with set_grad_checkpointing, got Tiny"):
        fit(tiny(), train_loader, None, settings(recompute=True))
    model, switched, compiled = tiny(), [], []
    model.set_grad_checkpointing = switched.append
    monkeypatch.setattr(type(model), "compile", lambda self: compiled.append(type(self).__name__))
    fit(model, train_loader, None, settings(recompute=True, compile=True, overwrite=True))
    assert (switched, compiled) == ([True, False], ["Tiny"])
    assert model._compiled_call_impl is None


def test_a_compiled_run_learns_the_same(tiny, train_loader, settings, monkeypatch, tmp_path) -> None:
    """With the backend that compiles nothing: what is tested is that the compiled call is the one that runs."""
    calls = []

    def backend(graph: torch.fx.GraphModule, inputs: list) -> torch.fx.GraphModule:
        calls.append(graph)
        return graph

    compile_model = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compile_model(self, backend=backend))
    models = tiny(), tiny()
    for model, compiles in zip(models, (False, True), strict=True):
        fit(model, train_loader, None, settings(compile=compiles, epochs=1, out=tmp_path / str(compiles)))
    assert calls
    assert same_weights(*models)
