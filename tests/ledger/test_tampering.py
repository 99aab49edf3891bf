"""Whatever is edited, swapped, emptied or taken away in the evidence, ``svitt claims --check`` says so."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from svitt.ledger import check as checking
from svitt.ledger.claims import load_claims
from svitt.records.code_hash import Code
from svitt.records.code_list import read_code
from svitt.records.entry_points import entry_point
from svitt.records.record import read_record

ROOT = Path(__file__).parents[2]
CHAPTER = "data/results/cpu/05_efficiency"  # three small seeds


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small copy of the evidence, with its snapshot."""
    root = tmp_path_factory.mktemp("sound")
    for name in ("pyproject.toml", "data/claims.yaml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    for name in (CHAPTER, "data/results/benchmarks", "data/checkpoints"):
        shutil.copytree(ROOT / name, root / name)
    (root / "book").mkdir()
    shutil.copy(ROOT / "book" / "05_efficiency.ipynb", root / "book")
    code = read_record(root / CHAPTER / "seed0.json").code_hash
    (root / "data/results/code").mkdir()
    shutil.copy(ROOT / "data/results/code" / f"{code}.json", root / "data/results/code")
    lines = (ROOT / "data/results/attempts.jsonl").read_text().splitlines(keepends=True)
    (root / "data/results/attempts.jsonl").write_text("".join(x for x in lines if "05_efficiency" in x))
    return root


def problems(root: Path, monkeypatch: pytest.MonkeyPatch, write: bool = False) -> list[str]:
    monkeypatch.setattr(checking, "project_root", lambda: root)
    results = root / "data" / "results"
    known = read_code(ROOT / "data" / "results", read_record(ROOT / CHAPTER / "seed0.json").code_hash)

    def hashes(entry: str) -> Code:
        assert entry == entry_point("05_efficiency")
        return known

    claims = load_claims(root / "data" / "claims.yaml")
    if write:
        checking.write_snapshot(checking.ledger(claims, results), results)
    return checking.check(claims, results, hashes)


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        path = root / name
        text = path.read_text()
        assert re.search(old, text), f"{name} holds no {old!r}"
        path.write_text(re.sub(old, new, text, count=1))

    return change


def resigned(name: str, key: str, value: object) -> Callable[[Path], None]:
    """An edit by somebody who knows how a record is signed."""

    def change(root: Path) -> None:
        from svitt.records.record import signed

        data = json.loads((root / name).read_text())
        data[key] = value
        (root / name).write_bytes(signed(data))

    return change


def flip(name: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        [path] = root.glob(name)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    return change


def swap(one: str, other: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        a, b = (root / one).read_bytes(), (root / other).read_bytes()
        (root / one).write_bytes(b)
        (root / other).write_bytes(a)

    return change


def outcome(root: Path) -> None:
    path = root / CHAPTER / "seed0.outcomes.json.gz"
    data = json.loads(gzip.decompress(path.read_bytes()))
    data["encoder/dense/16/flops"]["values"] = [1.0]
    path.write_bytes(gzip.compress(json.dumps(data).encode()))


def cell_output(root: Path) -> None:
    path = root / "book" / "05_efficiency.ipynb"
    notebook = json.loads(path.read_text())
    cell = next(c for c in notebook["cells"] if any("text" in o for o in c.get("outputs", [])))
    output = next(o for o in cell["outputs"] if "text" in o)
    output["text"] = ["7.00\n"]
    path.write_text(json.dumps(notebook))


SEED = f"{CHAPTER}/seed0.json"
TAMPERINGS: dict[str, Callable[[Path], None]] = {
    "edited value": edit(SEED, r'"cpu_seconds": [\d.]+', '"cpu_seconds": 1.0'),
    "edited outcome": outcome,
    "edited seed": edit(SEED, r'"seed": 0', '"seed": 7'),
    "edited hash": edit(SEED, r'"code_hash": "\w\w', '"code_hash": "00'),
    "edited commit": edit(SEED, r'"commit": "\w', '"commit": "g'),
    "edited hardware": edit(SEED, r'"cores": 2', '"cores": 64'),
    "edited and signed again": resigned(SEED, "cpu_seconds", 1.0),
    "edited rule hash, signed again": resigned(SEED, "rule_hashes", {"efficiency": "0" * 16}),
    "no rule, signed again": resigned(SEED, "rule_hashes", {}),
    "swapped outcomes": swap(f"{CHAPTER}/seed0.outcomes.json.gz", f"{CHAPTER}/seed1.outcomes.json.gz"),
    "swapped records": swap(SEED, f"{CHAPTER}/seed1.json"),
    "record taken away": lambda root: (root / SEED).unlink(),
    "outcomes taken away": lambda root: (root / CHAPTER / "seed0.outcomes.json.gz").unlink(),
    "doubled key": edit(SEED, r'"seed": 0,', '"seed": 0,\n "seed": 0,'),
    "edited rule": edit("data/claims.yaml", r"margin: 6\.0", "margin: 2.0"),
    "edited table of a count": edit("data/claims.yaml", r"holds: \[6, null\]", "holds: [2, null]"),
    "edited statement": edit("data/claims.yaml", "6 to 7 times more efficient", "2 times more efficient"),
    "edited figure of the source": edit("data/claims.yaml", "reported: 6-7x", "reported: 2-3x"),
    "edited reading": edit("data/claims.yaml", "    FLOPs, peak memory", "    Some FLOPs, peak memory"),
    "edited verdict": edit("data/results/verdicts.json", '"verdict": "counted"', '"verdict": "supported"'),
    "snapshot taken away": lambda root: (root / "data/results/verdicts.json").unlink(),
    "snapshot emptied": lambda root: (root / "data/results/verdicts.json").write_text("{}"),
    "attempt removed": edit("data/results/attempts.jsonl", r".*\n", ""),
    "attempts taken away": lambda root: (root / "data/results/attempts.jsonl").unlink(),
    "benchmark emptied": lambda root: (root / "data/results/benchmarks/attention_cpu.json").write_text(""),
    "benchmark filled with garbage": lambda root: (
        (root / "data/results/benchmarks/attention_cpu.json").write_bytes(b"\x00garbage") and None
    ),
    "benchmark removed": lambda root: (root / "data/results/benchmarks/attention_cpu.json").unlink(),
    "benchmark edited": edit("data/results/benchmarks/encoder_cpu.json", r"\d\.\d", "9.9"),
    "list of code edited": flip("data/results/code/*.json"),
    "one bit of the checkpoint": flip("data/checkpoints/two_objects/model.safetensors"),
    "number in a chapter's output": cell_output,
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_tampering_is_noticed(
    name: str, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(sound, root)
    assert problems(root, monkeypatch, write=True) == []
    TAMPERINGS[name](root)
    assert problems(root, monkeypatch), f"{name} was not noticed"


def test_a_finding_that_is_missing_or_younger_than_its_record_is_named(tmp_path: Path) -> None:
    from datetime import UTC, datetime
    from types import SimpleNamespace
    from typing import Any

    from svitt.ledger.instruments import instrument_problems
    from tests.ledger.test_present import claim

    made = claim({"kind": "superiority"})
    assert made.revision is not None
    record: Any = SimpleNamespace(
        created="2026-01-01T00:00:00+00:00", rule_hashes={"c0": made.revision.hash}, seed=5
    )
    found = instrument_problems([made], [record], tmp_path)
    assert len(found) == 6 and "ideal observer: data/claims.yaml does not exist" in found[0]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "claims.yaml").write_text("[]")
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    late = instrument_problems([made], [record], tmp_path)
    assert len(late) == 6 and "after the first confirmatory record" in late[0]
    record.created = datetime(2100, 1, 1, tzinfo=UTC).isoformat()
    assert instrument_problems([made], [record], tmp_path) == []
