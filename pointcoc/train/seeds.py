"""Random numbers that follow from counters, so that no state of a generator has to outlive a kill.

What is drawn for an update follows from (seed, update, process), the order of an epoch from (seed, epoch), the
augmentation of an item from (seed, epoch, index). A run can begin anywhere and draw what it would have drawn.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

# First words after the seed, so that no two uses share a stream.
ORDER, ITEM, UPDATE = 1, 2, 3


def derived_seed(*words: int) -> int:
    """Mix integers into one seed of 63 bits; others give, but for chance, another one."""
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)


def seed_generators(*words: int) -> None:
    """Set the global generators of Python, NumPy and torch, on all devices, to what the integers say."""
    seed = derived_seed(*words)
    torch.manual_seed(seed)
    _seed_host(seed)


@contextmanager
def seeded(*words: int) -> Iterator[None]:
    """Set the generators of the CPU to what the integers say; afterwards they go on as if nothing had been drawn."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed = derived_seed(*words)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would reach the GPU, where the network draws
    _seed_host(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def _seed_host(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
