"""The plot of a run, as an SVG: hits by size, and what a miss adds."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tests.benchmarks.measuring import (
    BOOKED,
    DIRECT,
    FLOOR,
    FORWARDER,
    GATEWAY,
    LITELLM,
    NGINX,
    SKETCH,
    Measured,
)

COLOURS = {
    FLOOR: "#9aa5b1",
    GATEWAY: "#0b6e4f",
    SKETCH: "#7d8f69",
    NGINX: "#d98e04",
    FORWARDER: "#6b7fd7",
    BOOKED: "#a3b0ea",
    LITELLM: "#b23a48",
}
WIDTH, BAR, GAP, LABEL, LEFT = 760, 16, 14, 150, 20
BARS = WIDTH - LABEL - LEFT - 90

Bar = tuple[str, float, str]
"""A peer, how long its bar is from 0 to 1, and what stands behind it."""


def plot(measured: Sequence[Measured]) -> str:
    """One group of bars for each kind of load that was measured."""
    groups = [
        (title, bars) for each in measured if (title := _title(each)) and (bars := _bars(each))
    ]
    lines: list[str] = []
    y = 34.0
    for title, bars in groups:
        lines.append(f'<text x="{LEFT}" y="{y}" class="title">{escape(title)}</text>')
        y += 10
        for peer, share, text in bars:
            lines += _drawn(y, peer, share, text)
            y += BAR + 4
        y += GAP + 18
    style = "text{font:13px sans-serif;fill:#222}.title{font-weight:bold}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y:.0f}" '
        f'viewBox="0 0 {WIDTH} {y:.0f}"><style>{style}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(lines)}</svg>\n'
    )


def _title(measured: Measured) -> str:
    name = measured.scene.name
    if measured.scene.unique:
        return f"{name}: ms that it adds to the upstream's (median; less is better)"
    return f"{name}: requests a second (more is better)"


def _bars(measured: Measured) -> list[Bar]:
    medians = {peer: measured.median(peer) for peer in COLOURS}
    found = {peer: figures for peer, figures in medians.items() if figures}
    if not measured.scene.unique:
        values = {peer: figures.per_second for peer, figures in found.items()}
        most = max(values.values(), default=0)
        return [(peer, value / most, f"{value:,.0f}") for peer, value in values.items()]
    direct = measured.median(DIRECT)
    if direct is None:
        return []
    values = {peer: max(0.0, f.p50_ms - direct.p50_ms) for peer, f in found.items()}
    most = max(values.values(), default=0) or 1
    return [(peer, value / most, f"{value:.1f} ms") for peer, value in values.items()]


def _drawn(y: float, peer: str, share: float, text: str) -> list[str]:
    x, width, middle = LEFT + LABEL, max(1.0, share * BARS), y + BAR - 3.5
    return [
        f'<text x="{x - 8}" y="{middle}" text-anchor="end">{escape(peer)}</text>',
        f'<rect x="{x}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{COLOURS[peer]}"/>',
        f'<text x="{x + width + 6:.1f}" y="{middle}">{escape(text)}</text>',
    ]
