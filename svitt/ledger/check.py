"""``svitt claims --check``: do the recorded files, the code, the rules and the verdicts still agree?"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from svitt.atomic import write_atomically
from svitt.errors import ConfigError, RecordError
from svitt.ledger.claims import Claim
from svitt.ledger.digests import claim_digests, file_digests
from svitt.ledger.instruments import instrument_problems
from svitt.ledger.judgement import Judgement
from svitt.ledger.present import Present
from svitt.ledger.verdicts import Row, ledger
from svitt.records.arrays import outcomes_path, strict_json
from svitt.records.attempts import read_attempts
from svitt.records.code_hash import Code, changes, code_hash
from svitt.records.code_list import code_path, read_code
from svitt.records.entry_points import entry_point
from svitt.records.provenance import SMOKE
from svitt.records.record import Record, read_outcomes, read_record
from svitt.records.workspace import project_root

SNAPSHOT = "verdicts.json"
CodeHash = Callable[[str], Code]


def record_files(results: Path) -> list[Path]:
    """All record files below ``results``: <scale>/<chapter>/*.json, sorted. Those of a reader's own settings
    are never judged, and left out."""
    found = (path for path in results.glob("*/*/*.json") if path.parent.parent.name != "benchmarks")
    return sorted(path for path in found if not path.parent.parent.name.startswith("custom-"))


def staleness(records: Iterable[Record], results: Path, hashes: CodeHash = code_hash) -> dict[str, list[str]]:
    """Chapter -> what changed since any of its records was made, by name; current chapters are left out."""
    stale: dict[str, list[str]] = {}
    current: dict[str, Code] = {}
    for record in records:
        entry = entry_point(record.chapter, record.scale)
        if entry not in current:
            try:
                current[entry] = hashes(entry)
            except ConfigError:  # no such experiment any more: reported as gone
                current[entry] = Code("", entry, {})
        code = current[entry]
        if record.code_hash != code.hash:
            found = _changes(record, code, results) or [entry]
            stale[record.chapter] = sorted({*stale.get(record.chapter, []), *found})
    return stale


def _changes(record: Record, code: Code, results: Path) -> list[str]:
    if not code.definitions:
        return []
    return changes(read_code(results, record.code_hash).definitions, code.definitions)


def _judgement(judgement: Judgement) -> dict[str, Any]:
    data: dict[str, Any] = {
        "verdict": str(judgement.verdict),
        "reason": judgement.reason,
        "scale": judgement.scale,
        "seeds": list(judgement.seeds),
    }
    if judgement.measurement is not None:
        data |= {"p": judgement.p, "p_adjusted": judgement.p_adjusted}
        data["effects"] = [
            {
                "name": part.part.contrast.name,
                "per_seed": list(part.per_seed),
                "interval": None if part.interval is None else [part.interval.low, part.interval.high],
            }
            for part in judgement.measurement.parts
        ]
    return data


def _present(now: Present) -> dict[str, Any]:
    return {
        "kind": now.kind,
        "verdict": str(now.verdict),
        "reason": now.reason,
        "scale": now.scale,
        "seeds": list(now.seeds),
        "p": now.p,
        "p_adjusted": now.p_adjusted,
        "effects": [{"name": part.part.contrast.name, "per_seed": list(part.per_seed)} for part in now.parts],
        "guards": [{"name": g.guard.contrast.name, "cell": g.cell, "state": g.state} for g in now.guards],
        "cells": [
            [table.table.what, *cell.place, cell.state, *cell.values]
            for table in now.tables
            for cell in table.cells
        ],
    }


def _verdict_of(stored: object) -> str:
    try:
        return str(stored["present"]["verdict"])  # type: ignore[index]
    except (KeyError, TypeError):
        return "nothing"


def snapshot(rows: Sequence[Row], results: Path) -> dict[str, Any]:
    """What ``verdicts.json`` holds: every verdict with its numbers, the records they rest on, and the digest
    of everything else that a page shows."""
    return {
        "texts": claim_digests(row.claim for row in rows),
        "files": file_digests(project_root(), results, record_files(results)),
        "claims": {
            row.claim.id: {
                "present": _present(row.present),
                "first_edition": _judgement(row.mechanism),
                "source_setting": _judgement(row.source_setting),
            }
            for row in rows
        },
        "records": {
            path.relative_to(results).as_posix(): read_record(path).content_sha256
            for path in record_files(results)
        },
    }


def write_snapshot(rows: Sequence[Row], results: Path) -> Path:
    """Writes ``<results>/verdicts.json``, which ``check`` compares with later."""
    results.mkdir(parents=True, exist_ok=True)
    text = json.dumps(snapshot(rows, results), indent=1, sort_keys=True, allow_nan=False) + "\n"
    write_atomically(results / SNAPSHOT, text.encode())
    return results / SNAPSHOT


def _same(a: Any, b: Any) -> bool:
    """Equal up to the last digits of floats, which another version of scipy may round differently."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)
    return bool(a == b)


def _check_files(results: Path, problems: list[str]) -> list[Record]:
    records = []
    for path in record_files(results):
        try:
            record = read_record(path)
            read_outcomes(path)
        except RecordError as error:
            problems.append(str(error))
            continue
        records.append(record)
        if record.scale != SMOKE and record.dirty:
            problems.append(
                f"{path} was recorded from a tree with uncommitted changes; commit, record it again"
            )
    expected = {outcomes_path(path) for path in record_files(results)}
    for path in sorted(set(results.glob("*/*/*.outcomes.json.gz")) - expected):
        problems.append(
            f"{path} has no record beside it; the seed's JSON is missing: restore it or run the seed"
        )
    return records


def _few(names: Sequence[str], shown: int = 6) -> str:
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + rest


def _check_attempts(records: list[Record], results: Path, problems: list[str]) -> None:
    """Every record above smoke has an attempt that made it."""
    try:
        made = {
            (a.record_set, a.scale, a.seed)
            for a in read_attempts(results)
            if a.event in ("finished", "recorded")
        }
    except RecordError as error:
        problems.append(str(error))
        return
    for record in records:
        if record.scale != SMOKE and (record.chapter, record.scale, record.seed) not in made:
            problems.append(
                f"{record.scale}/{record.chapter}/seed{record.seed}.json: attempts.jsonl has no attempt that "
                "made it; restore the log from git"
            )


def _check_code(records: list[Record], results: Path, problems: list[str]) -> list[Record]:
    """The records whose list of definitions is there and whole."""
    wrong: set[str] = set()
    for code in sorted({r.code_hash for r in records}):
        try:
            read_code(results, code)
        except RecordError as error:
            problems.append(str(error))
            wrong.add(code)
    known = {code_path(results, r.code_hash) for r in records}
    for path in sorted(set((results / "code").glob("*")) - known):
        problems.append(f"{path} lists the code of no record; delete it")
    return [r for r in records if r.code_hash not in wrong]


def _check_records(records: list[Record], claims: dict[str, Claim], problems: list[str]) -> None:
    first: dict[tuple[str, str, str], Record] = {}
    for record in records:
        where = f"{record.scale}/{record.chapter}/seed{record.seed}.json"
        # Seeds that one rule judges are made alike; a later rule may ask for other settings.
        group = (record.scale, record.chapter, json.dumps(record.rule_hashes, sort_keys=True))
        other = first.setdefault(group, record)
        if record.parameters != other.parameters:
            problems.append(f"{where} has other parameters than seed {other.seed}; record both again")
        for claim_id, recorded in record.rule_hashes.items():
            claim = claims.get(claim_id)
            rules = claim.hashes(record.scale) if claim else {}
            if claim is None or not rules:
                problems.append(f"{where}: claim {claim_id!r} has no rule any more; restore it, record again")
            elif claim.chapter != record.chapter:
                problems.append(f"{where}: claim {claim_id!r} belongs to chapter {claim.chapter}")
            elif recorded not in rules:
                problems.append(
                    f"{where}: claim {claim_id!r} was recorded under rule {recorded}, and its rules are "
                    f"{', '.join(rules)}; restore the rule (a new one is a revision), or delete the record "
                    "and run the chapter again"
                )


def _check_snapshot(rows: list[Row], results: Path, problems: list[str]) -> None:
    path = results / SNAPSHOT
    if not path.is_file():
        if record_files(results):
            problems.append(f"{path} is missing; write it with `svitt claims --write`")
        return
    try:
        stored = strict_json(path.read_bytes())
        stored_claims, stored_records = dict(stored["claims"]), dict(stored["records"])
        stored_rest = {part: dict(stored[part]) for part in ("texts", "files")}
    except (ValueError, KeyError, TypeError) as error:
        problems.append(f"{path} is damaged ({error}); write it anew with `svitt claims --write`")
        return
    # A round trip, so that both sides hold what JSON can.
    now = json.loads(json.dumps(snapshot(rows, results)))
    for name in sorted(stored_records.keys() | now["records"].keys()):
        if name not in now["records"]:
            problems.append(f"{results / name} is missing, and {SNAPSHOT} rests on it; restore it from git")
        elif stored_records.get(name) != now["records"][name]:
            what = "is new" if name not in stored_records else "differs from the one judged"
            problems.append(f"{results / name} {what}; `svitt claims --write` judges it")
    for part, what in (("texts", "the text of claim"), ("files", "the file")):
        for name in sorted(stored_rest[part].keys() | now[part].keys()):
            if stored_rest[part].get(name) != now[part].get(name):
                how = "is gone" if name not in now[part] or now[part][name] == "missing" else "changed"
                how = "is new" if name not in stored_rest[part] else how
                problems.append(
                    f"{what} {name!r} {how} since {SNAPSHOT} was written; restore it from git, or see that "
                    "the change is right and `svitt claims --write`"
                )
    for name in sorted(stored_claims.keys() | now["claims"].keys()):
        old, new = stored_claims.get(name), now["claims"].get(name)
        if not _same(old, new):
            verdicts = [_verdict_of(data) for data in (old, new)]
            problems.append(
                f"claim {name!r}: {SNAPSHOT} says {verdicts[0]!r}, the raw outcomes give {verdicts[1]!r} "
                "(or the numbers differ); see what changed, then `svitt claims --write`"
            )


def check(claims: list[Claim], results: Path, hashes: CodeHash = code_hash) -> list[str]:
    """Every disagreement, one sentence each, naming file, module or claim; empty when all is well."""
    problems: list[str] = []
    records = _check_files(results, problems)
    readable = len(records) == len(record_files(results))
    _check_attempts(records, results, problems)
    problems += instrument_problems(claims, records, project_root())
    _check_records(records, {claim.id: claim for claim in claims}, problems)
    listed = _check_code(records, results, problems)
    for chapter, names in staleness(listed, results, hashes).items():
        scales = sorted({r.scale for r in records if r.chapter == chapter})
        problems.append(
            f"{chapter} (scales {', '.join(scales)}) is stale: {_few(names)} changed since it was recorded; "
            f"vouch for it (svitt replay COMMIT) or measure it again (svitt run {chapter} "
            f"--scale {scales[0]} --rerun)"
        )
    if readable:
        try:
            _check_snapshot(ledger(claims, results), results, problems)
        except RecordError as error:
            problems.append(str(error))
    return problems
