"""Runs that something ends from outside: SIGKILL, SIGTERM, SIGINT, a full disk."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from flanmix.learn.integrity import saved_steps

STEPS = ("STEPS=24", "CHECKPOINT_EVERY=3")


class Ended:
    """A run that is told something once it has written so many lines."""

    def __init__(self, workplace, run_dir, *gin, before=()):
        self.metrics = workplace.folder / run_dir / "metrics.jsonl"
        self.process = subprocess.Popen(
            [*before, *workplace.command("train", *workplace.train_flags(run_dir, *gin))],
            env=workplace.variables(),
            cwd=workplace.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def at_line(self, count):
        """Waits for that many lines; returns itself."""
        deadline = time.monotonic() + 240
        while not (self.metrics.exists() and self.metrics.read_text().count("\n") >= count):
            assert self.process.poll() is None, self.process.communicate()[1][-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.002)
        return self

    def send(self, number):
        """Sends a signal; returns exit code, stdout and stderr."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=120)
        return self.process.returncode, out, err


def record(folder, step):
    """A checkpoint's types, shapes and checksums of all arrays, and its position of the data."""
    body = json.loads((folder / "checkpoints" / str(step) / "run" / "metadata").read_text())
    return body["arrays"], body["position"]


@pytest.fixture(scope="module")
def straight(workplace):
    """Lines and record of a run that nothing ended, in a process without TensorFlow."""
    code = (
        "import sys; from flanmix.cli import main; "
        f"assert main(['train', *{workplace.train_flags('long', *STEPS)!r}]) == 0; "
        "loaded = {'tensorflow', 'seqio', 't5'} & set(sys.modules); assert not loaded, loaded"
    )
    workplace.run([sys.executable, "-c", code])
    return workplace.lines("long"), record(workplace.folder / "long", 24)


def test_a_run_ended_at_any_moment_ends_as_if_it_had_not_been(straight, workplace):
    moments, reached = random.Random(7), 0
    for number in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        run = Ended(workplace, "killed", *STEPS).at_line(reached + moments.randint(1, 6))
        time.sleep(moments.uniform(0, 0.05))
        code, _, err = run.send(number)
        assert code == (130 if number == signal.SIGINT else -number)
        assert "Traceback" not in err
        reached = max([0, *saved_steps(workplace.folder / "killed" / "checkpoints")])
    workplace.train("killed", *STEPS)
    assert workplace.lines("killed") == straight[0]
    assert record(workplace.folder / "killed", 24) == straight[1]


def test_sigterm_saves_and_ends_well(straight, workplace):
    code, out, err = Ended(workplace, "told", *STEPS).at_line(4).send(signal.SIGTERM)
    step = saved_steps(workplace.folder / "told" / "checkpoints")[0]
    assert code == 0
    assert err.splitlines()[-1] == out.splitlines()[-1] == f"preempted at step {step}: saved"
    assert len(workplace.lines("told")) == step
    workplace.train("told", *STEPS)
    assert workplace.lines("told") == straight[0]


def test_a_full_disk_is_one_line_and_leaves_the_last_checkpoint(straight, workplace):
    checkpoints = workplace.folder / "full" / "checkpoints"
    shutil.copytree(workplace.folder / "long", workplace.folder / "full")
    for step in saved_steps(checkpoints)[:-1]:
        shutil.rmtree(checkpoints / str(step))
    (good,) = saved_steps(checkpoints)
    # The closest to a full disk that a process can have to itself: no file above 24 KiB.
    small_files = ("bash", "-c", 'ulimit -f 24; exec "$@"', "bash")
    run = Ended(workplace, "full", *STEPS, before=small_files)
    _, err = run.process.communicate(timeout=240)
    assert run.process.returncode == 2, err[-2000:]
    last = err.splitlines()[-1]
    assert last.startswith("flanmix: the checkpoint of step") and "File too large" in last
    assert f"that of step {good} is complete" in last
    assert "Traceback" not in err
    assert saved_steps(checkpoints) == [good]
    assert not list(checkpoints.glob("*tmp*"))
