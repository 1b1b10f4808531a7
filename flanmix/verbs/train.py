"""`flanmix train --gin_file=F`: a training run; run it again to resume."""

import argparse
import sys

from flanmix.console import is_first_host
from flanmix.pages.report import write_report
from flanmix.train import hosts
from flanmix.train.settings import Run
from flanmix.train.training import train
from flanmix.verbs import gin_config


def main(args: argparse.Namespace) -> int:
    """Runs the verb.

    Raises:
        UserError: anything that the user can mend, before anything is computed where possible.
    """
    run = gin_config.from_flags(args)
    hosts.join(run.mesh.multi_host)
    finish(run, train(run, gin_config.operative()))
    return 0


def finish(run: Run, step: int) -> None:
    """Writes the report, and says how the run ended."""
    if run.train is not None and step < run.train.steps:
        outcome(f"preempted at step {step}: saved")
        return
    if is_first_host():
        outcome(f"report: {write_report(run.folder)}")
    outcome(f"done: {step} steps in {run.folder}")


def outcome(text: str) -> None:
    """Prints how the run ended on stderr, and on stdout where a program reads it."""
    if is_first_host():
        print(text, file=sys.stderr, flush=True)
        if not sys.stdout.isatty():
            print(text, flush=True)
