"""The forest plot of the ledger as inline SVG: one line an effect, one panel a unit.

Drawn by hand rather than by matplotlib so that its text follows the page's theme, can be selected, and links
to the rows below.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from svitt.ledger.format import effect_text, number, requirement_text
from svitt.ledger.rules import Unit
from svitt.ledger.verdict_words import Verdict
from svitt.ledger.verdicts import Row

WIDTH, LEFT, RIGHT, LINE = 760, 190, 190, 26
TITLES: dict[Unit, str] = {
    "points": "difference, percentage points",
    "share": "percent",
    "ratio": "ratio",
    "exponent": "difference of exponents",
}
PERCENT: tuple[Unit, ...] = ("points", "share")


@dataclass(frozen=True)
class Line:
    """One effect: values in the unit drawn; ``need`` holds the margin's ends, one or two."""

    claim_id: str
    label: str
    title: str
    unit: Unit
    verdict: Verdict
    mean: float
    low: float
    high: float
    need: tuple[float, ...]
    text: str


def forest_lines(rows: Sequence[Row]) -> list[Line]:
    """The effects with intervals of all judged rows, in the ledger's order."""
    lines = []
    for row in rows:
        for judgement, verdict, suffix in (
            (row.mechanism, row.present.verdict, ""),
            (row.source_setting, row.source_setting.verdict, " (source)"),
        ):
            if judgement.measurement is None or judgement.verdict == Verdict.TOO_SMALL:
                continue
            parts = judgement.measurement.parts
            for i, part in enumerate(parts):
                if part.interval is None:
                    continue
                contrast, test = part.part.contrast, part.part.test
                factor = 100 if contrast.unit in PERCENT else 1
                bound = test.bound * factor
                name = row.claim.id + suffix + (f" {i + 1}/{len(parts)}" if len(parts) > 1 else "")
                lines.append(
                    Line(
                        row.claim.id,
                        name,
                        f"{contrast.name}: {effect_text(part)}; to show: {requirement_text(contrast, test)}",
                        contrast.unit,
                        verdict,
                        part.interval.mean * factor,
                        part.interval.low * factor,
                        part.interval.high * factor,
                        (-bound, bound) if test.kind == "equivalence" else (bound,),
                        effect_text(part).removesuffix(" points").partition(" (")[0],
                    )
                )
    return lines


def ticks(low: float, high: float) -> list[float]:
    """About five round numbers from low to high."""
    span = max(high - low, 1e-9)
    raw = span / 5
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * m for m in (1, 2, 5, 10) if size * m >= raw)
    return [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _panel(unit: Unit, lines: Sequence[Line], top: float) -> tuple[list[str], float]:
    neutral = 1.0 if unit == "ratio" else 0.0
    ends = [v for line in lines for v in (line.low, line.high, *line.need)] + [neutral]
    low, high = min(ends), max(ends)
    pad = 0.06 * (high - low or 1)
    low, high = low - pad, high + pad

    def x(value: float) -> float:
        return round(LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT), 1)

    bottom = top + 22 + LINE * len(lines)
    out = [f'<text class="unit" x="{LEFT}" y="{top + 10:g}">{escape(TITLES[unit])}</text>']
    for tick in ticks(low, high):
        text = f"{tick:+g}" if tick and unit in ("points", "exponent") else f"{tick:g}"
        out.append(f'<line class="grid" x1="{x(tick)}" x2="{x(tick)}" y1="{top + 18:g}" y2="{bottom:g}"/>')
        out.append(f'<text class="tick" x="{x(tick)}" y="{bottom + 14:g}">{escape(text)}</text>')
    out.append(
        f'<line class="neutral" x1="{x(neutral)}" x2="{x(neutral)}" y1="{top + 18:g}" y2="{bottom:g}"/>'
    )
    for i, line in enumerate(lines):
        y = top + 22 + LINE * (i + 0.5)
        out += [
            f'<g class="verdict-{line.verdict.replace(" ", "-")}"><title>{escape(line.title)}</title>',
            f'<a href="#claim-{line.claim_id}"><text class="name" x="{LEFT - 14}" y="{y + 4:g}">'
            f"{escape(line.label)}</text></a>",
            *(
                f'<path class="margin" d="M{x(v)} {y - 9:g}v18"><title>margin {v:g}</title></path>'
                for v in line.need
            ),
            f'<line class="interval" x1="{x(line.low)}" x2="{x(line.high)}" y1="{y:g}" y2="{y:g}"/>',
            f'<circle class="mean" cx="{x(line.mean)}" cy="{y:g}" r="4.5"/>',
            f'<text class="value" x="{WIDTH - RIGHT + 14}" y="{y + 4:g}">{escape(line.text)}</text></g>',
        ]
    return out, bottom + 34


def forest_svg(rows: Sequence[Row]) -> str:
    """The plot; "" when no row was judged on two seeds or more."""
    lines = forest_lines(rows)
    body: list[str] = []
    top = 4.0
    for unit in TITLES:
        panel = [line for line in lines if line.unit == unit]
        if panel:
            drawn, top = _panel(unit, panel, top)
            body += drawn
    if not body:
        return ""
    label = "; ".join(
        f"{line.label}: {number(line.mean / (100 if line.unit in PERCENT else 1), line.unit)}, {line.verdict}"
        for line in lines
    )
    return (
        f'<div class="ledger-forest"><svg viewBox="0 0 {WIDTH} {top:g}" role="img" '
        f'aria-label="{escape("Effects with 95% intervals. " + label)}">' + "".join(body) + "</svg></div>"
    )
