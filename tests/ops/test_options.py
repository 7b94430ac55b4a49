"""Options of the cluster operation are checked when they are made."""

from __future__ import annotations

import pytest

from pointcoc import ClusterOptions


def test_the_official_options() -> None:
    options = ClusterOptions()
    assert (options.normalizer, options.assignment, options.iterations) == ("similarity", "hard", 1)
    assert options == ClusterOptions(normalizer="similarity", assignment="hard", iterations=1)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"normalizer": "sum"}, "unknown normalizer 'sum'; choose from similarity, count"),
        ({"assignment": "firm"}, "unknown assignment 'firm'; choose from hard, soft"),
        ({"iterations": 0}, "iterations must be an integer of at least 1, got 0"),
        ({"iterations": 1.5}, "iterations must be an integer of at least 1, got 1.5"),
        ({"iterations": "2"}, "iterations must be an integer of at least 1, got '2'"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(fields: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ClusterOptions(**fields)


def test_options_are_frozen_and_named() -> None:
    with pytest.raises(AttributeError):
        ClusterOptions().iterations = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        ClusterOptions("count")  # type: ignore[misc]
    with pytest.raises(TypeError, match="iteration"):
        ClusterOptions(iteration=2)  # type: ignore[call-arg]
