"""The report: one page that needs nothing else, and shows what the run left."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flanmix.errors import UserError
from flanmix.evaluate.evaluator import eval_tasks, evaluate
from flanmix.evaluate.scores import write_scores
from flanmix.pages.report import Headline, view, write_report
from flanmix.pages.run_summary import read_run
from tests.evaluate.collection import SPECS, Oracle, mixture, prepare
from tests.pages.reader import Page


def training_line(step, tasks):
    sums = {name: {"loss": 5.0 / step, "target_tokens": 10 + i} for i, name in enumerate(tasks)}
    tokens = sum(own["target_tokens"] for own in sums.values())
    more = {"learning_rate": 0.01, "examples": 4, "inputs_trimmed": 1, "targets_trimmed": 0}
    more |= {"decoder_fill": 0.5, "tokens_per_second": 10.0, "tasks": sums}
    return json.dumps({"step": step, "loss": 5.0 / step, "target_tokens": tokens, **more})


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "a <b>"
    folder.mkdir()
    store = prepare(tmp_path_factory.mktemp("store"))
    groups = {"seen_templates": mixture("s", ["fixed", "copied", "several"], [0])}
    groups["unseen_tasks"] = mixture("u", ["own"])
    tasks = eval_tasks(groups)
    write_scores(folder, evaluate(Oracle(wrong=[0, 1]), tasks, store, step=0))
    write_scores(folder, evaluate(Oracle(wrong=[1]), tasks, store, step=400, selection=5))
    lines = [training_line(step, ["fixed", "copied"]) for step in range(1, 401)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 401, "lo')
    (folder / "config.gin").write_text(
        "MIXTURE = 's'\nMODEL = @T5Config()\nBATCH_SIZE = 32\n"
        "INPUTS_LENGTH = 6\nTARGETS_LENGTH = 4\n"
    )
    (folder / "truncation.json").write_text(
        '{"tasks": {"copied": {"inputs": 0.125, "targets": 0}}}'
    )
    return folder


def test_the_page_needs_nothing_else_and_shows_the_run(run_dir):
    path = write_report(run_dir)
    assert path == run_dir / "report.html"
    page = Page(path.read_text())
    for wanted in ("a <b>", "seen templates", "majority class", "choosing", "400", *SPECS):
        assert wanted in page.text
    assert page.tags.count("svg") == 7  # loss, rate, scores, two clusters, two tasks' losses


def test_few_figures_come_first_and_none_is_missing(run_dir):
    shown = view(read_run(run_dir))
    names = [figure.name for figure in shown.headline]
    assert names[:2] == ["steps", "training loss"]
    assert names[2:] == ["seen templates", "unseen tasks", "inputs truncated"]
    assert shown.headline[-1].value == "25.0%"
    facts = dict(shown.facts)
    assert facts["learning rate, peak"] == "0.01"
    assert facts["tokens"] == f"{400 * 160:,}"
    assert facts["duration without evaluations"] == "1 h 47 min"
    assert [curve.name for curve in shown.scores.curves] == [
        "seen templates",
        "unseen tasks",
        "all tasks",
    ]
    assert len(shown.cluster_scores.lines) == 2
    assert [(row.name, row.values) for row in shown.cut.rows] == [("copied", (12.5, 0.0))]
    text = Page(write_report(run_dir).read_text()).text
    order = ["training loss", "Scores by step", "The run", "What was truncated", "Configuration"]
    assert sorted(order, key=text.index) == order
    for figure in (*shown.headline, *(Headline(*fact) for fact in shown.facts)):
        assert figure.value in text


def test_losses_are_averaged_over_intervals(run_dir):
    report = read_run(run_dir)
    assert report.log.steps == 400
    assert len(report.log.loss.points) == 160
    assert [line.name for line in report.log.tasks] == ["copied", "fixed"]
    step, loss = report.log.loss.points[0]
    assert (step, loss) == pytest.approx((2.0, (5 + 2.5 + 5 / 3) / 3))
    assert report.first["step"] == 0
    assert report.last["step"] == 400


def test_a_run_without_training_or_without_scores_is_shown(run_dir, tmp_path):
    (tmp_path / "metrics.jsonl").write_text(training_line(1, ["fixed"]) + "\n")
    shown = Page(write_report(tmp_path).read_text()).text
    assert "Training loss" in shown
    assert "Tasks and templates" not in shown
    assert "There are no scores" in shown
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "scores").symlink_to(run_dir / "scores")
    shown = Page(write_report(tmp_path).read_text()).text
    assert "Training loss" not in shown
    assert "Tasks and templates" in shown


def test_what_is_no_run_is_one_line(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        write_report(tmp_path / "nowhere")
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(UserError, match="can't be written"):
        write_report(tmp_path, tmp_path / "no" / "folder.html")


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_shown_as_text(tmp_path_factory, prompt, output):
    folder = tmp_path_factory.mktemp("run")
    (folder / "scores").mkdir()
    sample = {"task": "t", "template": 0, "inputs": prompt, "target": "<b>", "output": output}
    document = {"step": 1, "tasks": {}, "clusters": {}, "missing": [], "groups": {}, "details": {}}
    document["samples"] = [{**sample, "right": False}]
    (folder / "scores" / "000000001.json").write_text(json.dumps(document))
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    assert "b" not in page.tags
    assert page.tags.count("dd") == 4


def test_the_table_has_every_template_beside_what_summarises_them(run_dir):
    shown = view(read_run(run_dir))
    last = read_run(run_dir).last
    table = shown.table
    assert table.with_best
    assert table.columns == ("baseline", "before", "mean", "median", "best")
    assert {row.name for row in table.rows} == set(last["tasks"])
    for row in table.rows:
        task = last["details"][row.name]
        key = task["primary"] or next(iter(last["tasks"][row.name]))
        assert row.figures[2] == last["tasks"][row.name][key]
        for number, cell in zip(table.templates, row.cells, strict=True):
            assert cell.value == task["templates"].get(str(number), {}).get(key)
            assert cell.shade is None or 0 <= cell.shade <= 1
            assert cell.best == (bool(task["best"]) and task["best"]["template"] == number)


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        ("", "held out: cluster not seen in training"),
        ("cluster", "held out: only its cluster seen in training"),
        ("task", None),
        ("unknown", "seen in pretraining: unknown"),
    ],
)
def test_a_held_out_task_is_named_as_such(run_dir, seen, says):
    run = read_run(run_dir)
    details = {name: {**task, "seen": seen} for name, task in run.last["details"].items()}
    shown = view(replace(run, last={**run.last, "details": details}))
    for row in shown.table.rows:
        assert (says in row.label) if says else ("held out" not in row.label)


def test_a_task_that_could_not_be_scored_is_a_row_without_figures(run_dir):
    run = read_run(run_dir)
    name = next(iter(run.last["tasks"]))
    details = {**run.last["details"][name], "templates": {}, "median": {}, "unanswerable": 100.0}
    last = {
        **run.last,
        "tasks": {**run.last["tasks"], name: {}},
        "details": {**run.last["details"], name: details},
    }
    (row,) = [row for row in view(replace(run, last=last)).table.rows if row.name == name]
    assert row.figures[2:4] == (None, None)
    assert "100% of questions without an answer" in row.label
