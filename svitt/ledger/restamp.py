"""From the hash of whole modules to the hash of the graph: ``svitt claims --restamp``, once."""

from __future__ import annotations

from pathlib import Path

from svitt.errors import RecordError
from svitt.ledger.check import entry_point, record_files
from svitt.ledger.code_hash import code_hash
from svitt.ledger.code_list import write_code
from svitt.ledger.graph_hash import graph_hash
from svitt.ledger.outcomes import write_atomically
from svitt.ledger.provenance import git_state, require_clean
from svitt.ledger.record import Restamped, read_outcomes, read_record, signed


def restamp(root: Path, results: Path) -> int:
    """Writes the hash of the graph into every record of schema 1, its old hash kept as provenance.

    All or nothing: first every record is checked. Returns how many were written. Errors: RecordError when
    the tree has changes, or the old hash of a record is not that of today's code.
    """
    require_clean("cpu", root)
    commit, _ = git_state(root)
    assert commit is not None
    old = [(path, read_record(path)) for path in record_files(results)]
    old = [(path, record) for path, record in old if record.schema_version == 1]
    for path, record in old:
        read_outcomes(path)
        now = code_hash(entry_point(record.chapter, record.scale).partition(":")[0])
        if (record.code_hash, record.modules) != now:
            raise RecordError(f"{path} is stale, so nothing says that today's code gives its numbers")
    for path, record in old:
        code = graph_hash(entry_point(record.chapter, record.scale))
        write_code(results, code)
        was = Restamped(code_hash=record.code_hash, modules=record.modules, commit=commit)
        changes = {"schema_version": 2, "code_hash": code.hash, "modules": {}, "restamped": was}
        write_atomically(
            path, signed(record.model_copy(update=changes).model_dump(mode="json", exclude={"modules"}))
        )
    return len(old)
