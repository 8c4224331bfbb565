"""Bars as figures of SVG attributes: the same numbers stand in a table beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 600, 90
GAP = 0.2
# With fewer columns there is room at the right: no bar is as wide as the page.
FEWEST = 12


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle of a chart, of one of the kinds that the stylesheet colours, and its text."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Column:
    """Numbers that stand on each other, the lowest first, each with its kind; `text` says them."""

    parts: Sequence[tuple[str, float]]
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart: its size in units of its own, its bars, and the largest sum of a column."""

    bars: Sequence[Bar]
    most: float
    width: int = WIDTH
    height: int = HEIGHT


def chart(columns: Sequence[Column]) -> Chart:
    """The columns from left to right, the highest as high as the chart."""
    most = max((sum(value for _, value in column.parts) for column in columns), default=0.0)
    step = WIDTH / max(len(columns), FEWEST)
    bars = []
    for at, column in enumerate(columns):
        top = float(HEIGHT)
        for kind, value in column.parts:
            height = HEIGHT * value / most if most else 0.0
            if height:
                top -= height
                bars.append(
                    Bar(
                        round(at * step + step * GAP / 2, 2),
                        round(top, 2),
                        round(step * (1 - GAP), 2),
                        round(height, 2),
                        kind,
                        column.text,
                    )
                )
    return Chart(bars, most)
