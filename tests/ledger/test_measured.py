"""Numbers for prose come from the records; fresh results are compared with the committed ones."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from svitt.cli import main
from svitt.errors import ConfigError
from svitt.ledger.check import record_files
from svitt.ledger.claims import load_claims
from svitt.ledger.measured import measured_text
from svitt.ledger.verdicts import ledger
from svitt.records.record import read_record

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "data" / "results"


@pytest.fixture(scope="module")
def loaded() -> tuple:
    rows = ledger(load_claims(ROOT / "data" / "claims.yaml"), RESULTS)
    return rows, [read_record(path) for path in record_files(RESULTS)]


def test_numbers_are_those_of_the_records(loaded: tuple) -> None:
    rows, records = loaded
    row = next(row for row in rows if row.claim.id == "tradeoff")
    assert row.mechanism.measurement is not None
    interval = row.mechanism.measurement.parts[0].interval
    assert interval is not None
    assert measured_text("tradeoff.effect", rows, records) == f"{100 * interval.mean:+.1f}"
    assert measured_text("tradeoff.low", rows, records) == f"{100 * interval.low:+.1f}"
    assert measured_text("tradeoff.detectable", rows, records) == "92"
    assert measured_text("diminishing.effect.2", rows, records) == "+12.2"
    values = [r.values["frames/16/correct"] for r in records if r.chapter == "02_space_time_tradeoff"]
    mean = sum(float(v) for v in values) / len(values)
    name = "02_space_time_tradeoff:frames/16/correct"
    assert measured_text(f"{name}|percent", rows, records) == f"{100 * mean:.1f}%"
    assert measured_text(f"{name}|.2f", rows, records) == f"{mean:.2f}"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("tradeof.effect", "did you mean 'tradeoff'"),
        ("tradeoff.efect", "did you mean 'effect'"),
        ("tradeoff", "known: detectable, effect"),
        ("tradeoff.effect.3", "the rule has 1 parts"),
        ("ego-egonce.effect", "nothing is recorded"),
        ("02_space_time_tradeoff:frames/17/correct", "did you mean"),
        ("02_space:x", "did you mean '02_space_time_tradeoff'"),
    ],
)
def test_unknown_names_are_named(loaded: tuple, expression: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        measured_text(expression, *loaded)


@pytest.mark.parametrize("chapter", sorted((ROOT / "book").glob("[0-9][0-9]_*.ipynb")), ids=lambda p: p.stem)
def test_every_measured_number_of_the_chapters_exists(chapter: Path, loaded: tuple) -> None:
    cells = json.loads(chapter.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    for expression in re.findall(r"\{measured\}`([^`]+)`", text):
        assert measured_text(expression, *loaded)


def test_fresh_results_are_compared_with_the_committed_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh = tmp_path / "results" / "cpu" / "05_efficiency"
    shutil.copytree(RESULTS / "cpu" / "05_efficiency", fresh)
    assert main(["claims", "--results", str(RESULTS), "--against", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.count("the same to the last bit") == 3
    assert (
        "efficiency: counted (first edition: contradicted) -> counted (first edition: contradicted): same"
        in out
    )
    from svitt.records.record import signed

    data = json.loads((fresh / "seed0.json").read_text())
    data["values"]["threads"] = 2
    data["outcomes_sha256"] = data["outcomes_sha256"][::-1]
    (fresh / "seed0.json").write_bytes(signed(data))
    assert main(["claims", "--results", str(RESULTS), "--against", str(tmp_path)]) == 2
    assert "was edited" in capsys.readouterr().err
