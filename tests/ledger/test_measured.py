"""Numbers for prose come from the records; fresh results are compared with the committed ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from svitt.cli import main
from svitt.errors import ConfigError
from svitt.ledger.check import record_files
from svitt.ledger.claims import load_claims
from svitt.ledger.measured import NotRecordedError, measured_text
from svitt.ledger.results import Results
from svitt.ledger.statistics import paired_t_interval
from svitt.ledger.verdicts import Row, ledger
from svitt.records.arrays import outcomes_path
from svitt.records.record import read_record, signed

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "data" / "results"


Loaded = tuple[list[Row], Results]
FRAMES = "02_space_time_tradeoff:frames"


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    rows = ledger(load_claims(ROOT / "data" / "claims.yaml"), RESULTS)
    return rows, Results(RESULTS)


def per_seed(loaded: Loaded, record_set: str, name: str) -> list[float]:
    return [float(record.values[name]) for record in loaded[1].records("cpu", record_set)]


def test_numbers_of_claims_are_those_of_the_ledger(loaded: Loaded) -> None:
    rows, results = loaded
    row = next(row for row in rows if row.claim.id == "tradeoff")
    assert row.mechanism.measurement is not None
    interval = row.mechanism.measurement.parts[0].interval
    assert interval is not None
    assert measured_text("tradeoff.effect", rows, results) == f"{100 * interval.mean:+.1f}"
    assert measured_text("tradeoff.low", rows, results) == f"{100 * interval.low:+.1f}"
    assert measured_text("tradeoff.detectable", rows, results) == "92"
    assert measured_text("tradeoff.p", rows, results) == f"{row.mechanism.p_adjusted:.2g}"
    assert measured_text("tradeoff.p_alone", rows, results) == f"{row.mechanism.p:.2g}"
    assert measured_text("diminishing.effect.2", rows, results) == "+12.2"


def test_values_are_told_over_seeds_in_units_and_formats(loaded: Loaded) -> None:
    values = np.array(per_seed(loaded, "02_space_time_tradeoff", "frames/16/correct"))
    interval = paired_t_interval(values)
    for form, text in {
        "": f"{values.mean():.3g}",
        "|.2f": f"{values.mean():.2f}",
        "|percent": f"{100 * values.mean():.1f}%",
        "|percent|.0f": f"{100 * values.mean():.0f}%",
        "|mean|points|+.2f": f"{100 * values.mean():+.2f}",
        "|min|percent": f"{100 * values.min():.1f}%",
        "|max|percent": f"{100 * values.max():.1f}%",
        "|sum|.3f": f"{values.sum():.3f}",
        "|sd|points": f"{100 * values.std(ddof=1):.1f}",
        "|low|points": f"{100 * interval.low:.1f}",
        "|high|points": f"{100 * interval.high:.1f}",
        "|above 0.75": f"{(values > 0.75).sum()} of 5",
        "|below 0.7": f"{(values < 0.7).sum()} of 5",
    }.items():
        assert measured_text(f"{FRAMES}/16/correct{form}", *loaded) == text
    assert measured_text("02_space_time_tradeoff@3:frames/16/correct|.3f", *loaded) == f"{values[3]:.3f}"
    assert measured_text("02_space_time_tradeoff@1-2:frames/16/correct|.4f", *loaded) == (
        f"{values[1:3].mean():.4f}"
    )


def test_operators_go_from_left_to_right_per_seed(loaded: Loaded) -> None:
    a, b = (np.array(per_seed(loaded, "02_space_time_tradeoff", f"frames/{n}/correct")) for n in (16, 2))
    names = f"{FRAMES}/16/correct", "frames/2/correct"
    assert measured_text(" - ".join(names) + "|max|points", *loaded) == f"{100 * (a - b).max():.1f}"
    assert measured_text(" / ".join(names) + "|.4f", *loaded) == f"{(a / b).mean():.4f}"
    assert measured_text(" + ".join(names) + " * 2 - 0.5|.4f", *loaded) == f"{((a + b) * 2 - 0.5).mean():.4f}"


def test_parts_of_outcomes_prices_and_benchmarks(loaded: Loaded) -> None:
    records = loaded[1].records("cpu", "07_curriculum")
    outcomes = [loaded[1].outcomes(record) for record in records]
    cells = [np.asarray(one["direct/correct"])[1, 0] for one in outcomes]
    brief = [np.asarray(one["event_brief"]).astype(bool) for one in outcomes]
    text = "07_curriculum:direct/correct[1,0]"
    assert measured_text(f"{text}|.4f", *loaded) == f"{np.mean(cells):.4f}"
    for where, chosen in (("where", brief), ("where not", [~mask for mask in brief])):
        mean = np.mean([cell[mask].mean() for cell, mask in zip(cells, chosen, strict=True)])
        assert measured_text(f"{text} {where} event_brief|.4f", *loaded) == f"{mean:.4f}"
    assert measured_text("07_curriculum:direct/stages[0,3]|,.0f", *loaded) == "586"
    seconds = [record.cpu_seconds for record in records]
    assert measured_text("07_curriculum:cpu_seconds|sum|minutes", *loaded) == f"{sum(seconds) / 60:.0f}"
    every = [read_record(path) for path in record_files(RESULTS)]
    hours = sum(record.cpu_seconds for record in every if record.scale == "cpu") / 3600
    assert measured_text("all:cpu_seconds|sum|hours|.2f", *loaded) == f"{hours:.2f}"
    rows = json.loads((RESULTS / "benchmarks" / "attention_cpu.json").read_text())["rows"]
    [row] = [row for row in rows if row["frames"] == 16]
    text = "benchmarks/attention_cpu:16/seconds/dense_forward/median"
    assert measured_text(f"{text}|.4f", *loaded) == f"{row['seconds']['dense_forward']['median']:.4f}"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("tradeof.effect", "did you mean 'tradeoff'"),
        ("tradeoff.efect", "did you mean 'effect'"),
        ("tradeoff", "known: detectable, effect"),
        ("tradeoff.effect.3", "the rule has 1 parts"),
        ("tradeoff.effect|points", "remove 'points'"),
        ("02_space_time_tradeoff:frames/17/correct", "did you mean 'frames/16/correct'"),
        ("02_space:x", "did you mean '02_space_time_tradeoff'"),
        ("02_space_time_tradeoff@7:slow/2", "not all of these seeds"),
        ("02_space_time_tradeoff@a:slow/2", "@3 or @0-4"),
        ("02_space_time_tradeoff:slow/2 / 0", "nothing can be divided"),
        ("02_space_time_tradeoff:slow/2|pionts", "did you mean 'points'"),
        ("02_space_time_tradeoff:slow/2|above", "lacks its number"),
        ("02_space_time_tradeoff:slow/2|above 0|points", "nothing may follow"),
        ("02_space_time_tradeoff@0:slow/2|sd", "two seeds or more"),
        ("02_space_time_tradeoff:slow/2|max|min", "form 'min'"),
        ("07_curriculum:direct/correct[2]", "has shape"),
        ("07_curriculum:direct/correct where direct/stages", "has shape"),
        ("06_retrieval_qa:shown/0/caption", "holds no number"),
        ("benchmarks/atention_cpu:16/forward_ratio", "did you mean 'benchmarks/attention_cpu'"),
        ("benchmarks/attention_cpu:16/foward_ratio", "did you mean 'forward_ratio'"),
        ("benchmarks/attention_cpu:16/seconds", "is no number"),
    ],
)
def test_what_cannot_be_read_is_named(loaded: Loaded, expression: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        measured_text(expression, *loaded)


def test_what_other_records_may_hold_is_told_apart_from_a_slip(loaded: Loaded) -> None:
    for expression in ("ego-egonce.effect", f"{FRAMES}/32/correct", "02_space_time_tradeoff@7:slow/2"):
        with pytest.raises(NotRecordedError):
            measured_text(expression, *loaded)
    for expression in ("tradeof.effect", "02_space_time_tradeoff:slow/2|pionts"):
        with pytest.raises(ConfigError) as caught:
            measured_text(expression, *loaded)
        assert not isinstance(caught.value, NotRecordedError)


def copied(folder: Path, name: str, **changes: object) -> None:
    """A committed record with changed entries, its hash made anew, beside its outcomes."""
    data = json.loads((RESULTS / "cpu" / name).read_text())
    del data["content_sha256"]
    data |= changes
    path = folder / str(data["scale"]) / data["chapter"] / f"seed{data['seed']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(signed(data))
    shutil.copy(outcomes_path(RESULTS / "cpu" / name), outcomes_path(path))


def test_a_number_of_scale_smoke_says_so_whatever_seeds_are_named(tmp_path: Path) -> None:
    copied(tmp_path, "02_space_time_tradeoff/seed0.json", scale="smoke")
    for seeds in ("", "@0", "@3", "@0-4"):
        text = measured_text(f"02_space_time_tradeoff{seeds}:slow/2|percent", [], Results(tmp_path))
        assert text == "77.6% [smoke]"


def test_seeds_of_other_settings_are_not_averaged(tmp_path: Path) -> None:
    copied(tmp_path, "02_space_time_tradeoff/seed0.json")
    copied(tmp_path, "02_space_time_tradeoff/seed1.json", parameters={"steps": 1})
    with pytest.raises(ConfigError, match="name those that are meant"):
        measured_text("02_space_time_tradeoff:slow/2", [], Results(tmp_path))
    assert measured_text("02_space_time_tradeoff@0:slow/2|.3f", [], Results(tmp_path)) == "0.776"


def test_seeds_of_a_later_rule_are_left_out_unless_named(tmp_path: Path) -> None:
    copied(tmp_path, "02_space_time_tradeoff/seed0.json")
    copied(tmp_path, "02_space_time_tradeoff/seed1.json", rule_hashes={"tradeoff": "0" * 16})
    for seeds, text in (("", "0.776"), ("@1", "0.972"), ("@0-1", "0.874")):
        assert measured_text(f"02_space_time_tradeoff{seeds}:slow/2|.3f", [], Results(tmp_path)) == text


@pytest.mark.parametrize("elsewhere", [False, True], ids=["committed", "other edition"])
def test_the_role_fails_on_slips_and_tells_what_an_edition_lacks(
    loaded: Loaded, elsewhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    monkeypatch.delenv("SVITT_RESULTS", raising=False)
    if elsewhere:
        monkeypatch.setenv("SVITT_RESULTS", str(RESULTS))
    from docutils import nodes
    from svitt_ledger import Loaded as Ledger
    from svitt_measured import MISSING, Measured

    ledger_of_page = object.__new__(Ledger)
    ledger_of_page.rows = loaded[0]
    app = SimpleNamespace(svitt_ledger=ledger_of_page, svitt_measured=loaded[1])
    document = SimpleNamespace(settings=SimpleNamespace(env=SimpleNamespace(app=app)))
    reporter = SimpleNamespace(error=lambda text, line: nodes.system_message(text))
    inliner = SimpleNamespace(
        document=document, reporter=reporter, problematic=lambda raw, text, _: nodes.problematic(raw, raw)
    )

    def run(expression: str) -> tuple[str, int]:
        shown, messages = Measured()("measured", f"{{measured}}`{expression}`", expression, 1, inliner)
        return shown[0].astext(), len(messages)

    assert run("diminishing.effect.2") == ("+12.2", 0)
    for slip in ("tradeof.effect", f"{FRAMES}/16/correct|pionts", f"{FRAMES}/32/correct|pionts"):
        assert run(slip)[1] == 1
    missing = run(f"{FRAMES}/32/correct")
    assert missing == (MISSING, 0) if elsewhere else missing[1] == 1


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
    data = json.loads((fresh / "seed0.json").read_text())
    data["values"]["threads"] = 2
    data["outcomes_sha256"] = data["outcomes_sha256"][::-1]
    (fresh / "seed0.json").write_bytes(signed(data))
    assert main(["claims", "--results", str(RESULTS), "--against", str(tmp_path)]) == 2
    assert "was edited" in capsys.readouterr().err
