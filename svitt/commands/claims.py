"""``svitt claims``: print the ledger, or check that files, code, rules and verdicts still agree."""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

from svitt.config import nearest
from svitt.errors import ConfigError
from svitt.ledger.against import against
from svitt.ledger.check import check, record_files, staleness, write_snapshot
from svitt.ledger.claims import PAPERS, claims_file, load_claims
from svitt.ledger.format import (
    command_text,
    effect_text,
    first_edition_text,
    instead_text,
    part_text,
    present_text,
    price_text,
    requirement_text,
    runs_text,
    stale_text,
)
from svitt.ledger.verdict_words import Verdict
from svitt.ledger.verdicts import Row, ledger
from svitt.records.record import read_record
from svitt.records.workspace import project_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="claims to print (default: all)")
    parser.add_argument("--results", type=Path, metavar="DIR", help="results folder (default: data/results)")
    parser.add_argument("--paper", choices=PAPERS, help="only the claims of one source")
    parser.add_argument("--verdict", metavar="V", help="only rows with that verdict, e.g. 'supported'")
    action = parser.add_mutually_exclusive_group()
    action.add_argument(
        "--check",
        action="store_true",
        help="recompute every verdict from the raw outcomes; exit 1 on a missing, edited or stale file, a "
        "changed rule or a verdict that differs from verdicts.json",
    )
    action.add_argument(
        "--against",
        type=Path,
        metavar="DIR",
        help="compare with fresh results in DIR: old and new",
    )
    action.add_argument("--write", action="store_true", help="write the verdicts to <results>/verdicts.json")


def call(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    root = project_root()
    claims = load_claims(claims_file(root))
    results: Path = args.results or root / "data" / "results"
    if args.results is not None and not results.is_dir():
        raise ConfigError(f"--results {results} is no folder; give one with <scale>/<chapter>/seed<k>.json")
    unknown = [name for name in args.ids if name not in {claim.id for claim in claims}]
    if unknown:
        raise ConfigError(f"unknown claim {unknown[0]!r}; {nearest(unknown[0], [c.id for c in claims])}")
    verdicts = [str(verdict) for verdict in Verdict]
    if args.verdict is not None and args.verdict not in verdicts:
        raise ConfigError(f"unknown verdict {args.verdict!r}; {nearest(args.verdict, verdicts)}")
    if args.against is not None:
        fresh: Path = args.against / "results" if (args.against / "results").is_dir() else args.against
        lines = against(claims, results, fresh)
        print("\n".join([*lines, f"{results} against {fresh}"]))
        return 0
    if args.check:
        problems = check(claims, results)
        for problem in problems:
            print(f"- {problem}", file=sys.stderr)
        count = len(record_files(results))
        print(
            f"{len(claims)} claims, {count} records in {results}: "
            + (f"{len(problems)} problems" if problems else "all agree")
        )
        return 1 if problems else 0
    rows = ledger(claims, results)
    if args.write:
        print(f"wrote {write_snapshot(rows, results)}")
        return 0
    stale = staleness((read_record(path) for path in record_files(results)), results)
    shown = [row for row in rows if _wanted(row, args)]
    blocks = [row_text(row, stale.get(row.claim.chapter, [])) for row in shown]
    print("\n".join([*blocks, f"{len(shown)} of {len(rows)} claims; results in {results}"]))
    return 0


def _wanted(row: Row, args: argparse.Namespace) -> bool:
    verdicts = {str(row.present.verdict), str(row.source_setting.verdict)}
    return (
        (not args.ids or row.claim.id in args.ids)
        and (args.paper is None or args.paper in row.claim.sources)
        and (args.verdict is None or args.verdict in verdicts)
    )


def row_text(row: Row, stale: list[str]) -> str:
    """A claim as lines of at most 110 characters."""
    claim = row.claim
    lines = [f"{claim.id}  ({', '.join(claim.sources)}; {claim.chapter})"]

    def add(label: str, text: str) -> None:
        indent = " " * 20
        lines.extend(
            textwrap.wrap(f"  {label:<18}{text}", 110, subsequent_indent=indent, break_long_words=False)
        )

    add("the source says", claim.statement)
    add("its figure", claim.reported_text)
    add("tested here", claim.tested_here)
    add(claim.kind, present_text(row))
    for index, part in enumerate(row.present.parts):
        contrast = part.part.contrast
        need = requirement_text(contrast, part.part.test)
        add("  effect", f"{part_text(row.present, index)}  {contrast.name} (to show: {need})")
    if claim.remark:
        add("remark", claim.remark)
    if first := first_edition_text(row):
        add("first edition", first)
    if row.mechanism.measurement is not None and claim.kind == "test":
        for shown in row.mechanism.measurement.parts:
            need = requirement_text(shown.part.contrast, shown.part.test)
            add("  effect", f"{effect_text(shown)}  {shown.part.contrast.name} (to show: {need})")
    if row.mechanism.records:
        add("  runs", runs_text(row.mechanism))
    if row.source_setting.verdict != Verdict.NOT_MEASURED:
        add("source setting", f"{row.source_setting.verdict}: {row.source_setting.reason}")
        add("  runs", runs_text(row.source_setting))
    if stale:
        add("stale", stale_text(stale))
    command = command_text(claim, row.mechanism)
    add("command", command or instead_text(claim))
    if command and row.mechanism.records:
        add("  price", f"{price_text(row.mechanism.records)}; add --fresh DIR to measure anew")
    return "\n".join(lines) + "\n"
