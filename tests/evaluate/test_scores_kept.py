"""Evaluations of one step are joined by group and task, and nothing is there twice."""

import json
from dataclasses import replace

import pytest

from flanmix.errors import UserError
from flanmix.evaluate.evaluator import eval_tasks, evaluate
from flanmix.evaluate.scores import read_step, write_scores
from tests.evaluate.collection import Oracle, mixture, prepare


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("store"))


@pytest.fixture
def keep(store, tmp_path):
    """Scores groups at step 7 and writes them; returns what is kept then."""

    def run(groups, wrong=(), limit=None, evaluation=None, step=7):
        members = {name: mixture(name, *members) for name, members in groups.items()}
        scores = evaluate(Oracle(wrong), eval_tasks(members, limit), store, step=step)
        write_scores(tmp_path, replace(scores, evaluation=evaluation or {}))
        return read_step(tmp_path, step)

    return run


SEEN = {"seen": (["fixed", "several"], [0])}
NEW = {"new": (["fixed"], [1])}
OWN = {"own": (["own"],)}


def test_scoring_twice_changes_nothing(keep):
    assert keep(SEEN) == keep(SEEN)


def test_groups_that_were_scored_apart_are_as_if_scored_together(keep, tmp_path, store):
    keep(SEEN, wrong=[1])
    keep(OWN, wrong=[1])
    apart = keep(NEW, wrong=[1])
    (tmp_path / "scores" / "000000007.json").unlink()
    together = keep({**SEEN, **OWN, **NEW}, wrong=[1])
    assert apart["samples"] and together["samples"]
    del apart["samples"], together["samples"]
    assert apart == together


def test_a_group_of_the_same_name_is_replaced_and_the_others_stay(keep):
    before = keep({**SEEN, **OWN}, wrong=[0])
    assert before["groups"]["seen"]["accuracy"] == 0.0
    after = keep({"seen": (["fixed"], [0])})
    assert after["groups"]["own"] == before["groups"]["own"]
    assert after["details"]["own"] == before["details"]["own"]
    assert after["groups"]["seen"]["accuracy"] == 100.0
    assert set(after["tasks"]) == {"fixed", "own"}  # no group has `several` any more
    assert {sample["task"] for sample in after["samples"]} == {"fixed", "own"}
    assert after["summary"]["seen"] == 100.0


def test_templates_of_no_group_are_dropped(keep):
    keep({"seen": (["fixed"], [0])})
    after = keep({"seen": (["fixed"], [1])})
    assert set(after["details"]["fixed"]["templates"]) == {"1"}


def test_other_records_of_a_task_replace_it(keep):
    keep({"some": (["fixed"], [0])}, limit=5)
    after = keep(NEW)
    assert after["details"]["fixed"]["examples"] == 12
    assert set(after["details"]["fixed"]["templates"]) == {"1"}
    assert set(after["groups"]) == {"some", "new"}  # what was found of five records stays said


def test_shares_of_what_was_lost_are_over_all_templates(keep, tmp_path):
    path = tmp_path / "scores" / "000000007.json"
    document = keep(SEEN)
    document["details"]["fixed"]["trimmed"] = 50.0
    path.write_text(json.dumps(document))
    assert keep(NEW)["details"]["fixed"]["trimmed"] == 25.0


def test_scores_that_an_older_flanmix_wrote_are_kept(keep, tmp_path):
    path = tmp_path / "scores" / "000000007.json"
    document = keep(SEEN)
    for group in document["groups"].values():
        del group["templates"]
    for details in document["details"].values():
        for key in ("targets_trimmed", "equal_options", "unanswerable"):
            del details[key]
    path.write_text(json.dumps(document))
    after = keep(NEW)
    assert after["groups"]["seen"] == document["groups"]["seen"]
    assert set(after["details"]["fixed"]["templates"]) == {"0", "1"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"step": 7}'])
def test_a_file_that_holds_no_scores_is_written_anew_and_said(keep, tmp_path, caplog, text):
    whole = keep(OWN)
    path = tmp_path / "scores" / "000000007.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"000000007.json holds no scores: evaluate again"):
        read_step(tmp_path, 7)
    assert keep(OWN) == whole
    assert "000000007.json holds no scores" in caplog.messages[-1]


FIRST = {"groups": {"seen": "s", "own": "o"}, "examples": None}
OTHER = {"groups": {"new": "n"}, "examples": None}


def test_what_a_training_evaluates_now_replaces_what_it_evaluated_before(keep):
    keep({**SEEN, **OWN}, evaluation=FIRST)
    keep({"asked": (["copied"],)})  # by `evaluate`, besides
    again = keep(OWN, wrong=[0])
    assert again["evaluation"] == FIRST
    assert set(again["groups"]) == {"seen", "own", "asked"}
    after = keep(NEW, evaluation=OTHER)
    assert after["evaluation"] == OTHER
    assert set(after["groups"]) == {"asked", "new"}
    assert set(after["tasks"]) == {"copied", "fixed"}


def test_groups_of_an_older_flanmix_were_those_of_a_training(keep, tmp_path):
    path = tmp_path / "scores" / "000000007.json"
    document = keep(OWN)
    del document["groups"]["own"]["templates"]
    path.write_text(json.dumps(document))
    assert set(keep(NEW)["groups"]) == {"own", "new"}
    path.write_text(json.dumps(document))
    assert set(keep(NEW, evaluation=OTHER)["groups"]) == {"new"}


def test_before_and_after_are_of_the_groups_that_both_have(keep, tmp_path, store):
    def last():
        return json.loads((tmp_path / "scores.json").read_text())

    keep({**SEEN, **OWN}, wrong=[0, 1], evaluation=FIRST, step=0)
    keep({**SEEN, **OWN}, evaluation=FIRST)
    keep(NEW)
    assert set(last()["groups"]) == {"seen", "own", "new"}
    assert set(last()["before"]) == set(last()["after"]) == {"seen", "own", "majority"}
    assert (last()["before"]["own"], last()["after"]["own"]) == (0.0, 100.0)
    keep(NEW, evaluation=OTHER)
    assert "before" not in last()
