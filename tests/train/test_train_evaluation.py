"""Evaluations that fail while a run trains: nothing that was trained is lost, and it is said."""

import json

import pytest

from flanmix.learn.integrity import saved_steps
from flanmix.train import scoring
from flanmix.train.settings import Evaluation, gin_name
from tests.train.training import one_error

GROUPS = "Evaluation.groups={'seen': 'tiny'}"
SCORED = (GROUPS, "EVAL_EVERY=2", "Evaluation.examples=4")


@pytest.fixture
def breaks(monkeypatch, workplace):
    """Makes evaluations fail at given steps; what it returns holds the steps saved by then."""
    saved = {}
    real = scoring.score_model

    def score_model(run, *args, **options):
        step = next(x for x in args if isinstance(x, int))
        saved[step] = saved_steps(run.folder / "checkpoints")
        if step in at:
            raise at[step]
        return real(run, *args, **options)

    at = {}

    def set_up(error, *steps):
        at.clear()
        at.update(dict.fromkeys(steps, error))
        return saved

    monkeypatch.setattr(scoring, "score_model", score_model)
    return set_up


def test_a_failing_evaluation_costs_no_step_and_ends_with_a_code_of_its_own(
    straight, workplace, train, breaks
):
    saved = breaks(RuntimeError("RESOURCE_EXHAUSTED: out of memory\nwhile decoding"), 4, 6)
    code, said = train("broken", *SCORED, "CHECKPOINT_EVERY=4")
    assert code == 3
    assert "Traceback" not in said.err
    (line,) = [x for x in said.err.splitlines() if "evaluation of step 4 failed, and" in x]
    assert "RESOURCE_EXHAUSTED: out of memory while decoding" in line
    assert said.err.splitlines()[-1].endswith(
        "the evaluation of step 4, 6 failed; the same command evaluates it"
    )
    assert workplace.lines("broken") == straight
    assert saved == {2: [], 4: [4], 6: [6, 4]}  # a step is on disk before it is evaluated
    folder = workplace.folder / "broken"
    assert [p.name for p in sorted((folder / "scores").iterdir())] == ["000000002.json"]

    breaks(None)
    code, said = train("broken", *SCORED, "CHECKPOINT_EVERY=4")
    assert code == 0, said.err
    assert json.loads((folder / "scores.json").read_text())["step"] == 6


def test_a_run_that_is_asked_to_end_while_it_evaluates_is_not_done(workplace, train, breaks):
    breaks(scoring._Stopped(), 6)
    code, said = train("stopped", GROUPS, "Evaluation.examples=4")
    assert code == 0
    assert said.err.splitlines()[-1] == "preempted at step 6: saved"
    breaks(None)
    code, said = train("stopped", GROUPS, "Evaluation.examples=4")
    assert code == 0 and said.err.splitlines()[-1].startswith("done: 6 steps")
    assert json.loads((workplace.folder / "stopped" / "scores.json").read_text())["step"] == 6


def test_a_batch_that_the_devices_cannot_share_is_found_before_the_first_step(
    straight, train, workplace
):
    code, said = train(
        "indivisible", "MeshConfig.data=2", "BATCH_SIZE=4", "Evaluation.batch_size=3"
    )
    assert code == 2
    name = gin_name(Evaluation(), "batch_size")
    assert f"{name} is 3: its rows can't be divided over 2 devices" in one_error(said)
    assert not (workplace.folder / "indivisible").exists()
    flags = workplace.train_flags("straight", "MeshConfig.data=2", "Evaluation.batch_size=3")
    done = workplace.flanmix("evaluate", *flags, check=2)
    assert f"{name} is 3: its rows" in done.stderr
