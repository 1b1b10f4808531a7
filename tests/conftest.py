"""Fixtures that all tests share."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.train.training import Workplace, make_workplace

# The same examples in every run, and no clock: a busy machine is no failure.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.load_profile("suite")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; where it is missing, the test is skipped."""
    folder = Path(os.environ.get("FLANMIX_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "MANIFEST.md").exists():
        pytest.skip("real data are not on this machine: set FLANMIX_TEST_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def workplace(tmp_path_factory) -> Workplace:
    """A folder with a prepared tiny collection; each test trains in a run folder of its own."""
    return make_workplace(tmp_path_factory.mktemp("training"))


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What the package logs during the test, message by message."""
    messages: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    handler, log = Kept(), logging.getLogger("flanmix")
    log.addHandler(handler)
    yield messages
    log.removeHandler(handler)
