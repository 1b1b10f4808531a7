"""Several writers of one store: each task is written once, and none is lost."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flanmix.data.store.locking import TaskBusy, locked
from flanmix.data.store.prepare import prepare_task
from flanmix.data.store.store import Store
from flanmix.errors import UserError
from tests.conftest import ROOT
from tests.data.tasks import records, toy

CARD = """
name: {name}
version: 1
kind: generation
source: {{python: "rows.py:rows"}}
splits: {{train: train}}
fields: [question]
answer: answer
templates: [{{inputs: "{{question}}"}}]
metrics: [exact_match]
"""
ROWS = """
import os, time
def rows(split):
    with open(os.environ["WRITTEN"], "a") as log:
        log.write("x")
    time.sleep(float(os.environ["PAUSE"]))
    for number in range(3):
        yield {"question": f"{number}?", "answer": number}
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_writers_of_different_tasks_never_meet(store: Store):
    """The folder that they share is removed and made again all the time."""
    failed: list[Exception] = []

    def work(worker: int) -> None:
        try:
            for number in range(30):
                store.write(toy(name=f"t{worker}_{number}"), "train", records(1))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(store.tasks()) == 120
    assert not (store.root / ".partial").exists()


def test_the_folder_that_writers_share_may_go_at_any_moment(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    made, times = Path.mkdir, [0]

    def then_removed(path: Path, *args, **kwargs) -> None:
        made(path, *args, **kwargs)
        if path.name == ".partial" and times[0] < 3:
            times[0] += 1
            path.rmdir()  # by another writer, which is done

    monkeypatch.setattr(Path, "mkdir", then_removed)
    store.write(toy(), "train", records(2))
    assert times == [3]
    assert store.verify(toy()) == []


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path):
    lock, held, most, rounds = tmp_path / "locks" / "toy-lock", [0], [0], [0]

    def work() -> None:
        for _ in range(60):
            with locked(lock, "toy", wait=True):
                held[0] += 1
                most[0] = max(most[0], held[0])
                rounds[0] += 1
                held[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, rounds) == ([1], [360])
    assert not lock.parent.exists()


def test_a_lock_of_a_killed_process_is_no_obstacle(store: Store):
    program = (
        "import os, sys; from flanmix.data.store.store import Store\n"
        "from tests.data.tasks import toy\n"
        f"with Store({str(store.root)!r}).claimed(toy()): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == -9
    assert (store.root / ".partial" / "toy-lock").exists()
    store.write(toy(), "train", records(2))
    assert not (store.root / ".partial").exists()


def test_a_task_that_another_is_preparing_is_waited_for_and_not_prepared_again(
    store: Store, tmp_path: Path
):
    for name in ("train", "test"):
        (tmp_path / f"{name}.jsonl").write_text('{"question": "?", "answer": "a"}\n')
    spec, done = toy(tmp_path), []
    with store.claimed(spec):
        with pytest.raises(TaskBusy, match="another process is writing task 'toy'"):
            prepare_task(spec, store)
        waiting = threading.Thread(target=lambda: done.append(prepare_task(spec, store, wait=True)))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        with store.writing(spec) as writing:
            writing.write("train", records(1))
            writing.write("test", records(1, split="test"))
            writing.set_sources({n: tmp_path / n for n in ("train.jsonl", "test.jsonl")})
    waiting.join(10)
    assert done == [None]


def test_a_file_in_the_way_is_one_line(store: Store):
    store.root.mkdir()
    (store.root / ".partial").write_text("")
    with pytest.raises(UserError, match=r"is .*\.partial a folder"):
        store.write(toy(), "train", records(2))


def test_two_prepares_share_the_work(store: Store, tmp_path: Path):
    folder = tmp_path / "tasks" / "mine" / "qa"
    folder.mkdir(parents=True)
    (folder / "rows.py").write_text(ROWS)
    names = [f"t{number}" for number in range(6)]
    for name in names:
        (folder / f"{name}.yaml").write_text(CARD.format(name=name))
    environment = {
        **os.environ,
        "FLANMIX_TASKS": str(tmp_path / "tasks"),
        "WRITTEN": str(tmp_path / "written"),
        "PAUSE": "0.1",
    }
    argv = ["prepare", "mine", "--store", str(store.root), "--json"]
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "flanmix", *argv],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    summaries = [json.loads(out) for out, _ in outputs]
    prepared = [row["task"] for summary in summaries for row in summary["prepared"]]
    assert sorted(prepared) == names
    assert (tmp_path / "written").read_text() == "x" * len(names)
    for summary in summaries:
        assert not summary["failed"]
        done = {row["task"] for row in summary["prepared"]} | set(summary["skipped"])
        assert sorted(done) == names
    assert not (store.root / ".partial").exists()
