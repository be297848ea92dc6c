"""The gradient checker of assignment 00, as given code for the assignments after it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def numerical_gradient(f: Callable[[], float], x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    """Central differences of a scalar with respect to every element of an array that it depends on.

    Args:
        f: computes the scalar from the current content of `x`.
        x: float64 array, any shape; changed element by element and left as it was.
        h: step. The error is O(h²) from the formula plus O(1e-16 / h) from rounding, smallest near 1e-5.

    Returns:
        The gradient, shape of x, float64.

    Raises:
        TypeError: x is not float64, in which the difference would drown in rounding.
    """
    if x.dtype != np.float64:
        raise TypeError(f"numerical_gradient needs float64, not {x.dtype}: rounding would drown the difference")
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        before = x[index]
        try:
            x[index] = before + h
            above = f()
            x[index] = before - h
            below = f()
        finally:
            x[index] = before
        gradient[index] = 0.5 * (above - below) / h
    return gradient


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference over the largest value of either array, norm-wise; 0 if both are zero everywhere.

    Raises:
        ValueError: the shapes differ.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        raise ValueError(f"the shapes differ: {a.shape} and {b.shape}")
    scale = max(np.max(np.abs(a), initial=0.0), np.max(np.abs(b), initial=0.0))
    return float(np.max(np.abs(a - b), initial=0.0) / scale) if scale else 0.0
