"""What a run's lengths truncate, said once when the run starts and kept in its folder.

    say_truncation(run.folder, data, run.loader)
    stderr:                   truncated at INPUTS_LENGTH=128, TARGETS_LENGTH=64: 31.2% of ...
    RUN_DIR/truncation.json:  {"inputs_length": 128, "targets_length": 64,
                               "architecture": "encoder_decoder", "sample": 64,
                               "inputs": 0.312, "targets": 0.004,
                               "tasks": {"rte": {"inputs": 0.4, "targets": 0.0}, ...}}

Shares are of examples. They come from a sample of each task (flanmix/data/truncation.py), so they
cost seconds with thousands of tasks; `metrics.jsonl` counts what each step really truncated.
"""

import json
from pathlib import Path

import jax

from flanmix.console import say
from flanmix.data.loader import LoaderConfig
from flanmix.data.truncation import measure, overall, sample_size, truncation_line
from flanmix.train.data import Data
from flanmix.train.files import TRUNCATION, write_whole


def say_truncation(folder: Path, data: Data, config: LoaderConfig) -> None:
    """Measures a sample, says in one line what is truncated if anything is, and writes the file.

    Raises:
        UserError: for a corrupt store, or a record that none of its task's templates fits.
    """
    if jax.process_index() != 0:
        return
    mixture, lengths = data.mixture, config.lengths
    measured = measure(
        mixture, data.store, data.vocabulary, lengths, seed=config.seed, chat=data.chat
    )
    shares = [task.rate / mixture.total_rate for task in mixture.tasks]
    named = dict(zip(mixture.names, measured, strict=True))
    inputs, targets = overall(measured, shares)
    found = {
        "inputs_length": lengths.inputs,
        "targets_length": lengths.targets,
        "architecture": lengths.architecture,
        "sample": sample_size(len(measured)),
        "inputs": inputs,
        "targets": targets,
        "tasks": {
            name: {"inputs": task.inputs_truncated, "targets": task.targets_truncated}
            for name, task in named.items()
        },
    }
    write_whole(folder / TRUNCATION, json.dumps(found, indent=1) + "\n")
    if (line := truncation_line(named, shares, lengths)) is not None:
        say(f"{line} (by a sample; {TRUNCATION} has every task)")
