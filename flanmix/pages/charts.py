"""Charts as numbers: points, ticks and widths; `templates/charts.html.j2` draws them.

    line_chart([Line("loss", [(1, 6.9), (90, 1.2)])], (0, 100))
    ->  LineChart(curves=(Curve("loss", "line0", "M10.0 137.5L900.0 850.0", dots=""),),
                  marks=(Mark("0", 100.0), ..., Mark("8", 0.0)), below=("step 0", "50", "100"))

They are drawn by hand, as SVG lines and plain boxes, and not by matplotlib: a line's SVG is
stretched to the width that it gets while its stroke stays as wide as it was, and the labels are the
page's own text; so a chart can be read on a telephone and in dark mode as on a screen. And a
training run ends with its report without the 95 MB that matplotlib and what it needs take on disk,
and the second or two of importing them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]
_SIZE = 1000.0  # width and height of an SVG in its own units: the viewBox of charts.html.j2
PERCENT = (0, 25, 50, 75, 100)
COLOURS = 6  # style.css has line0 to line5
_MOST_DOTS = 20  # points of a line that are drawn as such


@dataclass(frozen=True)
class Line:
    """A named line through points that go from left to right."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Series:
    """One of the values that each row of a bar chart has.

    Attributes:
        kind: its class in style.css, which gives it a colour.
        name: its name in the key.
    """

    kind: str
    name: str


@dataclass(frozen=True)
class Bar:
    """A row of a bar chart.

    Attributes:
        name: what the row is of.
        values: one for each series, None where there is none.
        baseline: what to compare them with, or None.
        note: said under the name.
    """

    name: str
    values: tuple[float | None, ...]
    baseline: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Mark:
    """A tick's label, and where it is: percent from the left or from the top."""

    text: str
    at: float


@dataclass(frozen=True)
class Curve:
    """A line as it is drawn: its class in style.css, an SVG path, and one of its points if few."""

    name: str
    kind: str
    path: str
    dots: str = ""


@dataclass(frozen=True)
class LineChart:
    """Lines over a grid: marks on the left, and three labels below."""

    curves: tuple[Curve, ...]
    marks: tuple[Mark, ...]
    below: tuple[str, str, str]


@dataclass(frozen=True)
class SmallLine:
    """One of many small lines, with its last value."""

    curve: Curve
    last: float


@dataclass(frozen=True)
class SmallLines:
    """Small lines on one scale, from 0 to `top`."""

    lines: tuple[SmallLine, ...]
    top: float


@dataclass(frozen=True)
class Box:
    """A bar: its class in style.css and its width in percent."""

    kind: str
    width: float


@dataclass(frozen=True)
class BarRow:
    """A row as it is drawn; `line` is where the baseline is, in percent from the left."""

    name: str
    note: str
    values: tuple[float | None, ...]
    boxes: tuple[Box, ...]
    line: float | None


@dataclass(frozen=True)
class BarChart:
    """Rows of bars on one scale; `baseline` is what the line is called, empty if there is none."""

    key: tuple[Series, ...]
    baseline: str
    rows: tuple[BarRow, ...]
    marks: tuple[Mark, ...]


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from `low` to `high`, about `count` of them."""
    span = (high - low) or 1.0
    step = 10.0 ** math.floor(math.log10(span / count))
    step *= next((m for m in (1, 2, 5) if span / (step * m) <= count), 10)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def scale(top: float) -> list[float]:
    """Round numbers from 0 to the first that is not under `top`."""
    marks = ticks(0.0, top or 1.0)
    if marks[-1] < top:
        marks.append(round(2 * marks[-1] - marks[-2], 10) if len(marks) > 1 else top)
    return marks


def line_chart(
    lines: Sequence[Line],
    x_range: Point,
    unit: str = "step",
    marks: Sequence[float] = (),
) -> LineChart:
    """Returns lines on one scale from 0 up.

    Args:
        lines: what is drawn; one without points keeps its colour to itself.
        x_range: the x values at the left and at the right.
        unit: what x counts.
        marks: the scale, from 0; round numbers to beyond the highest value if there are none.
    """
    left, right = x_range
    values = marks or scale(max(y for line in lines for _, y in line.points))
    high = values[-1]
    return LineChart(
        curves=tuple(
            _curve(line, x_range, high, number) for number, line in enumerate(lines) if line.points
        ),
        marks=tuple(Mark(f"{value:g}", 100 * (1 - value / high)) for value in values),
        below=(f"{unit} {left:,.0f}", f"{(left + right) / 2:,.0f}", f"{right:,.0f}"),
    )


def small_multiples(lines: Sequence[Line], x_range: Point, top: float | None = None) -> SmallLines:
    """Returns the lines on one and the same scale.

    Args:
        lines: what is drawn, at least one.
        x_range: the x values at the left and at the right.
        top: the end of the scale; the highest value of all if not given.
    """
    high = max(y for line in lines for _, y in line.points) if top is None else top
    small = (SmallLine(_curve(line, x_range, high, 0), line.points[-1][1]) for line in lines)
    return SmallLines(tuple(small), high)


def bar_chart(
    bars: Sequence[Bar],
    series: Sequence[Series],
    baseline: str = "",
    marks: Sequence[float] = PERCENT,
) -> BarChart:
    """Returns a row a bar, from 0 to the last mark; what is beyond is drawn up to there.

    Args:
        bars: the rows.
        series: what the rows' values are, in order; one that no row has is not in the key.
        baseline: what to call the baseline.
        marks: the scale, from 0.
    """

    def across(value: float) -> float:
        return min(100.0, max(0.0, 100 * value / marks[-1]))

    rows = []
    for bar in bars:
        pairs = zip(series, bar.values, strict=True)
        boxes = (Box(own.kind, across(value)) for own, value in pairs if value is not None)
        line = None if bar.baseline is None else across(bar.baseline)
        rows.append(BarRow(bar.name, bar.note, bar.values, tuple(boxes), line))
    there = {box.kind for row in rows for box in row.boxes}
    return BarChart(
        key=tuple(own for own in series if own.kind in there),
        baseline=baseline if any(row.line is not None for row in rows) else "",
        rows=tuple(rows),
        marks=tuple(Mark(f"{mark:g}", across(mark)) for mark in marks),
    )


def _curve(line: Line, x_range: Point, high: float, number: int) -> Curve:
    corners = _corners(line.points, x_range, high)
    few = len(corners) <= _MOST_DOTS
    return Curve(
        name=line.name,
        kind=f"line{number % COLOURS}",
        path=f"M{'L'.join(corners)}" if corners else "",
        dots="".join(f"M{corner}h0" for corner in corners) if few else "",
    )


def _corners(points: Sequence[Point], x_range: Point, high: float) -> list[str]:
    """Points on a scale from 0 to `high`, the greatest y at the top; y is clipped to it."""
    left, right = x_range
    corners = []
    for x, y in points:
        across = (x - left) / ((right - left) or 1.0)
        up = min(1.0, max(0.0, y / (high or 1.0)))
        corners.append(f"{across * _SIZE:.1f} {(1 - up) * _SIZE:.1f}")
    return corners
