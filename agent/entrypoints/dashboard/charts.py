"""Figures over time as stacked bars: where each bar stands in an SVG that needs no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 960
HEIGHT: Final = 240
_LEFT: Final = 48
_TOP: Final = 12
_BOTTOM: Final = 28
_GAP: Final = 0.22
_MOST_LABELS: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One piece of a column."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    """Of which series it is."""
    column: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A line of the scale, or a label under a column."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Stacked columns, ready to be drawn."""

    bars: tuple[Bar, ...]
    scale: tuple[Mark, ...]
    """From 0 up: where each line is, and what it stands for."""
    labels: tuple[Mark, ...]
    left: float = _LEFT
    width: int = WIDTH
    height: int = HEIGHT
    floor: float = HEIGHT - _BOTTOM


def stacked(labels: Sequence[str], series: Mapping[str, Sequence[int]]) -> Chart:
    """Columns with a piece for each of ``series``, the first at the bottom; each has a figure for each label."""
    totals = [sum(figures[column] for figures in series.values()) for column in range(len(labels))]
    top = nice_top(max(totals, default=0))
    floor, room = HEIGHT - _BOTTOM, HEIGHT - _BOTTOM - _TOP
    step = (WIDTH - _LEFT) / max(1, len(labels))
    bars = []
    for column in range(len(labels)):
        base = float(floor)
        for kind, figures in series.items():
            if count := figures[column]:
                height = room * count / top
                base -= height
                x = _LEFT + step * (column + _GAP / 2)
                bars.append(
                    Bar(
                        x=round(x, 2),
                        y=round(base, 2),
                        width=round(step * (1 - _GAP), 2),
                        height=round(height, 2),
                        kind=kind,
                        column=column,
                        count=count,
                    )
                )
    every = -(-len(labels) // _MOST_LABELS)
    return Chart(
        bars=tuple(bars),
        scale=tuple(Mark(at=floor - room * part / 4, text=str(top * part // 4)) for part in range(5)),
        labels=tuple(
            Mark(at=round(_LEFT + step * (column + 0.5), 2), text=label)
            for column, label in enumerate(labels)
            if column % every == 0
        ),
    )


def nice_top(most: int) -> int:
    """The top of a scale of four equal whole steps that ``most`` fits under.

    >>> [nice_top(most) for most in (0, 3, 5, 17, 41, 1234)]
    [4, 4, 8, 20, 80, 2000]
    """
    power = 1
    while True:
        for step in (1, 2, 3, 5):
            if 4 * step * power >= most:
                return 4 * step * power
        power *= 10
