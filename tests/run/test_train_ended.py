"""Runs that something ends from outside: SIGKILL, SIGTERM, SIGINT, a full disk."""

import random
import signal
import subprocess
import time

import pytest

from flanmix.learn.checkpoint import saved_steps

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


def arrays(folder, step):
    """The bytes of a checkpoint's record: it has the checksums of all arrays, and the position."""
    import json

    body = json.loads((folder / "checkpoints" / str(step) / "run" / "metadata").read_text())
    return body["arrays"], body["position"]


@pytest.fixture(scope="module")
def straight(workplace):
    workplace.train("long", *STEPS)
    return workplace.lines("long"), arrays(workplace.folder / "long", 24)


def test_a_killed_run_ends_as_if_it_had_not_been(straight, workplace):
    moments = random.Random(7)
    reached = 0
    for _ in range(2):
        run = Ended(workplace, "killed", *STEPS).at_line(reached + moments.randint(1, 9))
        time.sleep(moments.uniform(0, 0.05))
        assert run.send(signal.SIGKILL)[0] == -signal.SIGKILL
        reached = max([0, *saved_steps(workplace.folder / "killed" / "checkpoints")])
    workplace.train("killed", *STEPS)
    assert workplace.lines("killed") == straight[0]
    assert arrays(workplace.folder / "killed", 24) == straight[1]


def test_sigterm_saves_and_ends_well(straight, workplace):
    code, out, err = Ended(workplace, "told", *STEPS).at_line(4).send(signal.SIGTERM)
    step = saved_steps(workplace.folder / "told" / "checkpoints")[0]
    assert code == 0
    assert err.splitlines()[-1] == out.splitlines()[-1] == f"preempted at step {step}: saved"
    assert len(workplace.lines("told")) == step
    workplace.train("told", *STEPS)
    assert workplace.lines("told") == straight[0]


def test_sigint_ends_with_130(workplace):
    code, _, err = Ended(workplace, "interrupted", *STEPS).at_line(4).send(signal.SIGINT)
    assert code == 130
    assert "Traceback" not in err


def test_a_full_disk_is_one_line_and_leaves_the_last_checkpoint(straight, workplace):
    workplace.train("full", "STEPS=2")
    # The closest to a full disk that a process can have to itself: no file above 12 KiB.
    small_files = ("bash", "-c", 'ulimit -f 12; exec "$@"', "bash")
    run = Ended(workplace, "full", "STEPS=24", "CHECKPOINT_EVERY=4", before=small_files)
    _, err = run.process.communicate(timeout=240)
    assert run.process.returncode == 2, err[-2000:]
    last = err.splitlines()[-1]
    assert last.startswith("flanmix: the checkpoint of step") and "File too large" in last
    assert "the checkpoint of step 2 is whole" in last
    assert "Traceback" not in err
    assert saved_steps(workplace.folder / "full" / "checkpoints") == [2]
    assert not list((workplace.folder / "full" / "checkpoints").glob("*tmp*"))


def test_training_does_not_import_tensorflow(workplace):
    flags = workplace.train_flags("lean", "STEPS=1")
    code = (
        "import sys; from flanmix.cli import main; "
        f"assert main(['train', *{flags!r}]) == 0; "
        "loaded = {'tensorflow', 'seqio', 't5'} & set(sys.modules); "
        "assert not loaded, loaded"
    )
    command = [*workplace.command()[:1], "-c", code]
    done = subprocess.run(
        command, env=workplace.variables(), cwd=workplace.folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
