"""Two processes that train together, as two hosts do: one run, whoever looks at it."""

import os
import signal
import socket
import subprocess
import time

import pytest

STEPS = ("STEPS=40", "CHECKPOINT_EVERY=4")


def start(workplace, run_dir, *gin):
    """Starts a run on two processes of this machine."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = workplace.command("train", *workplace.train_flags(run_dir, *gin))
    for number in range(2):
        environment = {
            **workplace.variables(),
            "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
            "JAX_NUM_PROCESSES": "2",
            "JAX_PROCESS_ID": str(number),
        }
        pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        yield subprocess.Popen(command, env=environment, cwd=workplace.folder, **pipes)


def finished(processes):
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    return said


def same_batches(left, right):
    for a, b in zip(left, right, strict=True):
        assert (a["step"], a["batch_hash"]) == (b["step"], b["batch_hash"])
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)
        assert a["parameter_norm"] == pytest.approx(b["parameter_norm"], rel=1e-5)


@pytest.mark.slow
def test_two_hosts_take_the_steps_of_one_and_either_goes_on_where_the_other_stopped(workplace):
    workplace.train("one_host", *STEPS)
    processes = list(start(workplace, "hosts", *STEPS))
    metrics = workplace.folder / "hosts" / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_text().count("\n") > 3):
        assert processes[0].poll() is None, processes[0].communicate()
        time.sleep(0.01)
    os.kill(processes[1].pid, signal.SIGTERM)  # one host is told, both end after the same step
    said = finished(processes)
    step = len(workplace.lines("hosts"))
    assert 3 < step < 40
    assert said[0].splitlines()[-1] == f"preempted at step {step}: saved"
    workplace.train("hosts", *STEPS[1:], f"STEPS={step + 3}")
    finished(list(start(workplace, "hosts", *STEPS)))
    same_batches(workplace.lines("hosts"), workplace.lines("one_host"))
