"""A run's folder: one process at a time, and a copy is a run by itself."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flanmix import cli
from flanmix.errors import UserError
from flanmix.train.run_lock import locked
from flanmix.verbs import gin_config
from tests.train.training import one_error

HOLD = """
import sys
from pathlib import Path
from flanmix.train.run_lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def held_elsewhere(folder):
    """A process that holds a run's folder until it is ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_a_folder_has_one_writer_and_a_killed_one_leaves_no_lock(tmp_path):
    folder = tmp_path / "runs" / "a"
    holder = held_elsewhere(folder)
    try:
        taken = f"is being written by another process \\(process {holder.pid} on .*: wait until"
        with pytest.raises(UserError, match=taken), locked(folder):
            pass
    finally:
        holder.kill()
        holder.communicate()
    assert (folder / ".lock").exists()
    with locked(folder):
        (folder / "metrics.jsonl").touch()
        with pytest.raises(UserError, match=f"process {os.getpid()} on"), locked(folder):
            pass
    assert [path.name for path in folder.iterdir()] == ["metrics.jsonl"]


def test_a_folder_that_stays_empty_is_not_left(tmp_path):
    with locked(tmp_path / "a"):
        pass
    assert not (tmp_path / "a").exists()


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_second_process_is_refused_and_changes_nothing(straight, workplace, train):
    folder = workplace.folder / "straight"
    with locked(folder):
        before = contents(folder)
        code, said = train("straight", "STEPS=8")
        assert code == 2
        assert "straight is being written by another process" in one_error(said)
        assert contents(folder) == before


def test_a_copied_run_is_itself_and_not_the_original(straight, workplace, train, capfd):
    original, copy = workplace.folder / "original", workplace.folder / "copies" / "copy"
    shutil.copytree(workplace.folder / "straight", original)
    text = (original / "config.gin").read_text()
    assert f"RUN_DIR = '{workplace.folder / 'straight'}'" in text.replace("\\\n    ", "")
    shutil.copytree(original, copy)
    before = contents(original), contents(workplace.folder / "straight")

    groups = "--gin.Evaluation.groups={'one': 'shout'}"
    config = f"--gin_file={copy / 'config.gin'}"
    assert cli.main(["train", config, "--gin.STEPS=8"]) == 0
    said = capfd.readouterr().err
    assert f"RUN_DIR is {copy}, where config.gin lies" in said
    assert "going on from step 6" in said
    assert [line["step"] for line in workplace.lines("copies/copy")] == list(range(1, 9))
    assert cli.main(["evaluate", config, groups, "--gin.Evaluation.examples=2"]) == 0
    capfd.readouterr()
    assert cli.main(["report", str(copy)]) == 0
    assert capfd.readouterr().out.strip() == str(copy / "report.html")
    assert (contents(original), contents(workplace.folder / "straight")) == before
    # Named outright, a folder is what its name says.
    other = workplace.folder / "other"
    shutil.copytree(original, other)
    flags = [f"--gin_file={original / 'config.gin'}", f"--gin.RUN_DIR={other}", "--gin.STEPS=7"]
    assert cli.main(["train", *flags]) == 0
    assert json.loads((other / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 7
    assert (contents(original), contents(workplace.folder / "straight")) == before


def test_a_file_of_ones_own_that_is_called_config_keeps_its_folder(workplace, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.gin").write_text(
        "RUN_DIR = 'b'\n" + (workplace.folder / "tiny.gin").read_text()
    )
    run = gin_config.load([str(tmp_path / "config.gin")], ["STORE=s"], [])
    assert run.run_dir == "b"
