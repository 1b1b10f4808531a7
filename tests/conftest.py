"""Fixtures that every room shares."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

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
