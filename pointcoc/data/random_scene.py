"""Training views of scenes: points around a random one, turned, and scenes whose features are computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_geometric.data import Data

from pointcoc.checks import check_range
from pointcoc.data.cached import cached
from pointcoc.data.scene_input import SceneInput

FORMAT = 1
"""Rises when other numbers are computed: files of before are not read."""
IN_MEMORY = 2 * 2**30
"""Bytes of described scenes that are held in memory in each process that loads data, the latest ones."""
SETTINGS = ("spacing", "ground_radius", "num_neighbors")
"""Fields of a `CloudTransform` that what is computed depends on, besides the features themselves."""


class DescribedScenes(Dataset):
    """Scenes as `SceneInput.describe` returns them; what is computed from positions is kept.

    Args:
        scenes: data set of scenes, items with `pos`, `y` and stored features, such as `SceneFolder`.
        inputs: describes them.
        cache: folder that keeps what was computed, for positions and settings as they are; None keeps it in memory, 52
            bytes a point for heights and shapes, in each process that loads data.
        transform: maps a described scene to what the data set returns.
        visits: scene of each item, so that large scenes come more often; each once if it is not given.
    """

    def __init__(
        self,
        scenes: Any,
        inputs: SceneInput,
        *,
        cache: str | Path | None = None,
        transform: Callable[[Data], Data] | None = None,
        visits: Sequence[int] | None = None,
    ) -> None:
        self.scenes = scenes
        self.inputs = inputs
        self.cache = None if cache is None else Path(cache).expanduser()
        self.transform = transform
        self.visits = range(len(scenes)) if visits is None else visits
        self._kept: dict[int, Tensor] = {}
        self._described: dict[int, Data] = {}

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.visits)

    def source(self, index: int) -> str:
        """Return the file or folder of a scene, for messages."""
        return self.scenes.source(self.visits[index])

    def __getitem__(self, index: int) -> Data:
        """Return a scene."""
        described = self._describe(self.visits[index])
        return described if self.transform is None else self.transform(described)

    def _describe(self, number: int) -> Data:
        """Describe a scene, or take it from the latest ones: a view costs a small part of reading its scene."""
        if number in self._described:
            return self._described[number]
        scene = self.scenes[number]
        described = self.inputs.describe(scene, self._computed(number, scene))
        self._described[number] = described
        while len(self._described) > 1 and sum(map(_num_bytes, self._described.values())) > IN_MEMORY:
            del self._described[next(iter(self._described))]  # the one that came first
        return described

    def compute(self) -> None:
        """Compute and keep what is computed of every scene, so that a run whose time is measured starts with it."""
        for number in sorted(set(self.visits)):
            self._computed(number, self.scenes[number])

    def _computed(self, index: int, scene: Data) -> Tensor:
        if index in self._kept:
            return self._kept[index]
        pos = self.inputs.upright(scene.pos.double())
        if self.cache is None:
            return self._kept.setdefault(index, self.inputs.compute(pos))
        facts = {
            "format": FORMAT,
            "positions": sha256(pos.contiguous().numpy().tobytes()).hexdigest(),
            **self._settings(),
        }
        parse = partial(_plain, self.inputs, pos)
        return torch.from_numpy(cached(self.cache, self.scenes.source(index), (), facts, parse)["computed"])

    def _settings(self) -> dict[str, Any]:
        one = self.inputs.transform
        names = [name for name in ("height", "shape") if name in one.features]
        return {"features": names, **{name: getattr(one, name) for name in SETTINGS}}


def _num_bytes(scene: Data) -> int:
    return sum(value.nbytes for value in scene.to_dict().values() if isinstance(value, Tensor))


def _plain(inputs: SceneInput, pos: Tensor) -> dict[str, np.ndarray]:
    return {"computed": inputs.compute(pos).numpy()}


class RandomScene:
    """Training view of a described scene: the points around a random one, turned about the up axis and scaled.

    Args:
        inputs: makes views; `view_points` of its transform says how many points are kept, the nearest by horizontal
            distance.
        turn: turn by any angle.
        scale: lowest and highest factor of the size.
        drop_color: probability to set all colors of a view to 0.

    Raises:
        ValueError: if a value is not allowed.
    """

    def __init__(
        self,
        inputs: SceneInput,
        turn: bool = True,
        scale: tuple[float, float] = (0.9, 1.1),
        drop_color: float = 0.2,
    ) -> None:
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f"scale must be two positive factors, the lower first, got {scale}")
        check_range("drop_color", drop_color, 0, 1)
        self.inputs = inputs
        self.turn = turn
        self.scale = scale
        self.drop_color = drop_color

    def __call__(self, scene: Data) -> Data:
        """Return a view of a scene."""
        view = self.inputs.view(scene, self._choose(scene.pos), self._matrix())
        if torch.rand(()) < self.drop_color and "color" in self.inputs.columns:
            view.x[:, self.inputs.columns["color"]] = 0
        return view

    def _choose(self, pos: Tensor) -> Tensor:
        num = self.inputs.view_points
        if len(pos) <= num:
            return torch.arange(len(pos))
        distance = (pos[:, :2] - pos[torch.randint(len(pos), ()), :2]).square().sum(1)
        return distance.topk(num, largest=False).indices

    def _matrix(self) -> Tensor:
        low, high = self.scale
        factor = low + (high - low) * torch.rand(())
        angle = 2 * torch.pi * torch.rand(()) if self.turn else torch.zeros(())
        cos, sin = angle.cos(), angle.sin()
        return factor * torch.tensor([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
