"""Probes of 00: one-hot targets."""

import numpy as np

from autograder.engine.probes import probe


@probe("one_hot")
def by_hand(impl, rng):
    yield "Y", impl.one_hot(np.array([2, 0]), 3)


@probe("one_hot", cases=[(1, 2), (5, 3), (50, 4), (7, 11)])
def random_labels(impl, rng, count, classes):
    y = rng.integers(classes, size=count)
    yield "Y", impl.one_hot(y, classes)
