"""What ``svitt bench`` prints of a row; rows of older tables, with fewer columns, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from svitt.profiling.sparse_bench import ATTENTIONS, ENCODERS, column

Row = dict[str, Any]


def milliseconds(row: Row, name: str) -> str:
    """Median and quartiles of one alternative."""
    t = row["seconds"][name]
    return f"{t['median'] * 1e3:.1f} [{t['lower'] * 1e3:.1f}, {t['upper'] * 1e3:.1f}] ms"


def with_bias(row: Row, ratio: str) -> str:
    """The same ratio against dense attention with a bias, made once or anew at every call."""
    kinds = {"_to_dense_bias_once": "bias made once", "_to_dense_bias": "rebuilt"}
    found = {title: row[ratio + suffix] for suffix, title in kinds.items() if ratio + suffix in row}
    return "(with " + ", ".join(f"{title} {value:.2f}x" for title, value in found.items()) + ")"


def attention_line(row: Row) -> str:
    """One length of an attention table."""
    lines = [f"{row['frames']} frames, {row['tokens']} tokens, FLOP ratio {row['flop_ratio']:.2f}"]
    for phase, title in (("forward", "forward"), ("training", "forward + backward")):
        times = ", ".join(
            f"{name} {milliseconds(row, f'{name}_{phase}')}, {row[f'{name}_{phase}_of_peak']:.0%} of peak"
            for name in ATTENTIONS
            if f"{name}_{phase}" in row["seconds"]
        )
        ratio = f"{phase}_ratio"
        lines.append(f"  {title:19} {row[ratio]:6.2f}x {with_bias(row, ratio)}  {times}")
    return "\n".join(lines + memory_lines(row))


def encoder_line(row: Row) -> str:
    """One length of an encoder table: forward, and a training step if it was timed."""
    lines = [f"{row['frames']} frames, {row['tokens']} tokens"]
    for phase, title in (("forward", "forward"), ("training", "training step")):
        dense = column("dense", phase)
        if dense not in row["seconds"]:
            continue
        lines.append(f"  {title}: dense {milliseconds(row, dense)} ({row[f'{dense}_of_peak']:.0%} of peak)")
        for name in ENCODERS:
            own = column(name, phase)
            if f"{own}_ratio" not in row:
                continue
            times = f"{row[f'{own}_ratio']:5.2f}x {with_bias(row, f'{own}_ratio')}"
            lines.append(
                f"    {name.replace('_', ' + '):14} {times}, "
                f"FLOP ratio {row[f'{own}_flop_ratio']:.2f}, realised {row[f'{own}_realised']:.2f}; "
                f"{milliseconds(row, own)}"
            )
    return "\n".join(lines + memory_lines(row))


def memory_lines(row: Row) -> list[str]:
    """Peak memory beside weights and inputs, where it was measured."""
    if "bytes" not in row:
        return []
    return ["  memory: " + ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in row["bytes"].items())]


LINES: dict[str, Callable[[Row], str]] = {"attention": attention_line, "encoder": encoder_line}
