"""What is read off metrics.jsonl: totals that add up, whatever the model's rows are."""

import json
from pathlib import Path

import pytest

from flanmix.pages.training_log import read_log

LINE = {"loss": 2.0, "target_tokens": 10, "decoder_fill": 0.5, "learning_rate": 0.1}


def write(folder: Path, *lines: dict) -> Path:
    path = folder / "metrics.jsonl"
    path.write_text(
        "".join(json.dumps({"step": i, **own}) + "\n" for i, own in enumerate(lines, 1))
    )
    return path


@pytest.mark.parametrize(
    ("more", "tokens"),
    [
        ({"encoder_fill": 0.25}, 2 * (0.25 * 100 + 0.5 * 40)),  # two rows: inputs and targets
        ({}, 2 * 0.5 * (100 + 40)),  # a decoder's rows have both
    ],
)
def test_tokens_and_seconds_are_those_of_the_steps(
    more: dict, tokens: float, tmp_path: Path
) -> None:
    lines = [{**LINE, **more, "tokens_per_second": speed} for speed in (10.0, 20.0, 40.0)]
    log = read_log(write(tmp_path, *lines), shape=(2, 100, 40))
    assert log is not None
    assert log.tokens == pytest.approx(3 * tokens)
    assert log.seconds == pytest.approx(tokens / 10 + tokens / 20 + tokens / 40)
    assert log.speed == 20.0
    unknown = read_log(tmp_path / "metrics.jsonl", shape=None)
    assert unknown is not None
    assert (unknown.tokens, unknown.seconds, unknown.speed) == (None, None, 20.0)


def test_rates_and_what_was_truncated(tmp_path: Path) -> None:
    counts = {"examples": 8, "inputs_trimmed": 2, "targets_trimmed": 1}
    lines = [{**LINE, "learning_rate": rate, **counts} for rate in (0.1, 0.3, 0.2)]
    log = read_log(write(tmp_path, *lines), shape=None)
    assert log is not None
    assert (log.examples, log.inputs_cut, log.targets_cut) == (24, 6, 3)
    assert log.peak == 0.3
    assert log.rate is not None
    assert log.rate.points == [(1, 0.1), (2, 0.3), (3, 0.2)]


def test_lines_that_lack_what_newer_ones_have_are_read(tmp_path: Path) -> None:
    log = read_log(write(tmp_path, {"loss": 1.0, "target_tokens": 3}), shape=(2, 100, 40))
    assert log is not None
    assert (log.rate, log.tokens, log.seconds, log.speed, log.examples) == (None,) * 4 + (0,)
    assert read_log(write(tmp_path), shape=None) is None
    assert read_log(tmp_path / "absent", shape=None) is None
