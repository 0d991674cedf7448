"""Two scatter plots as inline SVG: effectiveness against cost, and recall against latency.

Plain strings, so that the page is self-contained. Colours are CSS classes of the page, so that they follow its light
and dark scheme; every mark has a `<title>`, which a browser shows as a tooltip.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 460, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 34, 46


@dataclass(frozen=True, slots=True)
class Point:
    """A mark at (x, y) with its tooltip, and the ends of its error bar, if any."""

    x: float
    y: float
    title: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one system, joined by a line if `line`; `colour` is the system's number, from 0."""

    points: tuple[Point, ...]
    colour: int
    line: bool = False


def scatter(
    title: str,
    x_label: str,
    y_label: str,
    series: Sequence[Series],
    *,
    log_x: bool = False,
    y_most: float | None = None,
) -> str:
    """Return an SVG with axes, ticks, grid and the series, which must have at least one point.

    `y_most` is the largest possible y.
    """
    points = [point for one in series for point in one.points]
    x_axis = _Axis.around([point.x for point in points], log=log_x, start=_LEFT, stop=WIDTH - _RIGHT)
    ys = [y for point in points for y in (point.y, point.low, point.high) if y is not None]
    y_axis = _Axis.around(ys, log=False, start=HEIGHT - _BOTTOM, stop=_TOP, most=y_most)
    middle_x, middle_y = (_LEFT + WIDTH - _RIGHT) / 2, (HEIGHT - _BOTTOM + _TOP) / 2
    turned = f"translate(14 {middle_y:.0f}) rotate(-90)"
    parts = [
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f'<text class="title" x="{_LEFT}" y="18">{escape(title)}</text>',
        *_grid(x_axis, y_axis),
        f'<text class="axis" x="{middle_x:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_label)}</text>',
        f'<text class="axis" transform="{turned}" text-anchor="middle">{escape(y_label)}</text>',
    ]
    for one in series:
        parts += _draw(one, x_axis, y_axis)
    return "\n".join([*parts, "</svg>"])


@dataclass(frozen=True, slots=True)
class _Axis:
    """Maps values to pixels, and has the ticks."""

    low: float
    high: float
    start: float
    stop: float
    log: bool
    ticks: tuple[float, ...]

    @classmethod
    def around(
        cls, values: Sequence[float], *, log: bool, start: float, stop: float, most: float | None = None
    ) -> _Axis:
        low, high = min(values), max(values)
        if log and low > 0:
            # Whole steps of 1, 2, 5 around the values.
            powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
            steps = [multiple * 10.0**power for power in powers for multiple in (1, 2, 5)]
            first = max((step for step in steps if step <= low * 0.95), default=low)
            last = min((step for step in steps if step >= high * 1.05), default=high)
            return cls(first, last, start, stop, True, tuple(step for step in steps if first <= step <= last))
        span = (high - low) or abs(high) or 1.0
        step = _nice(span / 4)
        first = math.floor((low - span * 0.08) / step) * step
        if low >= 0:
            first = max(0.0, first)
        last = math.ceil((high + span * 0.08) / step) * step
        if most is not None:
            last = min(last, most)
        count = round((last - first) / step)
        return cls(first, last, start, stop, False, tuple(first + i * step for i in range(count + 1)))

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)


def _nice(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= step * 0.999)


def _tick(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".") if abs(value) < 1000 else f"{value:,.0f}"


def _grid(x_axis: _Axis, y_axis: _Axis) -> list[str]:
    bottom = HEIGHT - _BOTTOM
    parts = []
    for tick in x_axis.ticks:
        x = x_axis.at(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{_tick(tick)}</text>')
    for tick in y_axis.ticks:
        y = y_axis.at(tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{_tick(tick)}</text>')
    return parts


def _draw(series: Series, x_axis: _Axis, y_axis: _Axis) -> list[str]:
    pixels = [(x_axis.at(point.x), y_axis.at(point.y)) for point in series.points]
    colour = f"c{series.colour % 8}"
    parts = []
    if series.line and len(pixels) > 1:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
        parts.append(f'<polyline class="line {colour}" points="{path}"/>')
    for point, (x, y) in zip(series.points, pixels, strict=True):
        hint = f"<title>{escape(point.title)}</title>"
        if point.low is not None and point.high is not None:
            low, high = y_axis.at(point.low), y_axis.at(point.high)
            parts.append(f'<line class="line {colour}" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>')
        parts.append(f'<circle class="dot {colour}" cx="{x:.1f}" cy="{y:.1f}" r="4">{hint}</circle>')
    return parts
