"""A point cloud as its file has it: positions in float64, the features of the file's points, and their classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from pointcoc.models.weights import FEATURES

STORED = ("color", "normal", "intensity", "return_number")
"""Features of `FEATURES` that files hold; the others are computed from positions."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Cloud:
    """A point cloud that was read from a file.

    Args:
        pos: coordinates as stored, in the units of the file, shape (N, 3), float64.
        features: per name of `STORED`, float32 of shape (N, 1) or (N, 3): "color" in [0, 1] whatever the type of the
            file, "normal", "intensity" (in [0, 1] where the file stores integers, else as stored), "return_number".
        label: class of each point as stored, shape (N,), int64; None if the file holds none.
        rows: row of the file of each point, shape (N,), int64, where points of the file were dropped; None if all of
            its points are here, in its order.
        remarks: a sentence for everything that was left out, dropped or repaired.
        path: the file; None if the cloud did not come from one.
    """

    pos: Tensor
    features: Mapping[str, Tensor] = field(default_factory=dict)
    label: Tensor | None = None
    rows: Tensor | None = None
    remarks: tuple[str, ...] = ()
    path: Path | None = None

    def __post_init__(self) -> None:
        assert self.pos.dtype == torch.float64 and self.pos.ndim == 2 and self.pos.shape[1] == 3
        for name, values in self.features.items():
            assert name in STORED and values.shape == (len(self.pos), FEATURES[name]), (name, values.shape)

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.pos)

    def to_data(self, **attributes: Any) -> Data:
        """Return a `Data` with `pos`, each feature under its name and, as `y`, the classes of the points if there are.

        Args:
            **attributes: further attributes, which replace those of the same name.
        """
        label = {} if self.label is None else {"y": self.label}
        return Data(**{"pos": self.pos, **self.features, **label, **attributes})
