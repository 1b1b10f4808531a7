"""`flanmix report`: where it writes, and what it prints."""

import json
import re
from pathlib import Path

import pytest

from flanmix import cli
from flanmix.evaluate.scores import Scores, TaskScores, write_scores
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


def make_run(folder: Path, loss: float, rate: float, scores: dict[str, float]) -> Path:
    """A run of one step that was scored before and after it; without scores, not at all."""
    folder.mkdir(parents=True)
    line = {"step": 1, "loss": loss, "target_tokens": 5, "learning_rate": rate}
    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    config = f"RUN_DIR = '{folder}'\nBATCH_SIZE = 2\nSchedule.rate = {rate}\n"
    (folder / "config.gin").write_text(config)
    tasks = {
        name: TaskScores(
            *(name, f"cluster_of_{name}", "classification", "test", 10, "accuracy"),
            templates={0: {"accuracy": score}},
            baseline={"accuracy": 50.0},
        )
        for name, score in scores.items()
    }
    for step in (0, 1) if scores else ():
        write_scores(folder, Scores(step, tasks, {"unseen": {name: [0] for name in tasks}}))
    return folder


LONG = "a_task_whose_name_is_so_long_that_no_terminal_of_80_columns_holds_it_beside_its_figures"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    made = [
        make_run(tmp_path / "x" / "run", 2.0, 0.01, {"both": 60.0, "first": 80.0}),
        make_run(tmp_path / "y" / "run", 1.5, 0.02, {"both": 64.5, LONG: 30.0}),
        make_run(tmp_path / "bare", 3.0, 0.01, {}),
    ]
    return [str(folder) for folder in made]


def test_several_runs_are_compared(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", *runs]) == 0
    text = capsys.readouterr().out
    lines = [line.split() for line in text.splitlines()]
    assert lines[:3] == [["A", "x/run"], ["B", "y/run"], ["C", runs[2].split("/")[-2] + "/bare"]]
    assert ["loss", "at", "the", "end", "2.000", "1.500", "3.000"] in lines
    assert ["Schedule.rate", "0.01", "0.02", "0.01"] in lines
    assert not any(line[:1] in (["RUN_DIR"], ["BATCH_SIZE"]) for line in lines)
    assert ["tasks", "A", "B", "C", "B-A", "C-A"] in lines
    assert ["both", "60.0", "64.5", "-", "4.5", "-"] in lines
    assert ["first", "80.0", "-", "-", "-", "-"] in lines
    assert ["unseen", "70.0", "47.2", "-", "-22.8", "-"] in lines
    assert ["cluster_of_both", "60.0", "64.5", "-", "4.5", "-"] in lines
    assert lines[lines.index([LONG]) + 1] == ["-", "30.0", "-", "-", "-"]
    assert "C has no scores." in text
    assert "Tasks that were not scored in every run, and are blank there: 2." in text
    assert text.endswith("\ncomparison.html\n")
    assert max(len(line) for line in text.splitlines() if LONG not in line) <= 80
    page = Page(Path("comparison.html").read_text())
    for wanted in ("both", "first", LONG, "x/run", "+4.5", "Schedule.rate", "C has no scores."):
        assert wanted in page.texts
    assert page.tags.count("svg") == 2  # the losses, and the mean scores by step
    assert not Path(runs[0], "report.html").exists()


def test_where_a_comparison_goes(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", *runs[:2], "--html", "other.html", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == "other.html"
    assert Path("other.html").is_file()
    assert cli.main(["report", runs[0], "nowhere"]) == 2
    assert capsys.readouterr().err.startswith("flanmix: nowhere holds no run")
    assert cli.main(["report", *runs[:1] * 27]) == 2
    assert "27 runs are too many" in capsys.readouterr().err


def test_the_same_configuration_is_said(
    runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["report", runs[0], runs[2]]) == 0
    said = "The configurations are the same, RUN_DIR aside."
    assert said in capsys.readouterr().out
    assert said in Page(Path("comparison.html").read_text()).texts


def test_a_value_that_is_wider_than_a_terminal_has_its_own_line(
    runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    store = "/data/" + "folder/" * 12
    for number, run in enumerate(runs[:2]):
        with Path(run, "config.gin").open("a") as file:
            file.write(f"STORE = '{store}{number}'\n")
    assert cli.main(["report", *runs[:2]]) == 0
    wanted = rf"^STORE\n  A  '{store}0'\n  B  '{store}1'$"
    assert re.search(wanted, capsys.readouterr().out, re.MULTILINE)
