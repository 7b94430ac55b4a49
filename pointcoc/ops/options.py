"""Options of the cluster operation, shared by all backends."""

from __future__ import annotations

from dataclasses import dataclass

NORMALIZERS = ("similarity", "count")
ASSIGNMENTS = ("hard", "soft")


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """What a backend computes.

    Args:
        normalizer: "similarity" divides by 1 + sum of similarities; "count" by 1 + number of points (official weights
            before 2024).
        assignment: "hard", each point belongs to one center; "soft", to all.
        iterations: how often points are assigned; centers move between (dynamic centers). 1 is the official fixed
            center.

    Raises:
        ValueError: if a value is not allowed.
    """

    normalizer: str = "similarity"
    assignment: str = "hard"
    iterations: int = 1

    def __post_init__(self) -> None:
        if self.normalizer not in NORMALIZERS:
            raise ValueError(f"unknown normalizer {self.normalizer!r}; choose from {', '.join(NORMALIZERS)}")
        if self.assignment not in ASSIGNMENTS:
            raise ValueError(f"unknown assignment {self.assignment!r}; choose from {', '.join(ASSIGNMENTS)}")
        if not isinstance(self.iterations, int) or self.iterations < 1:
            raise ValueError(f"iterations must be an integer of at least 1, got {self.iterations!r}")
