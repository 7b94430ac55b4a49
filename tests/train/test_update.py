"""Faults of a run, each with what it says and what it leaves on disk."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from damage import write_damaged
from torch.utils.data import DataLoader, Dataset, TensorDataset

from pointcoc.train import checkpoint, evaluate, fit


class Files(Dataset):
    """Images by name; some cannot be read."""

    def __init__(self, broken: tuple[int, ...]) -> None:
        self.broken = broken
        self.samples = [(f"photos/{number}.png", number % 3) for number in range(12)]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if index in self.broken:
            raise OSError("image file is truncated (3 bytes not processed)")
        return torch.full((1, 4, 4), float(index)), self.samples[index][1]


def not_finite_at(row: int) -> DataLoader:
    images = torch.randn(12, 1, 4, 4)
    images[row] = torch.inf
    return DataLoader(TensorDataset(images, torch.arange(12) % 3), batch_size=4)


def test_a_loss_that_is_not_finite_leaves_batch_and_checkpoint(tiny, settings) -> None:
    run = settings(save_every=1)
    with pytest.raises(FloatingPointError) as stop:
        fit(tiny(), not_finite_at(7), None, run)
    said = str(stop.value)
    last = run.out / "epoch-0000-update-00001"
    assert said.startswith("the loss is nan at update 2 (epoch 1, learning rate 0.003")
    assert f"the batch is in {run.out / 'bad-batch.pt'}; the last good checkpoint is {last}; a smaller --lr" in said
    batch = torch.load(run.out / "bad-batch.pt", weights_only=True)
    assert batch["inputs"].shape == (4, 1, 4, 4)
    assert batch["inputs"][3].isinf().all()
    assert batch["sources"] == ["item 4", "item 5", "item 6", "item 7"]
    assert (batch["labels"].tolist(), batch["update"]) == ([1, 2, 0, 1], 2)
    # The second of three updates of a warm-up of one epoch, a third of the way from 1e-6 to 0.01.
    assert batch["lr"] == pytest.approx(1e-6 + (0.01 - 1e-6) / 3)
    assert batch["what"] == said.partition(";")[0]
    model = tiny()
    checkpoint.load_checkpoint(last, model, None)
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())


def test_the_part_of_an_update_with_the_fault_is_the_one_written(tiny, settings) -> None:
    with pytest.raises(FloatingPointError, match="no checkpoint was written before"):
        fit(tiny(), not_finite_at(7), None, settings(accumulate=2))
    assert torch.load(settings().out / "bad-batch.pt", weights_only=True)["sources"] == ["item 5", "item 7"]


def test_weights_that_are_not_finite_are_not_saved(tiny, settings) -> None:
    """The loss is finite, the gradient is not: the update spoils the weights, and the checkpoint before it stays."""

    class Spoil(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
            return gradient * torch.nan

    model = tiny()
    calls = iter(range(100))
    model.head.register_forward_hook(lambda module, args, out: Spoil.apply(out) if next(calls) == 1 else out)
    data = TensorDataset(torch.randn(12, 1, 4, 4), torch.arange(12) % 3)
    run = settings(save_every=1)
    with pytest.raises(FloatingPointError, match=r"weights are not finite after update 2 .*update-00001; a smaller"):
        fit(model, DataLoader(data, batch_size=4), None, run)
    assert checkpoint.last_checkpoint(run.out) == run.out / "epoch-0000-update-00001"


def test_out_of_memory_suggests_what_helps(tiny, train_loader, settings) -> None:
    model = tiny()

    def no_memory(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    model.register_forward_pre_hook(no_memory)
    with pytest.raises(MemoryError, match=r"out of memory with 12 sets at once.*--accumulate 2 .*--recompute"):
        fit(model, train_loader, None, settings())


def test_out_of_memory_leaves_the_last_checkpoint_whole(tiny, train_loader, settings) -> None:
    model, calls = tiny(), iter(range(1, 100))

    def no_memory(*_: object) -> None:
        if next(calls) == 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    model.register_forward_pre_hook(no_memory)
    run = settings(save_every=1)
    with pytest.raises(MemoryError, match="out of memory with 12 sets at once"):
        fit(model, train_loader, None, run)
    last = checkpoint.last_checkpoint(run.out)
    assert last == run.out / "epoch-0001-update-00004"
    assert not list(run.out.glob("*.temporary"))
    checkpoint.load_checkpoint(last, tiny(), None)


class Rows(Dataset):
    """Rows of an HDF5 file, read one by one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __len__(self) -> int:
        return 12

    def source(self, index: int) -> str:
        return f"{self.path} row {index}"

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        with h5py.File(self.path, "r") as file:
            return torch.from_numpy(file["data"][index]), int(file["label"][index])


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    """Twelve images in a real file whose row 6 is damaged."""
    data = np.random.default_rng(0).normal(size=(12, 1, 4, 4)).astype(np.float32)
    write_damaged(tmp_path / "train0.h5", data, np.arange(12) % 3, rows=(6,))
    return Rows(tmp_path / "train0.h5")


