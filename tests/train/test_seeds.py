"""What is drawn follows from the integers given, and nothing of it leaks out."""

import random

import numpy as np
import torch

from pointcoc.train.seeds import derived_seed, seed_generators, seeded


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_the_same_words_draw_the_same() -> None:
    seed_generators(1, 2, 3)
    first = draw()
    seed_generators(1, 2, 3)
    assert draw() == first
    with seeded(1, 2, 3):
        assert draw() == first


def test_other_words_draw_something_else() -> None:
    seeds = {derived_seed(a, b, c) for a in range(10) for b in range(10) for c in range(10)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_generators_go_on_as_if_nothing_had_been_drawn() -> None:
    seed_generators(0)
    draw()
    expected = draw()
    seed_generators(0)
    draw()
    with seeded(5):
        draw()
    assert draw() == expected
