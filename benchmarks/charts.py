"""Pictures as SVG, written by hand. Bars have a line from the lowest to the highest figure, and so have the points of curves. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from benchmarks.figures import Spread, shown
from benchmarks.plan import Chart, Curves

WIDTH, VALUE, ROW, TOP = 760, 150, 26, 44
LETTER = 6.8
"""How wide one is, about."""
OURS, THEIRS, TEXT, LINE, GRID, BEYOND = "#0f766e", "#94a3b8", "#334155", "#1e293b", "#e2e8f0", "#ea580c"
_LEFT, _RIGHT, _HEIGHT, _BOTTOM = 64, 250, 260, 44
_OUR_COLOURS = ("#0f766e", "#14b8a6", "#65a30d", "#0369a1", "#7c3aed", "#be185d")
_THEIR_COLOURS = ("#ea580c", "#a16207", "#94a3b8", "#64748b")


def svg(chart: Chart | Curves) -> str:
    """Draw a chart; what begins with ``oncegate`` has its colours."""
    return _bars(chart) if isinstance(chart, Chart) else _curves(chart)


def _page(title: str, height: int, lines: Sequence[str]) -> str:
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        f' font-family="system-ui, sans-serif" font-size="13" fill="{TEXT}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="8" y="24" font-size="15" font-weight="600">{escape(title)}</text>',
    ]
    return "\n".join([*head, *lines, "</svg>"]) + "\n"


def _bars(chart: Chart) -> str:
    left = 16 + LETTER * max(len(label) for label, _ in chart.bars)
    most = max([*(figure.high for _, figure in chart.bars), chart.limit or 0]) or 1
    scale = (WIDTH - left - VALUE) / most
    height = TOP + ROW * len(chart.bars) + 8
    lines: list[str] = []
    if chart.limit is not None:
        x = left + scale * chart.limit
        lines.append(f'<path d="M{x:.1f} {TOP - 6}V{height - 4}" stroke="{LINE}" stroke-dasharray="4 3"/>')
    for number, (label, figure) in enumerate(chart.bars):
        y = TOP + ROW * number
        middle, low, high = (left + scale * value for value in figure)
        lines += [
            f'<text x="{left - 8:.1f}" y="{y + 14}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{left:.1f}" y="{y + 2}" width="{max(1, middle - left):.1f}" height="16"'
            f' fill="{_colour_of_bar(chart, label, figure)}"/>',
            f'<path d="M{low:.1f} {y + 10}H{high:.1f}M{low:.1f} {y + 6}v8M{high:.1f} {y + 6}v8" stroke="{LINE}"/>',
            f'<text x="{high + 8:.1f}" y="{y + 14}">{shown(figure.median)} {escape(chart.unit)}</text>',
        ]
    return _page(chart.title, height, lines)


def _colour_of_bar(chart: Chart, label: str, figure: Spread) -> str:
    if chart.limit is not None:
        return OURS if figure.median <= chart.limit else BEYOND
    return OURS if label.startswith("oncegate") else THEIRS


def _curves(chart: Curves) -> str:
    figures = [figure for line in chart.lines.values() for figure in line.values()]
    low, high = _decades(figures)
    step = (WIDTH - _LEFT - _RIGHT) / max(1, len(chart.places) - 1)

    def x_of(place: str) -> float:
        return _LEFT + step * chart.places.index(place)

    def y_of(value: float) -> float:
        return TOP + _HEIGHT * (1 - (math.log10(max(value, 10**low)) - low) / (high - low))

    lines: list[str] = []
    for power in range(low, high + 1):
        y = y_of(10**power)
        lines += [
            f'<path d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}" stroke="{GRID}"/>',
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{10**power:,g}</text>',
        ]
    for place in chart.places:
        y = TOP + _HEIGHT + 18
        lines.append(f'<text x="{x_of(place):.1f}" y="{y}" text-anchor="middle">{escape(place)}</text>')
    words = f"{chart.unit}, each line of the grid ten times the one below"
    lines.append(f'<text x="{_LEFT}" y="{TOP + _HEIGHT + 36}" font-size="11">{escape(words)}</text>')
    for number, (label, line) in enumerate(chart.lines.items()):
        colour = _colour(label, list(chart.lines))
        points = [(x_of(place), figure) for place, figure in line.items()]
        path = "L".join(f"{x:.1f} {y_of(figure.median):.1f}" for x, figure in points)
        lines.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, figure in points:
            lines += [
                f'<circle cx="{x:.1f}" cy="{y_of(figure.median):.1f}" r="3" fill="{colour}"/>',
                f'<path d="M{x:.1f} {y_of(figure.low):.1f}V{y_of(figure.high):.1f}" stroke="{colour}"/>',
            ]
        y = TOP + 8 + 20 * number
        lines += [
            f'<path d="M{WIDTH - _RIGHT + 16} {y}h18" stroke="{colour}" stroke-width="3"/>',
            f'<text x="{WIDTH - _RIGHT + 40}" y="{y + 4}" font-size="12">{escape(label)}</text>',
        ]
    return _page(chart.title, TOP + _HEIGHT + _BOTTOM, lines)


def _decades(figures: Sequence[Spread]) -> tuple[int, int]:
    """Return the powers of ten between which all figures lie; of nothing they cannot be taken."""
    least = math.floor(math.log10(min(max(figure.low, 1e-3) for figure in figures)))
    most = math.ceil(math.log10(max(max(figure.high, 1e-3) for figure in figures)))
    return least, max(most, least + 1)


def _colour(label: str, labels: Sequence[str]) -> str:
    ours = label.startswith("oncegate")
    same = [other for other in labels if other.startswith("oncegate") == ours]
    colours = _OUR_COLOURS if ours else _THEIR_COLOURS
    return colours[same.index(label) % len(colours)]
