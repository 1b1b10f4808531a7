"""Charts for a page: inline SVG for lines, plain boxes for bars, all text as text of the page.

A line's SVG is stretched to the room it has while its stroke keeps its width, and labels stand
beside it as HTML: so a chart reads as well on a telephone as on a screen. Nothing here needs a
script or a file beside the page.

    line_chart(Line("loss", [(1, 6.9), (90, 1.2)]), (0, 100))  ->  '<figure class="chart">...'
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float]
_WIDTH, _HEIGHT = 1000.0, 400.0  # the SVG's own units; the page stretches them


@dataclass(frozen=True)
class Line:
    """A named line through points that go from left to right."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Bar:
    """A row of the bar chart: before and after, beside a baseline; each 0 to 100 or None."""

    name: str
    before: float | None
    after: float | None
    baseline: float | None
    note: str = ""


STYLE = """
.chart { margin: .5rem 0 0; display: grid; grid-template-columns: auto 1fr; gap: .2rem .5rem; }
.chart .plot { position: relative; height: var(--height, 15rem); }
.chart svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; }
.chart path { fill: none; stroke: var(--after); stroke-width: 1.6; stroke-linejoin: round;
  vector-effect: non-scaling-stroke; }
.chart .rule { stroke: var(--line); stroke-width: 1; }
.chart .y { position: relative; min-width: 2.4rem; }
.chart .y span { position: absolute; right: 0; transform: translateY(-50%); }
.chart .x { grid-column: 2; display: flex; justify-content: space-between; }
.chart .x, .chart .y { color: var(--soft); font-size: .75rem; font-variant-numeric: tabular-nums; }
.multiples { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr));
  gap: 1.1rem 1.4rem; margin-top: .8rem; }
.multiples figure { margin: 0; min-width: 0; }
.multiples figcaption { display: flex; justify-content: space-between; gap: .5rem;
  font-size: .78rem; font-variant-numeric: tabular-nums; margin-bottom: .2rem; }
.multiples figcaption span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.multiples figcaption b { font-weight: 600; }
.multiples .plot { position: relative; height: 3.2rem; border-bottom: 1px solid var(--line); }
.multiples svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; }
.multiples path { fill: none; stroke: var(--after); stroke-width: 1.4;
  vector-effect: non-scaling-stroke; }
.bars { display: grid; gap: .85rem; margin-top: .6rem; }
.row { display: grid; grid-template-columns: minmax(7rem, 13rem) 1fr 6.6rem; gap: .2rem .9rem;
  align-items: center; }
.row .name { overflow-wrap: anywhere; line-height: 1.25; }
.row .name small { display: block; color: var(--soft); font-size: .75rem; }
.row .track { position: relative; display: grid; gap: 2px; background: var(--track);
  border-radius: 2px; }
.row .track i { display: block; height: .5rem; min-width: 1px; border-radius: 2px; }
.row .track i.before { background: var(--before); }
.row .track i.after { background: var(--after); }
.row .track b { position: absolute; top: -.22rem; bottom: -.22rem; width: 2px; margin-left: -1px;
  background: var(--ink); }
.scale .x { display: flex; justify-content: space-between; color: var(--soft);
  font-size: .75rem; font-variant-numeric: tabular-nums; margin-top: -.4rem; }
.scale .x span { width: 0; display: flex; justify-content: center; }
.row .figures { text-align: right; font-variant-numeric: tabular-nums; font-size: .85rem; }
.row .figures small { color: var(--soft); }
.key { color: var(--soft); font-size: .8rem; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; }
.key i { display: inline-block; width: .7rem; height: .7rem; border-radius: 2px;
  margin-right: .35rem; }
.key i.line { width: 2px; height: .85rem; background: var(--ink); vertical-align: -.1rem; }
@media (max-width: 40rem) {
  .row { grid-template-columns: 1fr auto; }
  .row .track, .scale .x { grid-column: 1 / -1; grid-row: 2; }
}
"""


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from `low` to `high`, about `count` of them."""
    span = (high - low) or 1.0
    step = 10.0 ** math.floor(math.log10(span / count))
    step *= next((m for m in (1, 2, 5) if span / (step * m) <= count), 10)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _path(points: Sequence[Point], x_range: Point, y_range: Point) -> str:
    """An SVG path of the points, the greatest y at the top; what lies outside is cut off."""
    (left, right), (low, high) = x_range, y_range
    places = []
    for x, y in points:
        across = (x - left) / ((right - left) or 1.0)
        up = min(1.0, max(0.0, (y - low) / ((high - low) or 1.0)))
        places.append(f"{across * _WIDTH:.1f} {(1 - up) * _HEIGHT:.1f}")
    return f'<path d="M{"L".join(places)}"/>' if places else ""


def _svg(inside: str, label: str) -> str:
    box = f"0 0 {_WIDTH:g} {_HEIGHT:g}"
    return (
        f'<svg viewBox="{box}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}">{inside}</svg>'
    )


def line_chart(line: Line, x_range: Point, unit: str = "step") -> str:
    """Returns one line over a grid, from 0 up, with ticks on both sides."""
    top = max(y for _, y in line.points)
    marks = ticks(0.0, top)
    if marks[-1] < top:
        marks.append(round(2 * marks[-1] - marks[-2], 10) if len(marks) > 1 else top)
    high = marks[-1] or 1.0
    rules = "".join(
        f'<path class="rule" d="M0 {y:.1f}L{_WIDTH:g} {y:.1f}"/>'
        for y in ((1 - mark / high) * _HEIGHT for mark in marks)
    )
    labels = "".join(
        f'<span style="top:{100 * (1 - mark / high):.2f}%">{mark:g}</span>' for mark in marks
    )
    inside = rules + _path(line.points, x_range, (0.0, high))
    middle = (x_range[0] + x_range[1]) / 2
    below = [f"{unit} {x_range[0]:,.0f}", f"{middle:,.0f}", f"{x_range[1]:,.0f}"]
    return (
        f'<figure class="chart"><div class="y">{labels}</div>'
        f'<div class="plot">{_svg(inside, line.name)}</div>'
        f'<div class="x">{"".join(f"<span>{text}</span>" for text in below)}</div></figure>'
    )


def small_multiples(lines: Sequence[Line], x_range: Point) -> str:
    """Returns many small lines on one and the same scale, each with its last value."""
    high = max(y for line in lines for _, y in line.points)
    figures = []
    for line in lines:
        inside = _path(line.points, x_range, (0.0, high))
        name = escape(line.name)
        figures.append(
            f'<figure><figcaption><span title="{name}">{name}</span>'
            f"<b>{line.points[-1][1]:.2f}</b></figcaption>"
            f'<div class="plot">{_svg(inside, line.name)}</div></figure>'
        )
    return f'<div class="multiples">{"".join(figures)}</div>'


def bar_chart(bars: Sequence[Bar], names: tuple[str, str], baseline: str) -> str:
    """Returns a row a bar, from 0 to 100: before above after, the baseline as a line across.

    Args:
        bars: the rows.
        names: what to call before and after in the key.
        baseline: what to call the line.
    """
    before, after = map(escape, names)
    key = []
    if any(bar.before is not None for bar in bars):
        key.append(f'<span><i style="background:var(--before)"></i>{before}</span>')
    key.append(f'<span><i style="background:var(--after)"></i>{after}</span>')
    if any(bar.baseline is not None for bar in bars):
        key.append(f'<span><i class="line"></i>{escape(baseline)}</span>')
    rows = "".join(_row(bar) for bar in bars)
    scale = "".join(f"<span>{mark}</span>" for mark in (0, 25, 50, 75, 100))
    rows += f'<div class="row scale"><div class="name"></div><div class="x">{scale}</div></div>'
    return f'<div class="key">{"".join(key)}</div><div class="bars">{rows}</div>'


def _row(bar: Bar) -> str:
    def box(value: float | None, kind: str) -> str:
        if value is None:
            return ""
        return f'<i class="{kind}" style="width:{min(100.0, max(0.0, value)):.2f}%"></i>'

    line = ""
    if bar.baseline is not None:
        line = f'<b style="left:{min(100.0, max(0.0, bar.baseline)):.2f}%"></b>'
    note = f"<small>{escape(bar.note)}</small>" if bar.note else ""
    before = f"<small>{bar.before:.1f} → </small>" if bar.before is not None else ""
    after = f"{bar.after:.1f}" if bar.after is not None else "–"
    return (
        f'<div class="row"><div class="name">{escape(bar.name)}{note}</div><div class="track">'
        f"{box(bar.before, 'before')}{box(bar.after, 'after')}{line}</div>"
        f'<div class="figures">{before}{after}</div></div>'
    )
