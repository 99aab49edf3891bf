"""Was the instrument known before it was used? The findings that a revision names must exist, and be older
than the first record of its confirmatory seeds."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from svitt.ledger.claims import Claim
from svitt.records.record import Record


def instrument_problems(claims: Iterable[Claim], records: Sequence[Record], root: Path) -> list[str]:
    """One sentence per finding that is missing or younger than the first confirmatory record."""
    problems = []
    for claim in claims:
        for revision in claim.revisions:
            made = [
                datetime.fromisoformat(record.created)
                for record in records
                if record.rule_hashes.get(claim.id) == revision.hash and record.seed in revision.seeds
            ]
            for name, finding in revision.instrument.findings().items():
                where = f"claim {claim.id!r}, revision {revision.number}: {name.replace('_', ' ')}"
                path = root / finding.source
                if not path.is_file():
                    problems.append(f"{where}: {finding.source} does not exist; name the file that does")
                elif made and (known := first_committed(path)) is not None and known > min(made):
                    problems.append(
                        f"{where}: {finding.source} was committed {known:%Y-%m-%d %H:%M}, after the first "
                        f"confirmatory record ({min(made):%Y-%m-%d %H:%M}); such a rule judges nothing"
                    )
    return problems


def first_committed(path: Path) -> datetime | None:
    """When git first had the file; None outside of a repository or where it is not committed (then only its
    being there can be checked)."""
    try:
        done = subprocess.run(
            [
                "git",
                "-C",
                str(path.parent),
                "log",
                "--diff-filter=A",
                "--follow",
                "--format=%ct",
                "--",
                path.name,
            ],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except FileNotFoundError:
        return None
    times = done.stdout.split()
    return datetime.fromtimestamp(int(times[-1]), UTC) if done.returncode == 0 and times else None
