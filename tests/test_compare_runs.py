"""scripts/compare_runs.py: runs that differ by the clock are equal; each difference is named."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts import compare_runs

ARRAYS = {
    "params/head": ["float32", [4, 2], 11],
    "params/norm": ["float32", [2], 12],
    "optimizer/0/count": ["int32", [], 13],
    "optimizer/0/v/head": ["float32", [4], 14],
}


def make_run(folder: Path, *, seconds: float = 1.0) -> Path:
    """A hand-made run of two lines and two checkpoints."""
    lines = [
        {"step": step, "loss": 3.5 / step, "tokens_per_second": seconds * step, "tasks": {"rte": 1}}
        for step in (1, 2)
    ]
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "scores.json").write_text(json.dumps({"mean": 50.0, "tasks": {"rte": {"f1": 50.0}}}))
    for step in (1, 2):
        body = {"step": step, "position": [[7, -1], [8, 3]], "run": {}, "arrays": ARRAYS}
        write_checkpoint(folder, step, {"digest": str(seconds), **body})
    return folder


def write_checkpoint(folder: Path, step: int, body: dict[str, Any]) -> None:
    path = folder / "checkpoints" / str(step) / "run" / "metadata"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(body))


def change_lines(change: Callable[[list[dict]], Any]) -> Callable[[Path], None]:
    def apply(run: Path) -> None:
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        change(lines)
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    return apply


def change_scores(change: Callable[[dict], Any]) -> Callable[[Path], None]:
    def apply(run: Path) -> None:
        scores = json.loads((run / "scores.json").read_text())
        change(scores)
        (run / "scores.json").write_text(json.dumps(scores))

    return apply


def change_newest(change: Callable[[dict], Any]) -> Callable[[Path], None]:
    def apply(run: Path) -> None:
        body = json.loads((run / "checkpoints" / "2" / "run" / "metadata").read_text())
        change(body)
        write_checkpoint(run, 2, body)

    return apply


def renamed(body: dict) -> None:
    body["arrays"] = {path.replace("head", "unembed"): a for path, a in body["arrays"].items()}


def renamed_and_changed(body: dict) -> None:
    renamed(body)
    body["arrays"]["params/norm"][2] += 1


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    return make_run(tmp_path / "a"), make_run(tmp_path / "b", seconds=2.0)


def compared(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    code = compare_runs.main([str(run) for run in runs])
    return code, capsys.readouterr().out.splitlines()


def test_runs_that_differ_by_the_clock_are_equal(runs, capsys) -> None:
    code, lines = compared(runs, capsys)
    assert code == 0
    parts = ["metrics", "scores", "parameters", "optimizer", "position"]
    assert [line.split()[:2] for line in lines] == [[part, "equal"] for part in parts]
    assert "2 arrays of step 2, by path" in lines[2]


@pytest.mark.parametrize(
    ("change", "part", "names"),
    [
        (change_lines(lambda x: x[1].update(loss=1.7500000000000002)), "metrics", "step 2]/loss"),
        (change_lines(lambda x: x[0].update(loss=math.nan)), "metrics", "3.5 and NaN"),
        (change_lines(lambda x: x[1]["tasks"].update(rte=1.0)), "metrics", "tasks/rte: 1 and 1.0"),
        (change_lines(lambda x: x[0].pop("loss")), "metrics", "loss is in the first alone"),
        (change_lines(lambda x: x.append({"step": 3})), "metrics", "2 and 3 entries"),
        (change_scores(lambda x: x["tasks"]["rte"].update(f1=51.0)), "scores", "tasks/rte/f1"),
        (change_scores(lambda x: x.update(more=1)), "scores", "more is in the second alone"),
        (change_newest(lambda x: x["arrays"]["params/norm"].__setitem__(2, 0)), "parameters", "no"),
        (change_newest(lambda x: x["arrays"].pop("params/norm")), "parameters", "norm"),
        (change_newest(renamed_and_changed), "parameters", "norm"),
        (
            change_newest(lambda x: x["arrays"]["optimizer/0/count"].__setitem__(0, "int64")),
            "optimizer",
            '0/count: "int32[] 13" and "int64[] 13"',
        ),
        (
            change_newest(lambda x: x["position"][1].__setitem__(0, 9)),
            "position",
            "[1][0]: 8 and 9",
        ),
    ],
)
def test_a_difference_is_named(change, part: str, names: str, runs, capsys) -> None:
    change(runs[1])
    code, lines = compared(runs, capsys)
    assert code == 1
    (line,) = (line for line in lines if line.startswith(part))
    assert "DIFFERENT" in line and names in line
    assert sum("DIFFERENT" in line for line in lines) == 1


def test_renamed_arrays_are_compared_without_their_paths(runs, capsys) -> None:
    change_newest(renamed)(runs[1])
    code, lines = compared(runs, capsys)
    assert code == 0
    assert "without their paths: head is in one alone" in lines[2]


def test_arrays_that_swapped_their_paths_differ(runs, capsys) -> None:
    def swap(body: dict) -> None:
        arrays = body["arrays"]
        arrays["params/head"], arrays["params/norm"] = arrays["params/norm"], arrays["params/head"]

    change_newest(swap)(runs[1])
    assert compared(runs, capsys)[0] == 1


def test_the_newest_checkpoint_is_compared(runs, capsys) -> None:
    body = json.loads((runs[1] / "checkpoints" / "2" / "run" / "metadata").read_text())
    write_checkpoint(runs[1], 10, {**body, "step": 10})
    code, lines = compared(runs, capsys)
    assert code == 1
    assert [line for line in lines if "of step 2 and of step 10" in line] == lines[2:4]


@pytest.mark.parametrize("missing", ["metrics.jsonl", "scores.json", "checkpoints/2/run/metadata"])
def test_what_is_no_run_is_said(missing: str, runs) -> None:
    (runs[1] / missing).unlink()
    with pytest.raises(SystemExit, match="is missing: not a run that has ended"):
        compare_runs.main([str(run) for run in runs])