def test_a_damaged_row_is_named_by_file_and_row(tiny, settings, rows: Rows) -> None:
    run = settings(save_every=1)
    with pytest.raises(ValueError) as stop:
        fit(tiny(), DataLoader(rows, batch_size=4), None, run)
    listed = (run.out / "bad_items.txt").read_text()
    assert listed.startswith(f"{rows.path} row 6: Can't synchronously read data (")
    said = f"1 training items cannot be read and max_bad is 0: {listed.strip()}; all are listed in"
    assert str(stop.value).startswith(said)
    last = checkpoint.last_checkpoint(run.out)
    assert last == run.out / "epoch-0000-update-00001"
    checkpoint.load_checkpoint(last, tiny(), None)
    result = fit(tiny(), DataLoader(rows, batch_size=4), None, settings(save_every=1, resume="must", max_bad=1))
    assert (result.epochs, result.updates) == (3, 9)
    assert (run.out / "bad_items.txt").read_text() == listed


def test_another_error_of_the_network_keeps_its_name(tiny, settings) -> None:
    wrong = DataLoader(TensorDataset(torch.randn(4, 1, 5, 5), torch.zeros(4, dtype=torch.int64)), batch_size=4)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        fit(tiny(), wrong, None, settings())


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_item_ends_the_run_with_its_file(tiny, settings, workers: int) -> None:
    loader = DataLoader(Files(broken=(5,)), batch_size=4, num_workers=workers)
    with pytest.raises(ValueError) as stop:
        fit(tiny(), loader, None, settings())
    listed = settings().out / "bad_items.txt"
    assert str(stop.value) == (
        "1 training items cannot be read and max_bad is 0: photos/5.png: image file is truncated (3 bytes not "
        f"processed); all are listed in {listed}; --max-bad 2 would let others stand in for them"
    )
    assert listed.read_text() == "photos/5.png: image file is truncated (3 bytes not processed)\n"


def test_up_to_max_bad_items_are_left_out_and_reported(tiny, settings, capsys) -> None:
    loader = DataLoader(Files(broken=(5, 7)), batch_size=4, shuffle=True)
    result = fit(tiny(), loader, None, settings(max_bad=2))
    assert result.epochs == 3
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("left out, unreadable: ")]
    assert len(said) == 2
    listed = sorted((result.out / "bad_items.txt").read_text().splitlines())
    assert [line.partition(":")[0] for line in listed] == ["photos/5.png", "photos/7.png"]
    assert len(checkpoint.read_state(checkpoint.last_checkpoint(result.out))["bad"]) == 2


def test_one_more_than_max_bad_ends_the_run(tiny, settings) -> None:
    loader = DataLoader(Files(broken=(1, 5, 7)), batch_size=4)
    with pytest.raises(ValueError, match=r"3 training items cannot be read and max_bad is 2: photos/7\.png"):
        fit(tiny(), loader, None, settings(max_bad=2))
    assert len((settings().out / "bad_items.txt").read_text().splitlines()) == 3


def test_a_network_is_measured_on_all_items_or_not_at_all(tiny, train_loader, settings) -> None:
    loader = DataLoader(Files(broken=(5,)), batch_size=4)
    with pytest.raises(ValueError, match=r"measured on all: photos/5\.png: image file is truncated"):
        evaluate(tiny(), loader)
    with pytest.raises(ValueError, match=r"measured on all: photos/5\.png"):
        fit(tiny(), train_loader, loader, settings(max_bad=9))


@pytest.mark.parametrize("options", [{}, {"clip_grad": 0.1}, {"label_smoothing": 0.1, "ema": 0.9}])
def test_parts_of_an_update_add_up_to_it(tiny, settings, tmp_path: Path, options: dict) -> None:
    data = TensorDataset(torch.randn(20, 1, 4, 4).double(), torch.arange(20) % 3)
    losses = []
    for accumulate in (1, 3):
        model = tiny().double().requires_grad_()
        model.drop.p = 0.0
        run = settings(accumulate=accumulate, batch_size=12, log_every=1, out=tmp_path / str(accumulate), **options)
        fit(model, DataLoader(data, batch_size=7), None, run)  # the last update has 6 items
        losses.append(torch.tensor([tensor.sum() for tensor in model.state_dict().values()]))
    torch.testing.assert_close(*losses, rtol=0, atol=1e-12)
