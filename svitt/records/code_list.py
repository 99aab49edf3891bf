"""The definitions behind a code hash, kept beside the records: ``<results>/code/<code hash>.json``.

With them a stale record can say which definition changed. One file serves all records of the same code.
"""

from __future__ import annotations

import json
from pathlib import Path

from svitt.atomic import write_atomically
from svitt.errors import RecordError
from svitt.records.arrays import strict_json
from svitt.records.code_hash import Code, Definition, combined


def code_path(results: Path, code_hash: str) -> Path:
    """``<results>/code/<code hash>.json``."""
    return results / "code" / f"{code_hash}.json"


def write_code(results: Path, code: Code) -> Path:
    """Keeps the list of definitions; returns its path."""
    path = code_path(results, code.hash)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {
        "entry": code.entry,
        "definitions": {label: [d.own, d.whole] for label, d in sorted(code.definitions.items())},
    }
    write_atomically(path, json.dumps(data, indent=0, sort_keys=True).encode() + b"\n")
    return path


def read_code(results: Path, code_hash: str) -> Code:
    """The list of that hash. Errors: RecordError when it is missing, damaged or of another hash."""
    path = code_path(results, code_hash)
    if not path.is_file():
        raise RecordError(f"{path}, the definitions behind a record, is missing; restore it from git")
    try:
        data = strict_json(path.read_bytes())
        entry = str(data["entry"])
        definitions = {
            str(label): Definition(str(own), str(whole))
            for label, (own, whole) in data["definitions"].items()
        }
        start = definitions[entry.replace(":", ".") if ":" in entry else f"{entry}.*"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(
            f"{path} is damaged ({type(error).__name__}: {error}); restore it from git"
        ) from error
    effects = [d.whole for label, d in definitions.items() if label.endswith("]")]
    if combined(start.whole, effects) != code_hash:
        raise RecordError(f"{path} was edited: its definitions do not give its hash; restore it from git")
    return Code(code_hash, entry, definitions)
