"""Settings name the field, the value and what is allowed; every field has its help."""

import math
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pytest

from pointcoc.train import Settings


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("epochs", 0, "epochs must be at least 1, got 0"),
        ("batch_size", 0, "batch_size must be at least 1, got 0"),
        ("lr", 0.0, "lr must be positive and finite, got 0.0"),
        ("lr", math.nan, "lr must be positive and finite, got nan"),
        ("lr", math.inf, "lr must be positive and finite, got inf"),
        ("min_lr", -1.0, "min_lr must be at least 0, got -1.0"),
        ("min_lr", 1.0, r"min_lr must be at most lr \(0.001\), got 1"),
        ("warmup_epochs", 101, r"warmup_epochs must be at most epochs \(100\), got 101"),
        ("warmup_updates", -1, "warmup_updates must be at least 0, got -1"),
        ("warmup_lr", 1.0, r"warmup_lr must be at most lr \(0.001\), got 1"),
        ("warmup_lr", -1.0, "warmup_lr must be at least 0, got -1.0"),
        ("cooldown_epochs", -1, "cooldown_epochs must be at least 0, got -1"),
        ("lr_batch_size", -1, "lr_batch_size must be at least 0, got -1"),
        ("lr_batch_size", 64_000, r"min_lr must be at most lr x batch_size / 64000 \(1e-06\), got 1e-05"),
        ("label_smoothing", 1.0, "label_smoothing must be at least 0 and below 1, got 1.0"),
        ("ema", 1.0, "ema must be at least 0 and below 1, got 1.0"),
        ("val_fraction", -0.1, "val_fraction must be at least 0 and below 1, got -0.1"),
        ("precision", "fp8", "precision must be 'no', 'bf16' or 'fp16', got 'fp8'"),
        ("workers", -1, "workers must be at least 0, got -1"),
        ("accumulate", 0, "accumulate must be at least 1, got 0"),
        ("accumulate", 5, r"batch_size must be a multiple of accumulate \(5\).* got 64"),
        ("save_every", -1, "save_every must be at least 0, got -1"),
        ("save_epochs", 0, "save_epochs must be at least 1, got 0"),
        ("keep", 0, "keep must be at least 1, got 0"),
        ("max_bad", -1, "max_bad must be at least 0, got -1"),
        ("resume", True, "resume must be 'no', 'auto' or 'must', got True"),
        ("log_every", 0, "log_every must be at least 1, got 0"),
    ],
)
def test_a_value_outside_its_range_is_named(field: str, value: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        replace(Settings(), **{field: value})


def test_mixing_needs_an_even_batch() -> None:
    with pytest.raises(ValueError, match="batch_size must be even for mixup and cutmix, got 7"):
        Settings(batch_size=7, cutmix=1.0)
    assert Settings(batch_size=8, mixup=0.8).is_mixing
    assert not Settings(batch_size=7).is_mixing


def test_resume_and_overwrite_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="give one of the two"):
        Settings(resume="auto", overwrite=True)


def test_smoke_shrinks_and_keeps_the_type() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Recipe(Settings):
        size: int = 32

    small = Recipe(smoke=True, epochs=300, batch_size=1024, warmup_epochs=20, workers=8, size=64).shrink()
    assert isinstance(small, Recipe)
    assert (small.epochs, small.batch_size, small.warmup_epochs, small.workers, small.size) == (2, 16, 0, 0, 64)
    assert Recipe(epochs=300).shrink().epochs == 300


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Settings().lr = 1.0  # type: ignore[misc]


def test_every_field_has_a_help_text() -> None:
    source = Path(__import__("pointcoc.train.settings", fromlist=["x"]).__file__).read_text().splitlines()
    for field in fields(Settings):
        line = next(number for number, text in enumerate(source) if text.startswith(f"    {field.name}: "))
        assert source[line + 1].strip().startswith('"""'), field.name
