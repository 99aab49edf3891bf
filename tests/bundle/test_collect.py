"""Filing records from an archive: whole ones, of this code and these rules, all or none."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from svitt.errors import RecordError
from svitt.ledger import collect as module
from svitt.ledger.check import record_files
from svitt.ledger.claims import load_claims
from svitt.ledger.collect import collect
from svitt.ledger.results import one_kind_of_device
from svitt.records.archive import pack, unpack
from svitt.records.attempts import read_attempts
from svitt.records.code_hash import code_hash
from svitt.records.record import read_record, signed

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "data" / "results"
CLAIMS = load_claims(ROOT / "data" / "claims.yaml")
SET = "05_efficiency"


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results as a bundle leaves them: the three committed seeds of chapter 5, of this commit and rules."""
    results = tmp_path / "bundle" / "results"
    shutil.copytree(RESULTS / "cpu" / SET, results / "cpu" / SET)
    code = read_record(results / "cpu" / SET / "seed0.json").code_hash
    (results / "code").mkdir()
    shutil.copyfile(RESULTS / "code" / f"{code}.json", results / "code" / f"{code}.json")
    lines = (RESULTS / "attempts.jsonl").read_text().splitlines(keepends=True)
    (results / "attempts.jsonl").write_text("".join(line for line in lines if SET in line))
    rules = read_record(results / "cpu" / SET / "seed0.json").rule_hashes
    monkeypatch.setattr(module, "rule_hashes", lambda *given: rules)
    return results


def archive_of(results: Path, commit: str | None = None) -> Path:
    """An archive of the results, by the commit that their first record names."""
    commit = commit or read_record(record_files(results)[0]).commit
    file = results.parent / "results.tar.gz"
    os.environ["SVITT_COMMIT"] = commit or ""
    try:
        return pack(results, results.parent, file)  # outside of any checkout
    finally:
        del os.environ["SVITT_COMMIT"]


def edit(path: Path, **values: object) -> None:
    path.write_bytes(signed(json.loads(path.read_text()) | values))


def nothing_filed(into: Path) -> bool:
    return not into.exists() or not [p for p in into.rglob("*") if p.is_file() and "attempts" not in p.name]


def test_records_are_filed_once_with_outcomes_code_and_attempts(made: Path, tmp_path: Path) -> None:
    into = tmp_path / "here"
    found = collect(archive_of(made), into, CLAIMS, ROOT)
    assert [record.seed for record in found.filed] == [0, 1, 2] and not found.same
    for path in record_files(into):
        assert path.read_bytes() == (made / path.relative_to(into)).read_bytes()
    assert len(read_attempts(into)) == 3
    again = collect(archive_of(made), into, CLAIMS, ROOT)
    assert not again.filed and len(again.same) == 3 and len(read_attempts(into)) == 3


