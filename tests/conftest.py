"""Fixtures that every room shares."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; where it is missing, the test is skipped."""
    folder = Path(os.environ.get("FLANMIX_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "MANIFEST.md").exists():
        pytest.skip("real data are not on this machine: set FLANMIX_TEST_DATA to their folder")
    return folder
