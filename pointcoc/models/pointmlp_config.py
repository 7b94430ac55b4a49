"""The configuration and the presets of `PointMLPCoC`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pointcoc.models.config import check_positive, per_stage, replace_settings

PER_STAGE = ("depths", "group_depths", "dims", "strides", "neighbors")


@dataclass(frozen=True, kw_only=True)
class PointMLPConfig:
    """Settings of a `PointMLPCoC`; the defaults are those of the preset pointmlp_coc.

    Entries per stage are tuples of one length; one value stands for all stages.

    Args:
        num_classes: outputs of the classifier; 0 for none.
        in_channels: features of a point; 3 for its coordinates, as in the official network.
        embed_dim: channels of the points before the first stage.
        depths: blocks on the anchors per stage.
        group_depths: blocks in the groups of the anchors per stage.
        dims: channels of the anchors per stage.
        strides: points per anchor per stage; a set of n points has floor(n / stride) anchors.
        neighbors: nearest points in the group of an anchor per stage.
        hidden_dims: channels of the layers before the classifier.
        dropout: probability to drop a feature after each of these layers while training.

    Raises:
        ValueError: if a value is not allowed; the message names the field, what came and what is allowed.
    """

    kind: ClassVar[str] = "pointmlp_coc"

    num_classes: int = 15
    in_channels: int = 3
    embed_dim: int = 64
    depths: tuple[int, ...] = (2, 2, 2, 2)
    group_depths: tuple[int, ...] = (2, 2, 2, 2)
    dims: tuple[int, ...] = (128, 256, 512, 1024)
    strides: tuple[int, ...] = (2, 2, 2, 2)
    neighbors: tuple[int, ...] = (24, 24, 24, 24)
    hidden_dims: tuple[int, ...] = (512, 256)
    dropout: float = 0.5

    def __post_init__(self) -> None:
        if not isinstance(self.depths, Sequence) or len(self.depths) == 0:
            raise ValueError(f"depths must hold the blocks of each stage, such as (2, 2, 2, 2), got {self.depths!r}")
        for name in PER_STAGE:
            object.__setattr__(self, name, per_stage(name, getattr(self, name), self.num_stages))
        if not isinstance(self.hidden_dims, Sequence):
            raise ValueError(
                f"hidden_dims must hold the channels of each layer before the classifier, got {self.hidden_dims!r}"
            )
        object.__setattr__(self, "hidden_dims", tuple(self.hidden_dims))
        _check(self)

    @property
    def num_stages(self) -> int:
        """Number of stages, the length of `depths`."""
        return len(self.depths)

    @property
    def points_needed(self) -> tuple[int, ...]:
        """Fewest points of a set, for the neighbors of each stage, and for an anchor after the last."""
        return tuple(k * math.prod(self.strides[:s]) for s, k in enumerate((*self.neighbors, 1)))

    def replace(self, **overrides: Any) -> Self:
        """Return a copy with other values; one value for an entry per stage stands for all stages.

        Raises:
            ValueError: if a name is not a field.
        """
        return replace_settings(self, overrides)


def _check(config: PointMLPConfig) -> None:
    for name in (*PER_STAGE, "hidden_dims"):
        check_positive(name, getattr(config, name))
    check_positive("embed_dim", (config.embed_dim,))
    if config.num_classes < 0 or config.in_channels < 1:
        raise ValueError(
            "num_classes must be at least 0 and in_channels at least 1, got "
            f"{config.num_classes} and {config.in_channels}"
        )
    if not 0 <= config.dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {config.dropout}")


POINTMLP_PRESETS: dict[str, PointMLPConfig] = {"pointmlp_coc": PointMLPConfig()}
