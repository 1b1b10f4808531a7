"""A prepared tiny collection that the tests of training share."""

import pytest

from tests.run.training import Workplace, make_workplace


@pytest.fixture(scope="session")
def workplace(tmp_path_factory) -> Workplace:
    """A folder with prepared tasks; each test trains in a run folder of its own."""
    return make_workplace(tmp_path_factory.mktemp("training"))
