"""How a run says its end: once to whoever reads, wherever stdout and stderr go."""

import os
import sys

import pytest

from flanmix.verbs.train import outcome


@pytest.mark.parametrize(("together", "lines"), [(True, ["done"]), (False, ["done", "done"])])
def test_the_last_line_has_no_twin_in_a_log_of_both_streams(tmp_path, monkeypatch, together, lines):
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as other:
        err = os.fdopen(os.dup(out.fileno()), "w") if together else other
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        outcome("done")
        if together:
            err.close()
    said = (tmp_path / "out").read_text() + (tmp_path / "err").read_text()
    assert said.splitlines() == lines
