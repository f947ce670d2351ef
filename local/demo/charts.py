"""Line charts over the seconds of a run, as inline SVG that takes its colours from the page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WIDTH, HEIGHT = 860, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 128, 14, 36
_LABEL_GAP = 15
_TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600)
_MOST_TICKS = 12
_SECOND = 3
"""The power of ten of a second in milliseconds."""


@dataclass(frozen=True)
class Line:
    """One value per second; None where there was nothing to measure. `style` is a class of the page's style sheet."""

    label: str
    style: str
    values: Sequence[float | None]


@dataclass(frozen=True)
class Axis:
    """How values become heights between 0 and 1, and which of them are named at the side."""

    height: Callable[[float], float]
    ticks: Sequence[tuple[float, str]]


def percent_axis() -> Axis:
    """Return an axis from 0 to 100 % for shares."""
    return Axis(
        lambda share: min(1.0, max(0.0, share)), [(tick / 100, f"{tick} %") for tick in (0, 25, 50, 75, 90, 100)]
    )


def latency_axis(lines: Sequence[Line]) -> Axis:
    """Return a logarithmic axis for milliseconds, from the power of ten below all values to the one above."""
    values = [max(value, 0.1) for line in lines for value in line.values if value is not None] or [1.0, 1000.0]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    span = max(1, high - low)
    ticks = [(10.0**power, _duration(power)) for power in range(low, low + span + 1)]
    return Axis(lambda value: (math.log10(max(value, 0.1)) - low) / span, ticks)


def _duration(power: int) -> str:
    return f"{10 ** (power - _SECOND):g} s" if power >= _SECOND else f"{10.0**power:g} ms"


def chart(title: str, lines: Sequence[Line], axis: Axis, warm_up: float) -> str:
    """Draw the lines over time; the warm-up's seconds are shaded."""
    seconds = max(1, *(len(line.values) for line in lines))
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT

    def x(second: float) -> float:
        return LEFT + (right - LEFT) * second / seconds

    def y(value: float) -> float:
        return bottom - (bottom - TOP) * axis.height(value)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    if warm_up:
        parts.append(
            f'<rect class="warm" x="{LEFT}" y="{TOP}" width="{x(warm_up) - LEFT:.1f}" height="{bottom - TOP}"/>'
        )
        parts.append(f'<text class="note" x="{LEFT + 6}" y="{bottom - 8}">warm-up</text>')
    for value, name in axis.ticks:
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{name}</text>')
    step = next((tick for tick in _TICKS if seconds / tick <= _MOST_TICKS), _TICKS[-1])
    parts += [
        f'<text class="tick" x="{x(second):.1f}" y="{bottom + 18}" text-anchor="middle">{second} s</text>'
        for second in range(0, seconds + 1, step)
    ]
    for line in lines:
        points = [(x(index + 0.5), y(value)) if value is not None else None for index, value in enumerate(line.values)]
        parts.append(f'<path class="line {line.style}" d="{_path(points)}"/>')
    parts += _labels(lines, right + 8, y, bottom)
    return "\n".join([*parts, "</svg>"])


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    """Join the points; a missing one leaves a gap."""
    commands, drawing = [], False
    for point in points:
        if point is not None:
            commands.append(f"{'L' if drawing else 'M'}{point[0]:.1f} {point[1]:.1f}")
        drawing = point is not None
    return " ".join(commands)


def _labels(lines: Sequence[Line], left: float, y: Callable[[float], float], bottom: float) -> list[str]:
    """Name each line at its end, moved apart where two ends meet."""
    ends = []
    for line in lines:
        last = next((value for value in reversed(line.values) if value is not None), None)
        if last is not None:
            ends.append((y(last), line))
    placed: list[tuple[float, Line]] = []
    for height, line in sorted(ends, key=lambda one: one[0]):
        lowest = placed[-1][0] + _LABEL_GAP if placed else TOP
        placed.append((max(height, lowest), line))
    overflow = max(0.0, placed[-1][0] - bottom) if placed else 0.0
    return [
        f'<text class="label {line.style}" x="{left}" y="{height - overflow + 4:.1f}">{escape(line.label)}</text>'
        for height, line in placed
    ]
