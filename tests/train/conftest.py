"""A network and data small enough to train in a blink: any module with `num_classes` trains."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from pointcoc.train import Settings


@dataclass(frozen=True, kw_only=True)
class TinyConfig:
    num_classes: int = 3
    width: int = 8
    drop_path: float = 0.0


class Tiny(nn.Module):
    """Linear layers with a norm, dropout and a parameter of one dimension."""

    def __init__(self, **fields: Any) -> None:
        super().__init__()
        self.config = TinyConfig(**fields)
        self.first = nn.Linear(16, self.config.width)
        self.norm = nn.LayerNorm(self.config.width)
        self.drop = nn.Dropout(0.1)
        self.alpha = nn.Parameter(torch.ones(1))
        self.head = nn.Linear(self.config.width, self.config.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.drop(self.alpha * self.norm(self.first(images.flatten(1)))).relu())


class Stripes(TensorDataset):
    """Noisy 4 x 4 images whose class is the bright row; items are augmented with noise of the global generator."""

    def __init__(self, num_images: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.arange(num_images) % 3
        images = torch.randn(num_images, 1, 4, 4, generator=generator) * 0.3
        images[torch.arange(num_images), 0, self.labels] += 1.0
        super().__init__(images, self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, label = super().__getitem__(index)
        return image + 0.1 * torch.randn_like(image), label


@pytest.fixture(autouse=True)
def no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture takes longer than a run of these tests; test_curves.py and the examples draw it."""
    monkeypatch.setattr("pointcoc.train.loop.save_curves", lambda out, headline: out)


@pytest.fixture
def tiny() -> Callable[..., Tiny]:
    """Make the network, with the same weights every time."""

    def make(**fields: Any) -> Tiny:
        torch.manual_seed(0)
        return Tiny(**fields)

    return make


@pytest.fixture
def train_loader() -> DataLoader:
    return DataLoader(Stripes(36, seed=0), batch_size=12, shuffle=True)


@pytest.fixture
def val_loader() -> DataLoader:
    return DataLoader(TensorDataset(*Stripes(18, seed=1).tensors), batch_size=6)


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    """Make settings of a short run in a folder of its own."""

    def make(**fields: Any) -> Settings:
        fast: dict[str, Any] = {"epochs": 3, "warmup_epochs": 1, "lr": 0.01, "log_every": 2, "out": tmp_path / "run"}
        fast["trackers"] = ("none",)
        return Settings(**{**fast, **fields})

    return make
