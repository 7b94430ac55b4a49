"""The sentence of a failure names what helps, and what is in use already is not suggested."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from pointcoc.train.failures import not_finite, out_of_memory, save_batch


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_the_options_that_help_are_named(settings, error: BaseException) -> None:
    said = str(out_of_memory(error, settings(), 64))
    assert said == (
        "out of memory with 64 sets at once; what helps, the first first: --accumulate 2 (the same updates in smaller "
        "parts), --recompute, --precision bf16, a smaller --batch-size"
    )


def test_options_in_use_are_not_suggested(settings) -> None:
    said = str(out_of_memory(MemoryError(), settings(recompute=True, precision="bf16", accumulate=4), 16))
    assert "--accumulate 8" in said
    assert "--recompute" not in said
    assert "bf16" not in said
    assert "bf16" not in str(out_of_memory(MemoryError(), settings(precision="fp16"), 16))
    assert str(out_of_memory(MemoryError(), settings(recompute=True, precision="bf16"), 1)).endswith(
        "a smaller network"
    )


def test_another_error_stays_what_it_is(settings) -> None:
    assert out_of_memory(RuntimeError("shapes cannot be multiplied"), settings(), 64) is None


def test_the_last_good_checkpoint_is_named(settings) -> None:
    assert "no checkpoint was written before" in str(not_finite("the loss is nan", settings()))
    (settings().out / "epoch-0002").mkdir(parents=True)
    assert str(not_finite("the loss is nan", settings(), Path("b.pt"))).startswith(
        f"the loss is nan; the batch is in b.pt; the last good checkpoint is {settings().out / 'epoch-0002'}; a smaller"
    )


def test_a_batch_is_read_back_without_trust(tmp_path: Path) -> None:
    @dataclass
    class Points:
        x: torch.Tensor
        grid: tuple[int, int] | None

    save_batch(tmp_path / "batch.pt", Points(torch.ones(2), (1, 2)), torch.tensor([3]), update=5)
    read = torch.load(tmp_path / "batch.pt", weights_only=True)
    assert read["inputs"]["grid"] == (1, 2)
    assert torch.equal(read["inputs"]["x"], torch.ones(2))
    assert (read["labels"].tolist(), read["update"]) == ([3], 5)
