"""The report: one page that needs nothing else, and shows what the run left."""

import argparse
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flanmix.errors import UserError
from flanmix.evaluate.evaluator import evaluate, plan
from flanmix.evaluate.scores import write_scores
from flanmix.pages.charts import Line, line_chart, ticks
from flanmix.pages.run_summary import read_run, write_report
from flanmix.verbs.report import main
from tests.evaluate.collection import SPECS, Oracle, mixture, prepare


class Page(HTMLParser):
    """Reads a page: its tags' balance, its text, and all that it would fetch."""

    VOID = frozenset({"meta", "br", "path"})

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.fetched, self.tags = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.fetched += [v for k, v in attributes if k in ("src", "href", "srcset", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def training_line(step, tasks):
    sums = {name: {"loss": 5.0 / step, "target_tokens": 10 + i} for i, name in enumerate(tasks)}
    tokens = sum(own["target_tokens"] for own in sums.values())
    return json.dumps({"step": step, "loss": 5.0 / step, "target_tokens": tokens, "tasks": sums})


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "a <b>"
    folder.mkdir()
    store = prepare(tmp_path_factory.mktemp("store"))
    groups = {"seen_templates": mixture("s", ["fixed", "copied", "several"], [0])}
    groups["unseen_tasks"] = mixture("u", ["own"])
    tasks = plan(groups)
    write_scores(folder, evaluate(Oracle(wrong=[0, 1]), tasks, store, step=0))
    write_scores(folder, evaluate(Oracle(wrong=[1]), tasks, store, step=400, selection=5))
    lines = [training_line(step, ["fixed", "copied"]) for step in range(1, 401)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 401, "lo')
    (folder / "config.gin").write_text("MIXTURE = 's'\nMODEL = @T5Config()\nBATCH_SIZE = 32\n")
    return folder


def test_the_page_needs_nothing_else_and_shows_the_run(run_dir):
    path = write_report(run_dir)
    assert path == run_dir / "report.html"
    text = path.read_text()
    page = Page(text)
    assert page.open == []
    assert page.fetched == []
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not re.search(r"url\(|@import|https?:", text)
    assert 'name="viewport"' in text
    shown = " ".join(page.text)
    for wanted in ("a <b>", "seen templates", "majority class", "choosing", "400", *SPECS):
        assert wanted in shown
    assert page.tags.count("svg") == 3


def test_losses_are_averaged_over_stretches(run_dir):
    report = read_run(run_dir)
    assert report.steps == 400
    assert len(report.loss.points) == 160
    assert [line.name for line in report.tasks] == ["copied", "fixed"]
    step, loss = report.loss.points[0]
    assert (step, loss) == pytest.approx((2.0, (5 + 2.5 + 5 / 3) / 3))
    assert report.first["step"] == 0
    assert report.last["step"] == 400


def test_a_run_without_training_or_without_scores_is_shown(run_dir, tmp_path):
    (tmp_path / "metrics.jsonl").write_text(training_line(1, ["fixed"]) + "\n")
    shown = " ".join(Page(write_report(tmp_path).read_text()).text)
    assert "Training loss" in shown
    assert "Tasks and templates" not in shown
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "scores").symlink_to(run_dir / "scores")
    shown = " ".join(Page(write_report(tmp_path).read_text()).text)
    assert "Training loss" not in shown
    assert "Tasks and templates" in shown


def test_what_is_no_run_is_one_line(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        write_report(tmp_path / "nowhere")
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(UserError, match="can't be written"):
        write_report(tmp_path, tmp_path / "no" / "folder.html")


def test_the_verb_prints_the_path(run_dir, capsys, tmp_path):
    args = argparse.Namespace(run_dir=str(run_dir), html=str(tmp_path / "r.html"), json=True)
    assert main(args) == 0
    assert json.loads(capsys.readouterr().out) == str(tmp_path / "r.html")


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
    assert page.open == []
    assert "b" not in page.tags
    assert page.tags.count("dd") == 4


@settings(max_examples=60)
@given(st.floats(1e-6, 1e6))
def test_ticks_are_few_and_within(high):
    marks = ticks(0.0, high)
    assert marks[0] == 0.0
    assert 2 <= len(marks) <= 7
    assert marks[-1] <= high * 1.001
    assert "nan" not in line_chart(Line("x", [(1, high)]), (0, 1))
