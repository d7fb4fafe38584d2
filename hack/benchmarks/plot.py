"""Bars as SVG, on a logarithmic scale: what is compared here differs by factors of a thousand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

COLOURS = ("#1f6f8b", "#c8553d", "#8a9a5b", "#b8a13c", "#6b4e71")
_BAR, _GAP, _LEFT, _RIGHT, _TOP, _LINE = 16, 18, 190, 90, 64, 20
_WIDTH = 860


def bars(title: str, unit: str, groups: Mapping[str, Mapping[str, float]]) -> str:
    """One group of bars for each key, one bar for each series in it; values above zero."""
    series: Sequence[str] = list(dict.fromkeys(name for group in groups.values() for name in group))
    values = [value for group in groups.values() for value in group.values() if value > 0]
    low = math.floor(math.log10(min(values)))
    high = max(math.ceil(math.log10(max(values))), low + 1)
    scale = (_WIDTH - _LEFT - _RIGHT) / (high - low)
    parts: list[str] = []
    y = _TOP
    for name, group in groups.items():
        middle = y + _BAR * len(group) / 2 + 4
        parts.append(_text(_LEFT - 8, middle, name, anchor="end"))
        for one, value in group.items():
            length = max(1.0, (math.log10(value) - low) * scale) if value > 0 else 1.0
            colour = COLOURS[series.index(one) % len(COLOURS)]
            parts.append(f'<rect x="{_LEFT}" y="{y}" width="{length:.1f}" height="{_BAR - 3}" fill="{colour}"/>')
            parts.append(_text(_LEFT + length + 5, y + 10, f"{value:.3g} {unit}", size=10))
            y += _BAR
        y += _GAP
    lines = []
    for exponent in range(low, high + 1):
        x = _LEFT + (exponent - low) * scale
        lines.append(f'<line x1="{x:.1f}" y1="{_TOP - 6}" x2="{x:.1f}" y2="{y - _GAP}" stroke="#ddd"/>')
        lines.append(_text(x, y, f"{10.0**exponent:g}", anchor="middle", size=10))
    legend, x = [], _LEFT
    for place, one in enumerate(series):
        legend.append(f'<rect x="{x}" y="34" width="11" height="11" fill="{COLOURS[place % len(COLOURS)]}"/>')
        legend.append(_text(x + 16, 44, one))
        x += 30 + 7 * len(one)
    height = y + _LINE
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}">',
            f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
            _text(_LEFT, 20, title, size=14),
            *legend,
            *lines,
            *parts,
            "</svg>\n",
        ]
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-family="sans-serif" font-size="{size}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )
