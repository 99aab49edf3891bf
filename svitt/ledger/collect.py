"""Files records that another machine made: all of them, or none.

A record is taken where its content and outcomes are whole, it is of the commit that the archive names and
that this checkout knows, its code is the code here, and it was made under the rules here.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from svitt.atomic import write_atomically
from svitt.errors import RecordError
from svitt.ledger.check import record_files
from svitt.ledger.claims import Claim, rule_hashes
from svitt.records.archive import unpack
from svitt.records.arrays import outcomes_path
from svitt.records.attempts import append, read_attempts
from svitt.records.code_hash import changes, code_hash
from svitt.records.code_list import code_path, read_code
from svitt.records.entry_points import entry_point
from svitt.records.provenance import SMOKE, knows_commit
from svitt.records.record import Record, read_outcomes, read_record


@dataclass(frozen=True)
class Collected:
    """filed: records new here. same: records that were here already, to the last bit."""

    filed: tuple[Record, ...]
    same: tuple[Record, ...]


def collect(archive: Path, results: Path, claims: Sequence[Claim], root: Path) -> Collected:
    """Files the records of ``archive`` (written by ``svitt run --archive``) below ``results``.

    Errors: RecordError naming the first record that cannot be taken, and why; nothing is filed then.
    """
    with tempfile.TemporaryDirectory() as name:
        came = Path(name)
        revision = unpack(archive, came)
        if not knows_commit(root, revision.commit):
            raise RecordError(
                f"{archive} was made by commit {revision.commit or 'unknown'}, which this checkout does not "
                "know; fetch it, or make the bundle from a commit of this repository"
            )
        paths = record_files(came)
        if not paths:
            raise RecordError(f"{archive} holds no record; nothing had finished when it was written")
        records = [_checked(path, came, claims, revision.commit) for path in paths]
        new = [(p, r) for p, r in zip(paths, records, strict=True) if not _here(results, came, p, r)]
        _file([path for path, _ in new], came, results)
        same = [r for r in records if r not in [record for _, record in new]]
        return Collected(tuple(record for _, record in new), tuple(same))


def _checked(path: Path, came: Path, claims: Sequence[Claim], commit: str) -> Record:
    record = read_record(path)
    outcomes = read_outcomes(path)
    where = path.relative_to(came).as_posix()
    if record.commit != commit:
        raise RecordError(f"{where} is of commit {record.commit}, its archive of {commit}; run it again")
    if record.scale != SMOKE and record.dirty is not False:
        raise RecordError(f"{where} is of files that differ from their commit; make the bundle anew")
    code = code_hash(entry_point(record.chapter, record.scale))
    if record.code_hash != code.hash:
        changed = changes(read_code(came, record.code_hash).definitions, code.definitions)
        raise RecordError(
            f"{where} is of other code than this checkout's (differs: {', '.join(changed[:6])}); check out "
            f"{commit[:10]} to file it, or run it again from a bundle of this commit"
        )
    rules = rule_hashes(claims, record.chapter, record.scale, outcomes)
    if record.rule_hashes != rules:
        wrong = sorted(
            k for k in record.rule_hashes.keys() | rules if record.rule_hashes.get(k) != rules.get(k)
        )
        raise RecordError(f"{where} was made under other rules of {', '.join(wrong)}; run it again")
    return record


def _here(results: Path, came: Path, path: Path, record: Record) -> bool:
    """Whether the record is filed already. Errors: RecordError where another one stands in its place."""
    place = results / path.relative_to(came)
    if not place.is_file():
        return False
    if read_record(place).content_sha256 == record.content_sha256:
        return True
    raise RecordError(
        f"{place} is another record of the same seed; each seed runs once: compare them with svitt claims "
        "--against DIR, or give up the one here with svitt run ... --rerun --replace"
    )


def _file(paths: Sequence[Path], came: Path, results: Path) -> None:
    """Copies records, outcomes, lists of code and attempts; where that fails, what was copied goes again."""
    copied: list[Path] = []
    try:
        for path in paths:
            record = read_record(path)
            # The record last: where it stands, everything that it needs stands too.
            for source in (code_path(came, record.code_hash), outcomes_path(path), path):
                target = results / source.relative_to(came)
                if not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    copied.append(target)
                    write_atomically(target, source.read_bytes())
        known = {(a.id, a.event) for a in read_attempts(results)}
        for attempt in read_attempts(came):
            if (attempt.id, attempt.event) not in known:
                append(results, attempt)
    except OSError as error:
        for target in copied:
            target.unlink(missing_ok=True)
        free = shutil.disk_usage(results).free // 2**20
        raise RecordError(
            f"{results}: nothing is filed ({error.strerror}; {free} MiB free); make room and collect again"
        ) from error
