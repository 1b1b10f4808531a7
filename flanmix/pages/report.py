r"""The report as one HTML page: no script, no font, no network; it reads well on a telephone too.

    page(Report(...))  ->  "<!doctype html>..."

All text of records and models is escaped; what is not printable is shown as `\x00`.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from flanmix.console import printable
from flanmix.pages.charts import STYLE as CHARTS_STYLE
from flanmix.pages.charts import Bar, bar_chart, line_chart, small_multiples

if TYPE_CHECKING:
    from flanmix.pages.run_summary import Report

_MOST_TASKS = 60  # small charts on a page
_MOST_SAMPLES = 120

_STYLE = """
:root { color-scheme: light; --ink: #1d2129; --soft: #667085; --line: #e4e7ec; --page: #fcfcfd;
  --track: #eef0f4; --before: #b3bfce; --after: #3b6fb6; --right: #2f7d57; --wrong: #b4532a; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 1.75rem 1.1rem 4rem; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 1.1rem; overflow-wrap: anywhere; letter-spacing: -.01em; }
h2 { font-size: 1.1rem; margin: 2.6rem 0 .3rem; }
h3 { font-size: .85rem; color: var(--soft); font-weight: 600; margin: 1.6rem 0 0; }
p { color: var(--soft); max-width: 46rem; margin: .2rem 0 .7rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .6rem;
  margin: 0; }
.facts div { border: 1px solid var(--line); border-radius: 8px; padding: .55rem .8rem; }
.facts dt { color: var(--soft); font-size: .8rem; }
.facts dd { margin: 0; font-size: 1.1rem; font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin-top: .6rem; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: .82rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .32rem .55rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
tbody tr:last-child td, tbody tr:last-child th { border-bottom: 0; }
thead th { color: var(--soft); font-weight: 600; font-size: .76rem; }
th:first-child { text-align: left; position: sticky; left: 0; background: var(--page);
  font-weight: 500; }
th small { display: block; color: var(--soft); font-weight: 400; }
td.cell { min-width: 2.6rem; text-align: center; }
td.cell.best { font-weight: 700; text-decoration: underline; text-underline-offset: 3px; }
.mean { font-weight: 600; }
details { border-top: 1px solid var(--line); padding: .55rem 0; }
summary { cursor: pointer; font-weight: 500; }
summary small { color: var(--soft); font-weight: 400; }
.sample { margin: .8rem 0 1.2rem; display: grid; grid-template-columns: 7.5rem 1fr;
  gap: .3rem .9rem; }
.sample dt { color: var(--soft); font-size: .8rem; padding-top: .1rem; }
.sample dd { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.sample dd.prompt { background: var(--track); border-radius: 6px; padding: .5rem .7rem; }
.right { color: var(--right); font-weight: 600; } .wrong { color: var(--wrong); }
pre { font-size: .78rem; line-height: 1.45; overflow-x: auto; background: var(--track);
  border-radius: 6px; padding: .7rem .9rem; }
@media (max-width: 40rem) { .sample { grid-template-columns: 1fr; gap: .1rem; }
  .sample dt { margin-top: .4rem; } .facts { grid-template-columns: 1fr 1fr; }
  th:first-child { max-width: 9rem; white-space: normal; overflow-wrap: anywhere; } }
"""


def page(report: "Report") -> str:
    """Returns the whole page."""
    name = escape(report.name)
    sections = [_facts(report), _scores(report), _loss(report), _tasks(report), _samples(report)]
    if report.configuration:
        text = escape(report.configuration)
        sections.append(
            f"<h2>Configuration</h2><details><summary>config.gin</summary>"
            f"<pre>{text}</pre></details>"
        )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}: report</title><style>{_STYLE}{CHARTS_STYLE}</style></head>\n"
        f"<body><h1>{name}</h1>\n" + "\n".join(filter(None, sections)) + "\n</body></html>\n"
    )


def _facts(report: "Report") -> str:
    facts = list(report.facts)
    if report.last is not None:
        facts.append(("tasks scored", str(len(report.last["tasks"]))))
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts
    )
    return f'<dl class="facts">{items}</dl>'


def _scores(report: "Report") -> str:
    """Bars by group and by cluster."""
    first, last = report.first, report.last
    if last is None:
        return ""
    parts = ["<h2>Scores</h2>"]
    names = (_earlier(first), f"after step {last['step']:,}")
    if groups := last["groups"]:
        bars = [
            Bar(
                name.replace("_", " "),
                first["groups"].get(name, {}).get("accuracy") if first else None,
                group["accuracy"],
                group["majority"],
            )
            for name, group in groups.items()
            if group["accuracy"] is not None
        ]
        if bars:
            parts.append(
                "<p>Accuracy of the classification tasks by rank, in per cent, mean over tasks and "
                f"templates.</p>{bar_chart(bars, names, 'majority class')}"
            )
    if bars := _cluster_bars(first, last):
        parts.append(
            "<h3>By cluster</h3><p>Mean over a cluster's tasks of each task's first metric.</p>"
            + bar_chart(bars, names, "majority class; for generation, copying the input")
        )
    if last["missing"]:
        names = escape(", ".join(last["missing"]))
        parts.append(f"<p>Not prepared, and left out: {names}.</p>")
    return "".join(parts)


def _cluster_bars(first: Mapping[str, Any] | None, last: Mapping[str, Any]) -> list[Bar]:
    baselines: dict[str, list[float]] = {}
    for task in last["details"].values():
        value = task["baseline"].get(task["primary"])
        baselines.setdefault(task["cluster"], []).extend([] if value is None else [value])
    counts = {c: sum(t["cluster"] == c for t in last["details"].values()) for c in baselines}
    return [
        Bar(
            cluster.replace("_", " "),
            first["clusters"].get(cluster) if first else None,
            after,
            _mean(baselines[cluster]),
            f"{counts[cluster]} task{'s' if counts[cluster] > 1 else ''}",
        )
        for cluster, after in last["clusters"].items()
    ]


def _loss(report: "Report") -> str:
    if report.loss is None:
        return ""
    text = (
        "<h2>Training loss</h2><p>Cross entropy a target token, in nats.</p>"
        f"{line_chart(report.loss, (0, report.steps))}"
    )
    if report.tasks:
        shown = sorted(report.tasks[:_MOST_TASKS], key=lambda line: line.name)
        more = ""
        if len(shown) < len(report.tasks):
            more = f" The {len(shown)} of {len(report.tasks)} tasks with the most tokens."
        text += (
            "<h3>By task</h3><p>All on the scale of the highest loss; the figure is the last "
            f"value.{more}</p>{small_multiples(shown, (0, report.steps))}"
        )
    return text


def _tasks(report: "Report") -> str:
    """One row a task: its figures, and its templates one by one."""
    if report.last is None:
        return ""
    details = report.last["details"]
    templates = sorted({int(number) for task in details.values() for number in task["templates"]})
    before = [_earlier(report.first)] if report.first else []
    best = ["best"] if any(task["best"] for task in details.values()) else []
    names = ["baseline", *before, "mean", "median", *best, *map(str, templates)]
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = []
    for name, task in sorted(details.items(), key=lambda item: (item[1]["cluster"], item[0])):
        first = report.first["tasks"].get(name, {}) if report.first else None
        mean = report.last["tasks"][name]
        rows.append(_task_row(name, task, mean, first, bool(best), templates))
    chosen = "the template that is best on validation records (underlined), " if best else ""
    return (
        "<h2>Tasks and templates</h2><p>The first metric of each task: baseline, mean and median "
        f"over templates, {chosen}and every template by its number.</p>"
        f'<div class="wide"><table><thead><tr><th>task</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


_SEEN = {
    "": " · unseen cluster",
    "cluster": " · trained on its cluster",
    "task": "",
    "unknown": "",
}


def _task_row(
    name: str,
    task: Mapping[str, Any],
    mean: Mapping[str, float],
    first: Mapping[str, float] | None,
    with_best: bool,
    templates: Iterable[int],
) -> str:
    key = task["primary"] or next(iter(mean))
    best = task["best"]
    figures = [task["baseline"].get(key), *([] if first is None else [first.get(key)])]
    cells = [f"<td>{_figure(value)}</td>" for value in figures]
    cells.append(f'<td class="mean">{_figure(mean[key])}</td>')
    cells.append(f"<td>{_figure(task['median'][key])}</td>")
    if with_best:
        cells.append(f"<td>{_figure(best['metrics'][key] if best else None)}</td>")
    for number in templates:
        value = task["templates"].get(str(number), {}).get(key)
        chosen = " best" if best and best["template"] == number else ""
        shade = "" if value is None or not task["primary"] else _shade(value)
        cells.append(f'<td class="cell{chosen}"{shade}>{_figure(value)}</td>')
    label = f"{escape(task['cluster'].replace('_', ' '))} · {escape(key)}"
    label += _SEEN[task["seen"]]
    if task["trimmed"]:
        label += f" · {task['trimmed']:.0f}% of inputs cut"
    return f"<tr><th>{escape(name)}<small>{label}</small></th>{''.join(cells)}</tr>"


def _shade(value: float) -> str:
    """A cell's ground: the higher the score, the deeper."""
    return f' style="background:rgba(59,111,182,{min(1.0, max(0.0, value / 100)) * 0.42:.3f})"'


def _samples(report: "Report") -> str:
    """Questions with what was asked for and what came, task by task."""
    if report.last is None or not report.last["samples"]:
        return ""
    samples = report.first["samples"] if report.first else []
    before = {(s["task"], s["template"], s["inputs"]): s["output"] for s in samples}
    by_task: dict[str, list[str]] = {}
    for sample in report.last["samples"][:_MOST_SAMPLES]:
        asked = (sample["task"], sample["template"], sample["inputs"])
        by_task.setdefault(sample["task"], []).append(
            _sample(sample, before.get(asked), _earlier(report.first))
        )
    blocks = [
        f"<details{' open' if i == 0 else ''}><summary>{escape(task)}</summary>"
        f"{''.join(texts)}</details>"
        for i, (task, texts) in enumerate(sorted(by_task.items()))
    ]
    return f"<h2>Samples</h2>{''.join(blocks)}"


def _sample(sample: Mapping[str, Any], before: str | None, earlier: str) -> str:
    rows = [
        (f"template {sample['template']}", "prompt", sample["inputs"]),
        ("target", "", sample["target"]),
    ]
    if before is not None:
        rows.append((earlier, "", before))
    verdict = "right" if sample["right"] else "wrong"
    mark = "✓" if sample["right"] else "✗"
    rows.append((f"output {mark}", verdict, sample["output"]))
    items = "".join(
        f'<dt>{label}</dt><dd class="{kind}" dir="auto">{escape(printable(text)) or "–"}</dd>'
        for label, kind, text in rows
    )
    return f'<dl class="sample">{items}</dl>'


def _earlier(first: Mapping[str, Any] | None) -> str:
    """What the first evaluation is called: `before` if it came before the first step."""
    return f"step {first['step']:,}" if first and first["step"] else "before"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
