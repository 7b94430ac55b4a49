"""Options of the cluster operation, shared by all operators."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields

from pointcoc.checks import check_choice, check_count

NORMALIZERS = ("similarity", "count")
ASSIGNMENTS = ("hard", "soft")


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """What an operator computes. The defaults are the published equations.

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


DEFAULTS = {field.name: field.default for field in fields(ClusterOptions)}


def why_not_options(options: ClusterOptions, computed: Collection[str]) -> str | None:
    """Return the first option that an operator does not compute, as a sentence, or None.

    An option that an operator does not list must have its default, so a new one is refused until it is listed.

    Args:
        options: what is asked for.
        computed: names of the options of which the operator computes every value.
    """
    for name, default in DEFAULTS.items():
        value = getattr(options, name)
        if name not in computed and value != default:
            return f"{name} must be {default!r}, got {value!r}"
    return None
