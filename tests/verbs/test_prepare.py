"""`prepare` from the command line: summary, skipping, failures, workers, and what ends it early."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flanmix import cli
from flanmix.data.store import workers
from flanmix.data.store.store import Store
from flanmix.registry.catalogue import Catalogue
from tests.conftest import ROOT

CARD = """
name: {name}
version: 1
kind: generation
source: {{python: "generate.py:{function}"}}
splits: {{train: train, test: "test[:2]"}}
fields: {{question: question}}
answer: answer
templates: [{{inputs: "{{question}}"}}]
metrics: [exact_match]
"""

GENERATOR = """
import os, signal, time

def rows(split):
    for number in range(20):
        yield {"question": f"{split} {number}?", "answer": number}

def broken(split):
    raise RuntimeError("no such luck")

def empty(split):
    return []

def odd(split):
    yield from rows(split)
    yield {"question": "and?", "answer": ""}

def dies(split):
    os.kill(os.getpid(), signal.SIGKILL)

def slow(split):
    for row in rows(split):
        time.sleep(0.2)
        yield row
"""


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "tasks"
    folder = root / "mine" / "qa"
    folder.mkdir(parents=True)
    (folder / "generate.py").write_text(GENERATOR)
    monkeypatch.setenv("FLANMIX_TASKS", str(root))
    return folder


def declare(folder: Path, **functions: str) -> None:
    for name, function in functions.items():
        (folder / f"{name}.yaml").write_text(CARD.format(name=name, function=function))


@pytest.fixture
def prepare(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def run(*argv: str) -> tuple[int, dict, str]:
        code = cli.main(["prepare", *argv, "--store", str(tmp_path / "store"), "--json"])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else {}, err

    return run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.mark.parametrize("more", [(), ("--workers", "2")], ids=["here", "workers"])
def test_what_fails_is_named_and_the_others_go_on(tasks: Path, prepare, more: tuple[str, ...]):
    declare(tasks, a1="rows", b1="broken", c1="empty", d1="odd", e1="rows")
    (tasks / "f1.yaml").write_text("name: f1\nversoin: 1\n")
    code, done, err = prepare("mine", *more)
    assert code == 2
    written = sorted((row["task"], row["split"], row["records"]) for row in done["prepared"])
    assert written == [(t, s, n) for t in ("a1", "e1") for s, n in (("test", 2), ("train", 20))]
    assert all(row["bytes"] > 0 for row in done["prepared"])
    assert done["skipped"] == []
    failed = {row["task"]: row["error"] for row in done["failed"]}
    assert list(failed) == sorted(failed)
    assert "RuntimeError('no such luck')" in failed["b1"]
    assert "is empty" in failed["c1"]
    assert "record train-20: the answer (answer) is empty" in failed["d1"]
    assert "did you mean 'version'" in failed["f1"]
    assert all("\n" not in error for error in failed.values())
    for name in failed:
        assert name in err.splitlines()[-1]
    code, done, _ = prepare("mine", *more)
    assert code == 2
    assert done["prepared"] == []
    assert done["skipped"] == ["a1", "e1"]


def test_a_changed_card_or_generator_is_prepared_again(tasks: Path, prepare):
    declare(tasks, a1="rows", b1="rows")
    assert prepare("mine/qa")[0] == 0
    (tasks / "a1.yaml").write_text((tasks / "a1.yaml").read_text().replace("[:2]", "[:3]"))
    code, done, _ = prepare("mine")
    assert (code, done["skipped"]) == (0, ["b1"])
    assert [(row["task"], row["records"]) for row in done["prepared"]] == [("a1", 20), ("a1", 3)]
    (tasks / "generate.py").write_text(GENERATOR + "\n# changed\n")
    assert prepare("a1", "mine/qa/b*")[1]["skipped"] == []


def test_limit_caps_and_is_not_taken_for_the_whole(tasks: Path, prepare, store: Store):
    declare(tasks, a1="rows")
    spec = Catalogue([tasks.parent.parent]).task("a1")
    assert prepare("a1", "--limit", "5")[1]["prepared"][0]["records"] == 5
    assert prepare("a1", "--limit", "5")[1]["skipped"] == ["a1"]
    assert prepare("a1")[1]["prepared"][0]["records"] == 20
    assert prepare("a1", "--limit", "5")[1]["skipped"] == ["a1"]
    assert store.count(spec, "train") == 20


def test_a_damaged_file_is_written_again(tasks: Path, prepare, store: Store):
    declare(tasks, a1="rows")
    prepare("a1")
    (store.root / "a1" / "train.array_record").write_bytes(b"short")
    code, done, _ = prepare("a1")
    assert (code, len(done["prepared"])) == (0, 2)


def test_a_worker_that_dies_fails_its_task_alone(tasks: Path, prepare, store: Store):
    declare(tasks, a1="rows", b1="dies", c1="rows", d1="rows")
    code, done, _ = prepare("mine", "--workers", "2")
    assert code == 2
    assert {row["task"] for row in done["prepared"]} == {"a1", "c1", "d1"}
    (failed,) = done["failed"]
    assert failed["task"] == "b1"
    assert "its process was ended by SIGKILL (out of memory?" in failed["error"]
    assert store.tasks() == ["a1", "c1", "d1"]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["mime"], "named 'mime'; did you mean 'mine'"),
        (["mine", "--data_dir", "/nowhere"], "--data_dir /nowhere is no folder"),
    ],
)
def test_a_mistake_is_one_line(tasks: Path, prepare, argv: list[str], says: str):
    declare(tasks, a1="rows")
    code, done, err = prepare(*argv)
    assert (code, done) == (2, {})
    assert err.startswith("flanmix: ") and err.count("\n") == 1
    assert says in err


def test_a_store_that_is_a_file_is_one_line(tasks: Path, prepare, store: Store):
    declare(tasks, a1="rows")
    store.root.write_text("")
    code, _, err = prepare("mine")
    assert code == 2
    assert err.startswith("flanmix: --store") and err.count("\n") == 1


@pytest.mark.parametrize("more", [(), ("--workers", "2")], ids=["here", "workers"])
def test_a_full_disk_stops_everything_in_one_line(
    tasks: Path, prepare, store: Store, more: tuple[str, ...]
):
    (tasks / "generate.py").write_text(GENERATOR)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", make(store.root)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    try:
        declare(tasks, a1="rows", b1="rows", c1="rows", d1="rows")
        code, done, err = prepare("mine", *more)
        assert (code, done) == (2, {})
        assert "is full" in err.splitlines()[-1] and err.splitlines()[-1].startswith("flanmix: ")
        assert not list(store.root.glob(".partial/*"))
        catalogue = Catalogue([tasks.parent.parent])
        assert all(store.verify(catalogue.task(name)) == [] for name in store.tasks())
    finally:
        subprocess.run(["umount", "--lazy", store.root], check=True)


def make(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def start(tasks: Path, store: Store, *more: str) -> subprocess.Popen:
    argv = ["prepare", "mine", "--store", str(store.root), *more]
    return subprocess.Popen(
        [sys.executable, "-m", "flanmix", *argv],
        cwd=ROOT,
        env={**os.environ, "FLANMIX_TASKS": str(tasks.parent.parent)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A suite that runs in the background of a shell passes on that it ignores SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.mark.parametrize("more", [(), ("--workers", "2")], ids=["here", "workers"])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_is_completed_by_running_it_again(
    tasks: Path, store: Store, prepare, how: signal.Signals, more: tuple[str, ...]
):
    declare(tasks, a1="rows", b1="slow", c1="slow")
    process = start(tasks, store, *more)
    partial = store.root / ".partial"
    deadline = time.monotonic() + 30
    while not (store.tasks() and list(partial.glob("b1"))) and time.monotonic() < deadline:
        time.sleep(0.05)
    if how == signal.SIGINT:
        os.killpg(process.pid, how)
        assert process.wait(10) == 130
        assert process.stderr.read().splitlines()[-1] == "flanmix: interrupted"
    else:
        process.kill()
        process.wait(10)
    process.stderr.close()
    assert store.tasks() == ["a1"]
    declare(tasks, b1="rows", c1="rows")
    wait_for_no_workers(process.pid)
    code, done, _ = prepare("mine")
    assert (code, done["skipped"]) == (0, ["a1"])
    assert {row["task"] for row in done["prepared"]} == {"b1", "c1"}
    assert not partial.exists()


def wait_for_no_workers(group: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("a worker outlives its parent")


def test_neither_tensorflow_nor_jax_is_imported(tasks: Path, store: Store):
    declare(tasks, a1="rows")
    program = (
        "import sys; from flanmix import cli; code = cli.main(sys.argv[1:]); "
        "print([m for m in ('tensorflow', 'jax', 'seqio', 'grain') if m in sys.modules]); "
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "prepare", "mine", "--store", str(store.root)],
        cwd=ROOT,
        env={**os.environ, "FLANMIX_TASKS": str(tasks.parent.parent)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
    assert done.stderr.splitlines()[0].startswith("prepared a1: train 20, test 2 (")
    assert "1 prepared (22 records" in done.stderr


def test_no_worker_is_started_for_nothing():
    workers.in_processes(lambda spec, tell: pytest.fail("called"), [], 4, pytest.fail)