def test_an_edited_outcome_another_commit_other_code_and_other_rules_are_named(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into, folder = tmp_path / "here", made / "cpu" / SET
    outcomes = folder / "seed1.outcomes.json.gz"
    whole = outcomes.read_bytes()
    shutil.copyfile(folder / "seed2.outcomes.json.gz", outcomes)
    with pytest.raises(RecordError, match=r"seed1\.outcomes"):
        collect(archive_of(made), into, CLAIMS, ROOT)
    outcomes.write_bytes(whole)

    text = (folder / "seed2.json").read_bytes()
    edit(folder / "seed2.json", commit="c" * 40)
    with pytest.raises(RecordError, match=r"seed2\.json is of commit c{40}, its archive of"):
        collect(archive_of(made), into, CLAIMS, ROOT)
    edit(folder / "seed2.json", commit=json.loads(text)["commit"], dirty=True)
    with pytest.raises(RecordError, match=r"seed2\.json is of files that differ from their commit"):
        collect(archive_of(made), into, CLAIMS, ROOT)
    (folder / "seed2.json").write_bytes(text)

    with pytest.raises(RecordError, match=r"made by commit d{40}, which this checkout does not know"):
        collect(archive_of(made, "d" * 40), into, CLAIMS, ROOT)

    with monkeypatch.context() as patch:
        patch.setattr(module, "rule_hashes", lambda *given: {"efficiency": "other"})
        with pytest.raises(RecordError, match=r"seed0\.json was made under other rules of .*efficiency"):
            collect(archive_of(made), into, CLAIMS, ROOT)
    other = code_hash("svitt.experiments.ch07_curriculum.tuning:measure")
    with monkeypatch.context() as patch:
        patch.setattr(module, "code_hash", lambda entry: other)
        with pytest.raises(RecordError, match=r"of other code than this checkout's \(differs: svitt\."):
            collect(archive_of(made), into, CLAIMS, ROOT)
    assert nothing_filed(into)


def test_another_record_of_the_same_seed_is_not_overwritten(made: Path, tmp_path: Path) -> None:
    into = tmp_path / "here"
    shutil.copytree(made / "cpu", into / "cpu")
    place = into / "cpu" / SET / "seed1.json"
    edit(place, created="2020-01-01T00:00:00+00:00")
    (into / "cpu" / SET / "seed0.json").unlink()
    before = place.read_bytes()
    with pytest.raises(RecordError, match=r"seed1\.json is another record of the same seed"):
        collect(archive_of(made), into, CLAIMS, ROOT)
    assert place.read_bytes() == before and not (into / "cpu" / SET / "seed0.json").exists()


@pytest.mark.parametrize("after", [0, 1, 3, 5])
def test_a_full_disk_files_nothing(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    into, archive = tmp_path / "here", archive_of(made)
    into.mkdir()
    write, count = module.write_atomically, iter(range(100))

    def full(path: Path, data: bytes) -> None:
        if next(count) == after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, data)

    monkeypatch.setattr(module, "write_atomically", full)
    with pytest.raises(RecordError, match=r"nothing is filed \(No space left on device"):
        collect(archive, into, CLAIMS, ROOT)
    assert nothing_filed(into)


def member(tar: tarfile.TarFile, name: str, data: bytes = b"{}", kind: bytes = tarfile.REGTYPE) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.type = len(data) if kind == tarfile.REGTYPE else 0, kind
    tar.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../outside.json", tarfile.REGTYPE),
        ("results/../../outside.json", tarfile.REGTYPE),
        ("/results/x.json", tarfile.REGTYPE),
        ("results/link.json", tarfile.SYMTYPE),
        ("svitt/cli.py", tarfile.REGTYPE),
    ],
)
def test_an_archive_that_holds_anything_else_is_refused(name: str, kind: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a.tar.gz"
    with tarfile.open(file, "w:gz") as tar:
        member(tar, name, kind=kind)
    with pytest.raises(RecordError, match="which is no result"):
        unpack(file, tmp_path / "x")
    assert not list(tmp_path.rglob("outside.json"))


def test_damaged_and_empty_archives_are_named(made: Path, tmp_path: Path) -> None:
    file = archive_of(made)
    whole = file.read_bytes()
    for data in (b"", b"no archive", whole[: len(whole) // 2]):
        file.write_bytes(data)
        with pytest.raises(RecordError, match=r"results\.tar\.gz"):
            collect(file, tmp_path / "here", CLAIMS, ROOT)
    with tarfile.open(file, "w:gz") as tar:
        member(tar, "results/code/x.json")
    with pytest.raises(RecordError, match="does not say of which commit"):
        collect(file, tmp_path / "here", CLAIMS, ROOT)
    with pytest.raises(RecordError, match="is missing"):
        collect(tmp_path / "no.tar.gz", tmp_path / "here", CLAIMS, ROOT)
    commit = read_record(record_files(made)[0]).commit
    shutil.rmtree(made / "cpu")
    with pytest.raises(RecordError, match="holds no record"):
        collect(archive_of(made, commit), tmp_path / "here", CLAIMS, ROOT)
    assert nothing_filed(tmp_path / "here")


def test_one_verdict_is_of_one_kind_of_device(made: Path) -> None:
    records = [read_record(path) for path in record_files(made)]
    one_kind_of_device(records)
    gpu = records[1].hardware.model_copy(update={"gpu": "NVIDIA H100"})
    mixed = [records[0], records[1].model_copy(update={"hardware": gpu}), records[2]]
    with pytest.raises(RecordError, match=r"seeds \[0, 2\] were made on a CPU and \[1\] on a GPU"):
        one_kind_of_device(mixed)
