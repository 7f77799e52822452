"""Bars as SVG, written by hand: a rectangle for the median, a line from the lowest to the highest. Pure."""

from __future__ import annotations

from html import escape

from benchmarks.figures import shown
from benchmarks.plan import Chart

WIDTH, LABEL, VALUE, ROW, TOP = 760, 250, 150, 26, 44
OURS, THEIRS, TEXT, LINE = "#0f766e", "#94a3b8", "#334155", "#1e293b"


def svg(chart: Chart) -> str:
    """Draw a chart; bars whose label begins with ``oncegate`` have its colour."""
    most = max(figure.high for _, figure in chart.bars) or 1
    scale = (WIDTH - LABEL - VALUE) / most
    height = TOP + ROW * len(chart.bars) + 8
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        f' font-family="system-ui, sans-serif" font-size="13" fill="{TEXT}">',
        f"<title>{escape(chart.title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="8" y="24" font-size="15" font-weight="600">{escape(chart.title)}</text>',
    ]
    for number, (label, figure) in enumerate(chart.bars):
        y = TOP + ROW * number
        colour = OURS if label.startswith("oncegate") else THEIRS
        middle, low, high = (LABEL + scale * value for value in figure)
        lines += [
            f'<text x="{LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{LABEL}" y="{y + 2}" width="{max(1, middle - LABEL):.1f}" height="16" fill="{colour}"/>',
            f'<path d="M{low:.1f} {y + 10}H{high:.1f}M{low:.1f} {y + 6}v8M{high:.1f} {y + 6}v8" stroke="{LINE}"/>',
            f'<text x="{high + 8:.1f}" y="{y + 14}">{shown(figure.median)} {escape(chart.unit)}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"
