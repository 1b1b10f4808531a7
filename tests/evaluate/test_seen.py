"""What of a task a model has seen, by what it was trained on here and by others."""

import pytest

from flanmix.evaluate.evaluator import eval_tasks, with_seen
from tests.evaluate.collection import mixture


@pytest.mark.parametrize(
    ("elsewhere", "seen"),
    [
        ([], "neither"),
        (None, "unknown"),
        (["fixed"], "neither"),
        (["copied"], "task"),
        (["{cluster}"], "cluster"),
    ],
)
def test_what_others_trained_a_model_on_counts(elsewhere, seen):
    members = mixture("train", ["copied"])
    if elsewhere is not None:
        elsewhere = [name.format(cluster=members.tasks[0].spec.cluster) for name in elsewhere]
    for trained, own in (({}, seen), ({"copied": "its"}, "task")):
        (task,) = with_seen(eval_tasks({"all": members}), trained, elsewhere)
        assert task.seen == own
