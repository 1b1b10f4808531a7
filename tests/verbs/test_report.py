"""`flanmix report`: where it writes, and what it prints."""

import json
from pathlib import Path

import pytest

from flanmix import cli
from tests.pages.reader import Page


@pytest.mark.parametrize("flags", [(), ("--html",)])
def test_it_writes_the_page_and_prints_the_path(
    flags: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0, "target_tokens": 5}\n')
    path = tmp_path / ("other.html" if flags else "report.html")
    argv = ["report", str(tmp_path), *flags, *([str(path)] if flags else [])]
    assert cli.main(argv) == 0
    assert capsys.readouterr().out == f"{path}\n"
    assert "Training loss" in Page(path.read_text()).texts
    assert cli.main([*argv, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == str(path)


def test_a_folder_without_a_run_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["report", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"flanmix: {tmp_path} holds no run")
