"""What a checkpoint was trained with is what it goes on with and is asked with."""

from dataclasses import replace
from pathlib import Path

import pytest

from flanmix.errors import UserError
from flanmix.learn.checkpoint import OpenCheckpoint, describe_model
from flanmix.model.decoder import DecoderConfig
from flanmix.model.t5 import T5Config
from flanmix.train.run_record import check_unchanged
from flanmix.train.settings import DataConfig, Run
from flanmix.train.trained import as_trained, trained_lengths

SMALL = dict(vocab_size=384, d_model=16, d_ff=32, num_heads=2, head_dim=8)
DECODER = DecoderConfig(**SMALL, num_kv_heads=1, num_layers=1)
DATA = DataConfig("store", "m", 4, 32, 16, "byte")


def run_of(model=DECODER, **said) -> Run:
    return Run("run", model, data=replace(DATA, **said))


def record_of(run: Run, **changes) -> dict:
    data = {**run.data.recorded(run.model.architecture), **changes}
    lengths = [run.data.inputs_length, run.data.targets_length]
    return {"model": describe_model(run.model), "lengths": lengths, "data": data, "tasks": {}}


def old_record() -> dict:
    """As versions wrote it that put nothing between inputs and targets."""
    record = record_of(run_of())
    del record["data"]["SEPARATOR"]
    return record


@pytest.mark.parametrize(
    ("record", "said", "used"),
    [
        ({}, None, "\n"),
        ({}, "", ""),
        ({"model": describe_model(DECODER)}, None, "\n"),
        ({"data": {"vocabulary": "5ab1"}}, None, "\n"),  # weights that come from elsewhere
        (old_record(), None, ""),
        (old_record(), " ", " "),
        (record_of(run_of(separator=" = ")), None, " = "),
    ],
)
def test_a_run_has_the_separator_of_its_checkpoint(record, said, used):
    run = as_trained(run_of(separator=said), record)
    assert run.loader.lengths.separator == used
    assert run.data.recorded("causal")["SEPARATOR"] == used


def test_an_old_run_goes_on_and_another_separator_is_refused():
    old = old_record()
    check_unchanged(old, record_of(as_trained(run_of(), old)), Path("run"))
    with pytest.raises(UserError, match=r"SEPARATOR was '' and is '\\n'"):
        check_unchanged(old, record_of(run_of()), Path("run"))
    with pytest.raises(UserError, match=r"SEPARATOR was '\\n' and is ''"):
        check_unchanged(record_of(run_of()), record_of(run_of(separator="")), Path("run"))


def test_a_checkpoint_is_asked_as_it_was_trained():
    for record, separator in ((old_record(), ""), (record_of(run_of()), "\n")):
        assert trained_lengths(OpenCheckpoint(Path("c"), 1, record, {})).separator == separator


def test_an_encoder_decoder_has_none():
    model = T5Config(**SMALL, num_encoder_layers=1, num_decoder_layers=1)
    run = as_trained(run_of(model), {})
    assert run.loader.lengths.separator == ""
    assert "SEPARATOR" not in run.data.recorded(model.architecture)
    with pytest.raises(ValueError, match="SEPARATOR is ' ': an encoder-decoder"):
        run_of(model, separator=" ")
