"""Options of the cluster operation, shared by all backends."""

from __future__ import annotations

from dataclasses import dataclass

from pointcoc.checks import check_choice, check_count

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
        check_choice("normalizer", self.normalizer, NORMALIZERS)
        check_choice("assignment", self.assignment, ASSIGNMENTS)
        check_count("iterations", self.iterations)
