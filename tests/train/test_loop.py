"""The loop learns, chooses on the validation part, resumes bit by bit, and stops with sentences."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from pointcoc.train import evaluate, fit, load_weights
from pointcoc.train.loop import finish


def records(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def loader_of(images: torch.Tensor, labels: torch.Tensor, batch_size: int = 6) -> DataLoader:
    return DataLoader(TensorDataset(images, labels), batch_size=batch_size)


def test_it_learns_and_leaves_the_best_weights(tiny, train_loader, val_loader, settings) -> None:
    model = tiny()
    model.eval()
    before = evaluate(model, val_loader)
    result = fit(model, train_loader, val_loader, settings(epochs=12, lr=0.05))
    after = evaluate(model, val_loader)
    assert after["accuracy"] > 0.9 > before["accuracy"]
    assert result.best == pytest.approx(after)
    assert (result.epochs, result.out) == (12, settings().out)
    best = tiny()
    assert load_weights(best, result.out)["epoch"] == result.best_epoch
    assert same_weights(best, model)


def test_the_best_epoch_has_the_highest_accuracy_then_the_lowest_loss(
    tiny, train_loader, val_loader, settings, monkeypatch
) -> None:
    scripted = iter([(0.5, 1.0), (0.7, 0.9), (0.7, 0.8), (0.7, 0.85), (0.6, 0.1)])

    def measure(*_: object) -> dict[str, float]:
        accuracy, loss = next(scripted)
        return {"loss": loss, "accuracy": accuracy, "mean_class_accuracy": accuracy}

    monkeypatch.setattr("pointcoc.train.loop._measure", measure)
    result = fit(tiny(), train_loader, val_loader, settings(epochs=5))
    assert (result.best_epoch, result.best) == (3, {"loss": 0.8, "accuracy": 0.7, "mean_class_accuracy": 0.7})
    assert [r["is_best"] for r in records(result.out) if r["split"] == "val"] == [True, True, True, False, False]


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_a_callback_sees_the_kept_weights_of_each_epoch(tiny, train_loader, val_loader, settings, ema) -> None:
    model, seen = tiny(), []

    def on_epoch(kept: torch.nn.Module, epoch: int) -> None:
        assert not kept.training
        assert (kept is model) == (ema == 0)
        assert (settings().out / f"epoch-{epoch:04d}").exists()  # the epoch is safe before anything else happens
        torch.rand(3)  # what it draws changes nothing
        seen.append((epoch, evaluate(kept, val_loader)["loss"]))

    result = fit(model, train_loader, val_loader, settings(ema=ema), on_epoch)
    written = [(r["epoch"], r["loss"]) for r in records(result.out) if r["split"] == "val"]
    assert [epoch for epoch, _ in seen] == [1, 2, 3]
    assert dict(seen) == pytest.approx(dict(written))
    plain = tiny()
    fit(plain, train_loader, val_loader, settings(ema=ema, overwrite=True))
    assert same_weights(plain, model)


def test_without_a_validation_part_the_last_epoch_is_kept(tiny, train_loader, settings) -> None:
    result = fit(tiny(), train_loader, None, settings())
    assert (result.best_epoch, result.best) == (3, None)


def test_metrics_are_written_as_they_come(tiny, train_loader, val_loader, settings) -> None:
    model = tiny()
    run = settings(epochs=2)
    result = fit(model, train_loader, val_loader, run)
    finish(model, val_loader, result, run)
    lines = records(run.out)
    assert [(line["split"], line["epoch"]) for line in lines] == [
        ("update", 1),
        ("train", 1),
        ("val", 1),
        ("update", 2),
        ("update", 2),
        ("train", 2),
        ("val", 2),
        ("test", result.best_epoch),
    ]
    assert [line["update"] for line in lines if line["split"] == "update"] == [2, 4, 6]
    train = lines[1]
    assert set(train) >= {"loss", "accuracy", "mean_class_accuracy", "lr", "sets_per_second", "seconds"}
    assert train["lr"] > 0


@pytest.mark.parametrize(
    "options",
    [{}, {"ema": 0.9, "clip_grad": 0.5}, {"mixup": 0.8, "cutmix": 1.0, "label_smoothing": 0.1}, {"precision": "bf16"}],
    ids=["plain", "ema", "mixing", "bf16"],
)
def test_a_resumed_run_ends_with_the_same_bits(tiny, train_loader, val_loader, settings, tmp_path, options) -> None:
    whole, stopped = (settings(epochs=4, out=tmp_path / name, **options) for name in ("whole", "stopped"))
    uninterrupted = tiny()
    expected = fit(uninterrupted, train_loader, val_loader, whole)

    class Stop(Exception):
        pass

    def stop_in_the_middle_of_epoch_3(model: torch.nn.Module, inputs: object) -> None:
        model.calls = getattr(model, "calls", 0) + model.training
        if model.calls == 8:
            raise Stop

    interrupted = tiny()
    interrupted.register_forward_pre_hook(stop_in_the_middle_of_epoch_3)
    with pytest.raises(Stop):
        fit(interrupted, train_loader, val_loader, stopped)
    resumed = tiny()
    torch.nn.init.zeros_(resumed.first.weight)
    result = fit(resumed, train_loader, val_loader, replace(stopped, resume="must"))
    assert same_weights(resumed, uninterrupted)
    assert (result.best_epoch, result.best) == (expected.best_epoch, expected.best)
    varying = ("seconds", "sets_per_second", "data_share", "peak_memory", "time")
    assert [
        [{k: v for k, v in record.items() if k not in varying} for record in records(out)]
        for out in (whole.out, stopped.out)
    ].count([{k: v for k, v in record.items() if k not in varying} for record in records(whole.out)]) == 2
    state = [torch.load(out / "epoch-0004" / "state.pt", weights_only=True) for out in (whole.out, stopped.out)]
    torch.testing.assert_close(state[0]["optimizer"], state[1]["optimizer"], rtol=0, atol=0)
    assert state[0]["update"] == state[1]["update"] == 12


def test_a_finished_run_resumes_to_its_result_and_can_be_extended(tiny, train_loader, val_loader, settings) -> None:
    first = fit(tiny(), train_loader, val_loader, settings(epochs=2))
    again = fit(tiny(), train_loader, val_loader, settings(epochs=2, resume="must"))
    assert again == first
    longer = fit(tiny(), train_loader, val_loader, settings(epochs=3, resume="must"))
    assert longer.epochs == 3
    assert [r["epoch"] for r in records(first.out) if r["split"] == "val"] == [1, 2, 3]


def test_a_run_in_the_folder_is_not_overwritten_by_accident(tiny, train_loader, val_loader, settings) -> None:
    fit(tiny(), train_loader, val_loader, settings(epochs=2))
    kept = records(settings().out)
    with pytest.raises(ValueError, match=r"out must not hold a run"):
        fit(tiny(), train_loader, val_loader, settings(epochs=1))
    assert records(settings().out) == kept
    fit(tiny(), train_loader, val_loader, settings(epochs=1, overwrite=True))
    assert {record["epoch"] for record in records(settings().out)} == {1}
    assert not (settings().out / "epoch-0002").exists()


def test_resuming_with_another_setting_or_config_is_refused(tiny, train_loader, val_loader, settings) -> None:
    fit(tiny(), train_loader, val_loader, settings(epochs=1))
    with pytest.raises(ValueError, match=r"lr was 0\.01, is 0\.02"):
        fit(tiny(), train_loader, val_loader, settings(lr=0.02, resume="must"))
    with pytest.raises(ValueError, match="another preset or config: width is 8, expected 4"):
        fit(tiny(width=4), train_loader, val_loader, settings(resume="must"))
    assert [record["epoch"] for record in records(settings().out) if record["split"] == "train"] == [1]


@pytest.mark.parametrize("label", [3, -1])
def test_a_label_outside_the_classes_is_named(tiny, settings, label: int) -> None:
    bad = loader_of(torch.randn(6, 1, 4, 4), torch.tensor([0, 1, 2, 0, label, 0]))
    with pytest.raises(ValueError, match=rf"labels must be in \[0, 2\], got {label} at row 4 of a batch"):
        fit(tiny(), bad, None, settings())
    with pytest.raises(ValueError, match=rf"labels must be in \[0, 2\], got {label} at row 4 of a batch"):
        fit(tiny(), bad, None, settings(mixup=0.8, overwrite=True))
    with pytest.raises(ValueError, match=rf"labels must be in \[0, 2\], got {label} at row 4 of a batch"):
        evaluate(tiny(), bad)


def test_empty_loaders_are_named(tiny, val_loader, settings) -> None:
    empty = DataLoader(TensorDataset(torch.randn(2, 1, 4, 4), torch.zeros(2)), batch_size=3, drop_last=True)
    with pytest.raises(ValueError, match="train_loader must have at least one batch of 3 sets, got none"):
        fit(tiny(), empty, val_loader, settings())
    with pytest.raises(ValueError, match="loader must have at least one batch"):
        evaluate(tiny(), empty)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_the_model_comes_back_as_it_was(tiny, train_loader, val_loader, settings, precision: str) -> None:
    model = tiny()
    fit(model, train_loader, val_loader, settings(epochs=1, precision=precision))
    assert "forward" not in vars(model)
    assert "_original_forward" not in vars(model)
    assert model(torch.randn(2, 1, 4, 4)).dtype == torch.float32


def test_evaluation_leaves_weights_mode_and_random_states(tiny, val_loader) -> None:
    model = tiny().train()
    evaluate(model, val_loader)
    assert model.training
    assert same_weights(model, tiny())


def test_the_moving_average_is_what_is_kept(tiny, train_loader, val_loader, settings) -> None:
    model = tiny()
    result = fit(model, train_loader, val_loader, settings(epochs=2, ema=0.9))
    raw = tiny()
    load_weights(raw, result.out / "epoch-0002" / "model.safetensors")
    assert not same_weights(model, raw)
    assert result.best == pytest.approx(evaluate(model, val_loader))


def test_the_test_set_is_read_once_and_last(tiny, train_loader, val_loader, settings, capsys) -> None:
    class Watched(TensorDataset):
        reads = 0

        def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
            Watched.reads += 1
            return super().__getitem__(index)

    test = DataLoader(Watched(*val_loader.dataset.tensors), batch_size=4)
    run = settings(epochs=2)
    model = tiny()
    result = fit(model, train_loader, val_loader, run)
    assert Watched.reads == 0
    scores = finish(model, test, result, run)
    assert Watched.reads == len(test.dataset)
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"test accuracy {scores['accuracy']:.2%}")
