"""`flanmix train --gin_file=F`: a training run; run it again to resume.

It ends with 0; with 2 for the user's mistake; and with 3 where all steps were made and saved but an
evaluation failed, which was said when it did.
"""

import argparse
import os
import sys

from flanmix.console import is_first_host
from flanmix.pages.report import write_report
from flanmix.train import hosts
from flanmix.train.loop import End
from flanmix.train.settings import Run
from flanmix.train.training import train
from flanmix.verbs import gin_config

EVALUATION_FAILED = 3


def main(args: argparse.Namespace) -> int:
    """Runs the verb.

    Raises:
        UserError: anything that the user can mend, before anything is computed where possible.
    """
    run = gin_config.from_flags(args)
    hosts.join(run.mesh.multi_host)
    return finish(run, train(run, gin_config.operative()))


def finish(run: Run, end: End) -> int:
    """Writes the report, says how the run ended, and returns the exit code."""
    if not end.finished:
        outcome(f"preempted at step {end.step}: saved")
        return 0
    if is_first_host():
        outcome(f"report: {write_report(run.folder)}")
    done = f"done: {end.step} steps in {run.folder}"
    if not end.not_evaluated:
        outcome(done)
        return 0
    steps = ", ".join(map(str, end.not_evaluated))
    again = "; the same command evaluates it" if end.step in end.not_evaluated else ""
    outcome(f"{done}; the evaluation of step {steps} failed{again}")
    return EVALUATION_FAILED


def outcome(text: str) -> None:
    """Prints how the run ended on stderr, and on stdout where a program reads that by itself."""
    if is_first_host():
        print(text, file=sys.stderr, flush=True)
        if not sys.stdout.isatty() and not _one_file():
            print(text, flush=True)


def _one_file() -> bool:
    """Whether stdout and stderr go to the same place, as in `> log 2>&1` or `2>&1 | tee log`."""
    try:
        return os.path.sameopenfile(sys.stdout.fileno(), sys.stderr.fileno())
    except (OSError, ValueError):  # a notebook's streams are no files
        return False
