"""Fixtures for checks of the references against something independent of them."""

from types import SimpleNamespace

import numpy as np
import pytest

from autograder.engine.keys import load_reference
from course.project import Project


@pytest.fixture(scope="session")
def reference():
    """`reference("03")`: the names that the worked solution of an assignment defines."""

    def load(number: str) -> SimpleNamespace:
        return SimpleNamespace(**load_reference(Project().assignment(number)).namespace)

    return load


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2015)
