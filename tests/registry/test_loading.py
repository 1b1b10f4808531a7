"""Tasks and mixtures by name, as a program asks for them."""

import json
from pathlib import Path

import pytest

from flanmix.data.store.prepare import prepare
from flanmix.data.store.store import Store
from flanmix.errors import UserError
from flanmix.registry.loading import load_mixture, load_task
from tests.registry.cards import write_card


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store, and tasks of four and of no training records to fill it with."""
    card = write_card(tmp_path / "tasks", "mine/nli/toy")
    row = {"text": {"premise": "It rains."}, "hypothesis": "Wet", "label": 1}
    (card.parent / "rows.jsonl").write_text((json.dumps(row) + "\n") * 6)
    part = "name: part\nlike: toy\nsplits: {test: rows.jsonl}\n"
    write_card(tmp_path / "tasks", "mine/nli/part", part)
    monkeypatch.setenv("FLANMIX_TASKS", str(tmp_path / "tasks"))
    return Store(tmp_path / "store")


def test_a_mixture_is_what_a_run_trains_on(store: Store):
    assert load_task("toy").cluster == "nli"
    assert load_mixture("mine").names == ("part", "toy")
    with pytest.raises(UserError, match="no training records of toy: run: flanmix prepare mine"):
        load_mixture("mine", store)
    summary = prepare(["mine"], store)
    assert [row["records"] for row in summary.prepared] == [6, 4, 2]
    (task,) = load_mixture("mine", store).tasks
    assert (task.spec.name, task.examples, task.rate) == ("toy", 4, 4.0)
    assert prepare(["toy", "part"], store).skipped == ["part", "toy"]
