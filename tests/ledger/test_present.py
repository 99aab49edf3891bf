"""Second edition: kinds, named seeds, revisions, three reasons, counts, controls; simulated error rates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from svitt.errors import ConfigError
from svitt.ledger.claims import Claim, load_claims, rule_hashes
from svitt.ledger.counts import counted, sentence
from svitt.ledger.present import Present, corrected, guard_state, judge_test
from svitt.ledger.revisions import CountTable, Revision
from svitt.ledger.rules import Guard
from svitt.ledger.statistics import Interval
from svitt.ledger.verdict_words import Verdict
from svitt.ledger.verdicts import ledger
from svitt.records.code_list import write_code
from svitt.records.record import make_record, write_record
from tests.records.codes import toy_code

CODE = toy_code(Block="1")
FINDING = {"value": 0.5, "source": "data/claims.yaml"}
INSTRUMENT = dict.fromkeys(
    ("ideal_observer", "blind_observer", "floor", "ceiling", "null_variant", "tuning"), FINDING
)
X = {"name": "x", "terms": [{"outcome": "x", "reduce": "value"}]}
SEEDS = tuple(range(5, 15))


def claim(test: dict[str, Any], number: int = 0, kind: str = "test", **changes: Any) -> Claim:
    """A claim with a first rule of five seeds and a second one of ten."""
    rule = {"all_of": [{"contrast": X, "test": test}], "guards": changes.pop("guards", [])}
    second = {
        "number": 2,
        "date": "2026-12-01",
        "reason": "the first edition could hardly decide anything",
        "seeds": list(SEEDS),
        "rule": rule,
        "instrument": INSTRUMENT,
    }
    data = {
        "id": f"c{number}",
        "statement": "s",
        "sources": ["svitt"],
        "reported": None,
        "chapter": f"{number:02d}_x",
        "primary": "p",
        "kind": kind,
        "tested_here": "Whether x is what it should be.",
        "rule": {"all_of": [{"contrast": X, "test": {"kind": "superiority"}}]},
        "revisions": [second],
        "source_setting": {"command": "svitt run x", "needs": "data"},
    }
    return Claim.model_validate({**data, **changes})


def write(results: Path, made: Claim, seed: int, first_rule: bool = False, **outcomes: float) -> None:
    if first_rule:
        assert made.mechanism is not None
        hashes = {made.id: made.mechanism.hash}
    else:
        hashes = rule_hashes([made], made.chapter, "cpu", outcomes)
    record = make_record(
        made.chapter,
        "cpu",
        seed,
        parameters={},
        values={},
        code=CODE,
        rule_hashes=hashes,
        root=results,
        cpu_seconds=1,
        wall_seconds=1,
        command=f"svitt run {made.chapter} --scale cpu --seeds {seed}",
    )
    write_code(results, CODE)
    write_record(results, record, outcomes)


def judged(tmp_path: Path, test: dict[str, Any], values: list[float], **changes: Any) -> Present:
    made = claim(test, **changes)
    for seed, value in zip(SEEDS, values, strict=False):
        write(tmp_path, made, seed, x=value)
    return ledger([made], tmp_path)[0].present


SPREAD = np.array([-2.0, -1.5, -1, -0.5, -0.1, 0.1, 0.5, 1, 1.5, 2]) / 100


@pytest.mark.parametrize(
    ("test", "mean", "verdict", "cause"),
    [
        ({"kind": "superiority"}, 0.05, "supported", ""),
        ({"kind": "superiority"}, -0.05, "contradicted", ""),
        ({"kind": "superiority"}, 0.002, "inconclusive", "noise"),
        ({"kind": "superiority", "margin": 0.1}, 0.05, "inconclusive", "small"),
        ({"kind": "superiority", "margin": 0.1}, 0.2, "supported", ""),
        ({"kind": "superiority", "margin": 0.1}, -0.2, "contradicted", ""),
        ({"kind": "superiority", "margin": 1.0, "direction": "less"}, 0.8, "supported", ""),
        ({"kind": "noninferiority", "margin": 0.03}, 0.0, "supported", ""),
        ({"kind": "noninferiority", "margin": 0.03}, -0.1, "contradicted", ""),
        ({"kind": "equivalence", "margin": 0.03}, 0.0, "supported", ""),
        ({"kind": "equivalence", "margin": 0.03}, 0.1, "contradicted", ""),
        ({"kind": "equivalence", "margin": 0.012}, 0.005, "inconclusive", "noise"),
        ({"kind": "share", "margin": -1.0}, 0.0, "supported", ""),
        ({"kind": "share", "margin": 1.0}, 0.0, "contradicted", ""),
    ],
)
def test_every_kind_of_test_and_reason(
    tmp_path: Path, test: dict[str, Any], mean: float, verdict: str, cause: str
) -> None:
    now = judged(tmp_path, test, list(SPREAD + mean))
    assert (now.verdict, now.cause) == (verdict, cause), now.reason
    assert now.seeds == SEEDS and now.p_adjusted == now.p
    if cause == "noise":
        assert "power .8 would take" in now.reason


def test_the_p_value_is_that_of_the_signs(tmp_path: Path) -> None:
    now = judged(tmp_path, {"kind": "superiority"}, [0.05 + 0.001 * i for i in range(10)])
    assert now.p == 2 / 1024 and now.parts[0].effect_size is not None


def test_missing_seeds_leave_it_exploratory_and_earlier_seeds_are_not_judged(tmp_path: Path) -> None:
    made = claim({"kind": "superiority"})
    for seed in range(5):
        write(tmp_path, made, seed, first_rule=True, x=0.05 + 0.01 * seed)
    row = ledger([made], tmp_path)[0]
    assert row.present.verdict == Verdict.EXPLORATORY and row.mechanism.verdict == "supported"
    for seed in SEEDS[:9]:
        write(tmp_path, made, seed, x=-0.05 - 0.01 * seed)
    row = ledger([made], tmp_path)[0]
    assert (
        row.present.verdict == Verdict.EXPLORATORY and "seeds 14 of 10 are not recorded" in row.present.reason
    )
    write(tmp_path, made, 14, x=-0.05)
    row = ledger([made], tmp_path)[0]
    # The present verdict is that of the new seeds; the first edition's stays readable beside it.
    assert row.present.verdict == "contradicted" and row.present.seeds == SEEDS
    assert row.mechanism.verdict == "supported" and row.mechanism.seeds == tuple(range(5))


@pytest.mark.parametrize(
    ("low", "high", "within", "state"),
    [
        (0.5, 0.6, (0.4, None), "shown"),
        (0.3, 0.39, (0.4, None), "shown false"),
        (0.3, 0.5, (0.4, None), "open"),
        (0.3, 0.5, (None, 0.6), "shown"),
        (0.7, 0.8, (None, 0.6), "shown false"),
        (0.45, 0.55, (0.4, 0.6), "shown"),
    ],
)
def test_a_condition_has_three_states(low: float, high: float, within: tuple[Any, Any], state: str) -> None:
    guard = Guard.model_validate({"contrast": X, "within": within})
    assert guard_state(Interval((low + high) / 2, low, high, 0.1, 5), guard) == state


def test_conditions_hold_in_every_cell_and_the_one_that_does_not_is_named(tmp_path: Path) -> None:
    guard = {
        "contrast": {"name": "learnt at {cell}", "terms": [{"outcome": "{cell}/correct", "reduce": "value"}]},
        "within": [0.4, None],
        "each": ["a", "b"],
    }
    made = claim({"kind": "superiority"}, guards=[guard])
    for seed, noise in zip(SEEDS, SPREAD, strict=True):
        write(tmp_path, made, seed, **{"x": 0.05 + noise, "a/correct": 0.6 + noise, "b/correct": 0.2 + noise})
    now = ledger([made], tmp_path)[0].present
    assert (now.verdict, now.cause) == ("inconclusive", "instrument")
    assert "b (shown false)" in now.reason and "a (" not in now.reason


def test_the_family_is_every_test_with_complete_seeds_and_equal_p_are_treated_alike(tmp_path: Path) -> None:
    claims = [claim({"kind": "superiority"}, n) for n in range(4)]
    for number, mean in enumerate((0.05, 0.05, 0.0, 0.0)):
        for seed, noise in zip(SEEDS, SPREAD, strict=True):
            write(tmp_path, claims[number], seed, x=mean + noise)
    now = [row.present for row in ledger(claims, tmp_path)]
    assert [each.verdict for each in now] == ["supported", "supported", "inconclusive", "inconclusive"]
    assert now[0].p_adjusted == now[1].p_adjusted == pytest.approx(2 * now[0].p)
    assert now[0].level == pytest.approx(1 - 0.05 * 2 / 4)
    assert now[0].adjusted[0].low < now[0].parts[0].interval.low


def test_a_share_of_seeds_is_judged_where_some_seeds_fail() -> None:
    """Two clusters: 9 of 10 seeds learn. The mean is dragged by the one that does not, the share is not."""
    values = [0.3] * 9 + [-1.0]
    made = claim({"kind": "share", "margin": 0.1, "share": 0.5})
    assert made.revision is not None
    outcomes = [{"x": np.array(value)} for value in values]
    records: list[Any] = [type("R", (), {"seed": seed})() for seed in SEEDS]
    now = corrected({"c0": judge_test(made, made.revision, "cpu", records, outcomes)})["c0"]
    assert now.verdict == "supported" and now.p == pytest.approx(2 * 11 / 1024)


def test_counts_say_where_they_hold() -> None:
    table = CountTable.model_validate(
        {
            "what": "FLOPs",
            "axes": {"part": ["attention", "encoder"], "frames": ["4", "8", "16", "32"]},
            "contrast": {
                "name": "{part} at {frames}",
                "terms": [{"outcome": "{part}/dense/{frames}", "reduce": "value"}],
                "divided_by": [{"outcome": "{part}/sparse/{frames}", "reduce": "value"}],
                "unit": "ratio",
            },
            "holds": [6, None],
        }
    )
    one: dict[str, Any] = {}
    for part, ratios in (("attention", (3, 7, 14, 28)), ("encoder", (1.6, 1.9, 2.3))):
        for frames, ratio in zip(("4", "8", "16", "32"), ratios, strict=False):
            one[f"{part}/dense/{frames}"], one[f"{part}/sparse/{frames}"] = np.array(ratio), np.array(1.0)
    made = counted(table, [one, one])
    assert [cell.state for cell in made.cells] == ["fails"] + ["holds"] * 3 + ["fails"] * 3 + ["not run"]
    assert sentence([made]) == (
        "FLOPs (attention): holds from 8 to 32 frames (7.00 to 28.00), not at 4 frames (3.00); "
        "FLOPs (encoder): not from 4 to 16 frames (1.60 to 2.30)"
    )
    other = {**one, "attention/dense/8": np.array(5.0)}
    assert counted(table, [one, other]).cells[1].state == "mixed"


def test_the_claims_of_kind_count_control_and_test(tmp_path: Path) -> None:
    claims = {c.id: c for c in load_claims(Path(__file__).parents[2] / "data" / "claims.yaml")}
    assert {c.id for c in claims.values() if c.kind == "count"} == {
        "efficiency",
        "context",
        "quadratic",
        "tubes-tokens",
    }
    assert [c.id for c in claims.values() if c.kind == "control"] == ["shuffle"]
    for each in claims.values():
        if each.revision is not None:
            assert set(each.revision.seeds).isdisjoint(range(5)), "seeds 0 to 4 are seen"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "count"}, "a claim of kind count has tables"),
        ({"tested_here": "x"}, "at least 20"),
    ],
)
def test_a_claim_that_does_not_fit_its_kind_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        claim({"kind": "superiority"}, **changes)


def test_a_revision_without_instrument_or_with_a_seed_twice_is_refused() -> None:
    good = claim({"kind": "superiority"}).revision
    assert good is not None
    data = good.model_dump(mode="json")
    for key in ("instrument", "reason", "date"):
        with pytest.raises(ValueError, match=key):
            Revision.model_validate({k: v for k, v in data.items() if k != key})
    with pytest.raises(ValueError, match="name one twice"):
        Revision.model_validate({**data, "seeds": [5, 5]})
    assert Revision.model_validate({**data, "seeds": [5, 6]}).hash != good.hash
    assert Revision.model_validate({**data, "reason": "for another reason altogether"}).hash == good.hash


@pytest.mark.parametrize("clustered", [False, True])
def test_simulated_nulls_and_effects_come_out_at_the_stated_rates(clustered: bool) -> None:
    """Whole verdicts of a family of eight claims, half of them true; some seeds move to another cluster."""
    rng = np.random.default_rng(7)
    claims = [claim({"kind": "superiority"}, n) for n in range(8)]
    records: list[Any] = [type("R", (), {"seed": seed})() for seed in SEEDS]
    false, found, runs = [], [], 60
    for _ in range(runs):
        family = {}
        for number, made in enumerate(claims):
            values = rng.normal(0, 0.03, 10)
            if clustered:
                values += 0.2 * rng.choice([-1, 1], 10) * (rng.random(10) < 0.3)
            values += 0.1 if number < 4 else 0.0
            assert made.revision is not None
            outcomes = [{"x": np.array(value)} for value in values]
            family[made.id] = judge_test(made, made.revision, "cpu", records, outcomes)
        verdicts = [each.verdict for each in corrected(family).values()]
        decided = [v in ("supported", "contradicted") for v in verdicts]
        false.append(sum(decided[4:]) / max(1, sum(decided)))
        found.append(sum(v == "supported" for v in verdicts[:4]) / 4)
    assert np.mean(false) <= 0.05 + 2 * (0.05 * 0.95 / (runs * 4)) ** 0.5
    assert np.mean(found) > (0.3 if clustered else 0.95)


def test_an_error_names_the_claim(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "data" / "claims.yaml").read_text()
    path = tmp_path / "claims.yaml"
    path.write_text(text.replace("  kind: control\n", "  kind: controll\n", 1))
    with pytest.raises(ConfigError, match="claim shuffle: kind"):
        load_claims(path)
