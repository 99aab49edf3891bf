"""One list of digests over everything a page shows: ``verdicts.json`` holds it, ``--check`` compares.

Records and raw outcomes carry their own digests; here stand the rest: benchmarks, lists of code, attempts,
the committed checkpoint, what the committed chapters print, and the text of every claim.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from svitt.errors import RecordError
from svitt.ledger.claims import Claim
from svitt.records.arrays import canonical, outcomes_path, strict_json


def file_digests(root: Path, results: Path, records: Iterable[Path]) -> dict[str, str]:
    """Name (relative to ``root``, or to ``results`` where they lie elsewhere) -> SHA-256.

    Errors: RecordError for a JSON file that is none, or holds a key twice.
    """
    found: dict[str, str] = {}
    for path in sorted(outcomes_path(record) for record in records):
        found[f"results/{path.relative_to(results).as_posix()}"] = _sha256(path)
    for path in sorted([*results.glob("benchmarks/*"), *results.glob("code/*"), *results.glob("*.jsonl")]):
        if path.suffix == ".json":
            _read_json(path)
        found[f"results/{path.relative_to(results).as_posix()}"] = _sha256(path)
    # Of the project, only beside its own results.
    if results.resolve().is_relative_to(root.resolve()):
        for path in sorted(file for file in (root / "data" / "checkpoints").rglob("*") if file.is_file()):
            found[path.relative_to(root).as_posix()] = _sha256(path)
        for path in sorted((root / "book").glob("[0-9][0-9]_*.ipynb")):
            found[f"{path.relative_to(root).as_posix()}: outputs"] = _outputs(path)
    return found


def claim_digests(claims: Iterable[Claim]) -> dict[str, str]:
    """Id -> SHA-256 of everything the claims file says of it, prose included."""
    return {
        claim.id: hashlib.sha256(canonical(claim.model_dump(mode="json"))).hexdigest() for claim in claims
    }


def _sha256(path: Path) -> str:
    if not path.is_file():
        return "missing"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_json(path: Path) -> object:
    try:
        return strict_json(path.read_bytes())
    except ValueError as error:
        raise RecordError(f"{path} is damaged ({error}); restore it from git") from error


def _outputs(path: Path) -> str:
    """Of what the cells of a committed chapter print and show."""
    notebook = _read_json(path)
    cells = notebook.get("cells", []) if isinstance(notebook, dict) else []
    shown = [cell.get("outputs") for cell in cells if isinstance(cell, dict)]
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()
