"""Claims, rules and verdicts: known answers, error rates of whole verdicts, and what --check finds."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from statsmodels.stats.power import TTestPower

from svitt.cli import main
from svitt.errors import ConfigError, RecordError
from svitt.ledger import check as checking
from svitt.ledger.claims import Claim, find_claim, load_claims, rule_hashes
from svitt.ledger.evaluate_rule import evaluate, measure
from svitt.ledger.format import command_text, detectable_text, effect_text, instead_text, seeds_text
from svitt.ledger.judgement import Judgement
from svitt.ledger.rules import Contrast, Rule, Term
from svitt.ledger.verdict_words import Verdict
from svitt.ledger.verdicts import Row, ledger
from svitt.records.attempts import Attempt, append
from svitt.records.code_hash import Code
from svitt.records.code_list import code_path, write_code
from svitt.records.record import make_record, write_record
from tests.records.codes import toy_code

ROOT = Path(__file__).parents[2]
CLAIMS_FILE = ROOT / "data" / "claims.yaml"
CHAPTER = "01_frame_shuffle"
CODE = toy_code(Block="1", scores="2")
CLAIMS = load_claims(CLAIMS_FILE)


def same_code(entry: str) -> Code:
    return CODE


def ranks(share: float, rng: np.random.Generator, clips: int = 1000) -> np.ndarray:
    """Ranks of which about ``share`` are 1."""
    return np.where(rng.random(clips) < share, 1, 7).astype(np.int16)


def choices(share: float, rng: np.random.Generator, clips: int = 1000) -> np.ndarray:
    return rng.random(clips) < share


def shuffle_outcomes(seed: int, **shares: float) -> dict[str, np.ndarray]:
    """Outcomes of chapter 1 as world.md reports them, unless a share is given."""
    rng = np.random.default_rng(seed)
    given = {"mixed": 0.9, "shuffled": 0.45, "static": 0.94, "flip": 0.95, "flip_shuffled": 0.5} | shares
    static = ranks(given["static"], rng)
    moved = static.copy()
    moved[: int(1000 * given.get("static_change", 0.0))] = 7
    return {
        "mixed/none/rank": ranks(given["mixed"], rng),
        "mixed/shuffle/rank": np.stack([ranks(given["shuffled"], rng) for _ in range(3)]),
        "static/none/rank": static,
        "static/shuffle/rank": np.stack([moved] * 3),
        "mixed/none/flip": choices(given["flip"], rng),
        "mixed/shuffle/flip": np.stack([choices(given["flip_shuffled"], rng) for _ in range(3)]),
        "single_frame/none/flip": choices(given.get("single", 0.5), rng),
        "bag_of_frames/none/flip": choices(0.5, rng),
    }


def write(
    results: Path, outcomes: dict[str, np.ndarray], seed: int, scale: str = "cpu", **changes: Any
) -> Path:
    given: dict[str, Any] = {
        "parameters": {"clips": 1000},
        "values": {},
        "code": CODE,
        "root": results,
        "cpu_seconds": 1.0,
        "wall_seconds": 1.0,
        "command": f"svitt run {CHAPTER} --scale {scale} --seeds {seed}",
    }
    if "rule_hashes" not in changes:
        given["rule_hashes"] = rule_hashes(CLAIMS, CHAPTER, scale, outcomes)
    write_code(results, given["code"])
    made = {"record_set": CHAPTER, "scale": scale, "seed": seed, "commit": None, "code_hash": CODE.hash}
    append(results, Attempt(id=f"{scale}{seed}", event="finished", time="2026-01-01T00:00:00", **made))
    return write_record(results, make_record(CHAPTER, scale, seed, **{**given, **changes}), outcomes)


def shuffle_row(results: Path, claims: list[Claim] = CLAIMS) -> Row:
    return next(row for row in ledger(claims, results) if row.claim.id == "shuffle")


def five_seeds(results: Path, **shares: float) -> Judgement:
    for seed in range(5):
        write(results, shuffle_outcomes(seed, **shares), seed)
    return shuffle_row(results).mechanism


# The file


def test_the_file_holds_27_claims_with_rules() -> None:
    assert len(CLAIMS) == 27
    only_source = {claim.id for claim in CLAIMS if claim.mechanism is None}
    assert only_source == {"sparse-sota", "ego-gain", "ego-best", "tubes-classification"}
    hashes = [claim.mechanism.hash for claim in CLAIMS if claim.mechanism]
    assert len(set(hashes)) == len(hashes) == 23
    assert all(claim.mechanism.why for claim in CLAIMS if claim.mechanism)
    for claim in CLAIMS:
        # The claim about real models is measured with the probe, all others with their chapter.
        begins = "svitt probe --model " if claim.id == "shuffle" else f"svitt run {claim.chapter} "
        assert claim.source_setting.command.startswith(begins), claim.id


def test_ids_and_figures_equal_the_projects_list() -> None:
    shared = os.environ.get("SVITT_SHARED")
    if not shared:
        pytest.skip("SVITT_SHARED (the folder with claims.yaml) is unset")
    for entry in yaml.safe_load((Path(shared) / "claims.yaml").read_text(encoding="utf-8")):
        own = find_claim(CLAIMS, entry["id"]).model_dump(mode="json")
        assert {key: own[key] for key in entry} == entry


def edited_claims(tmp_path: Path, old: str, new: str) -> Path:
    text = CLAIMS_FILE.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "claims.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("margin: 0.10}", "margn: 0.10}", r"claim shuffle: rule\.Rule\.all_of\.0\.test\.margn"),
        ("reduce: recall@1", "reduce: recal@1", r"'recal@1'; allowed: mean, median"),
        ("{kind: noninferiority, margin: 0.02}", "{kind: noninferiority}", "needs a margin above 0"),
        ("- id: tradeoff", "- id: shuffle", "claim 'shuffle' stands there twice"),
        ("sources: [blog, svitt]", "sources: [blog, svit]", "claim shuffle: sources.1"),
        ("- id:", "- id: [", "is not YAML"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_claims(edited_claims(tmp_path, old, new))


def test_the_hash_covers_what_decides_and_nothing_else(tmp_path: Path) -> None:
    before = find_claim(CLAIMS, "shuffle").mechanism
    assert before is not None
    for old, new, same in [
        ("10 points is five times", "Ten points is five times", True),
        ("name: drop of R@1 under shuffling", "name: fall of R@1 under shuffling", True),
        ("unit: share", "unit: points", True),
        ("margin: 0.10}", "margin: 0.09}", False),
        ("within: [0.8, null]", "within: [0.7, null]", False),
        ("static/none/rank", "static/reverse/rank", False),
    ]:
        after = find_claim(load_claims(edited_claims(tmp_path, old, new)), "shuffle").mechanism
        assert after is not None and (after.hash == before.hash) == same, old


def test_rule_hashes_follow_the_outcomes_recorded() -> None:
    outcomes = shuffle_outcomes(0)
    rule = find_claim(CLAIMS, "shuffle").mechanism
    assert rule is not None
    assert rule_hashes(CLAIMS, CHAPTER, "cpu", outcomes) == {"shuffle": rule.hash}
    assert rule_hashes(CLAIMS, CHAPTER, "paper", ["real/none/rank", "real/shuffle/rank"]).keys() == {
        "shuffle"
    }
    assert rule_hashes(CLAIMS, CHAPTER, "cpu", ["other"]) == {}
    assert rule_hashes(CLAIMS, "07_curriculum", "cpu", ["chance"]) == {}  # read by two claims, tells nothing
    del outcomes["mixed/none/flip"]
    with pytest.raises(RecordError, match=r"claim 'shuffle' also reads the outcomes mixed/none/flip"):
        rule_hashes(CLAIMS, CHAPTER, "cpu", outcomes)


# Measures


def test_reductions_have_their_known_values() -> None:
    outcomes = {
        "rank": np.array([[1, 2, 6], [1, 5, 11]]),
        "tokens": np.array([100, 200, 400]),
        "flops": 3.0 * np.array([100, 200, 400]) ** 2,
        "curve": np.array([0.2, 0.4, 0.9]),
        "one": np.array(4.0),
    }
    for term, expected in [
        (Term(outcome="rank", reduce="recall@1"), 2 / 6),
        (Term(outcome="rank", reduce="recall@5"), 4 / 6),
        (Term(outcome="rank", reduce="median"), 3.5),
        (Term(outcome="flops", reduce="slope", over="tokens"), 2.0),
        (Term(outcome="curve", reduce="auc"), 0.5),
        (Term(outcome="one", reduce="value", coefficient=-2), -8.0),
    ]:
        assert evaluate(Contrast(name="x", terms=(term,)), outcomes) == pytest.approx(expected), term
    ratio = Contrast(
        name="x",
        terms=(Term(outcome="one"), Term(outcome="curve")),
        divided_by=(Term(outcome="curve"),),
        constant=-1,
    )
    assert evaluate(ratio, outcomes) == pytest.approx((4 + 0.5 - 1) / 0.5)


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (Term(outcome="none"), "'none' is not recorded"),
        (Term(outcome="rank", reduce="value"), r"shape \(2,\); reduce: value takes one number"),
        (Term(outcome="rank", reduce="recall@1"), "holds rank 0; ranks count from 1"),
        (Term(outcome="empty"), "'empty' is empty"),
    ],
)
def test_outcomes_that_do_not_fit_are_named(term: Term, message: str) -> None:
    outcomes = {"rank": np.array([0, 1]), "empty": np.array([])}
    with pytest.raises(RecordError, match=message):
        evaluate(Contrast(name="x", terms=(term,)), outcomes)


# Verdicts


def test_the_prototypes_numbers_support_the_shuffle_claim(tmp_path: Path) -> None:
    judged = five_seeds(tmp_path)
    assert judged.verdict == Verdict.SUPPORTED and judged.seeds == (0, 1, 2, 3, 4) and judged.scale == "cpu"
    assert judged.measurement is not None
    part = judged.measurement.parts[0]
    assert part.interval is not None and part.interval.mean == pytest.approx(0.45, abs=0.03)
    assert judged.p_adjusted == pytest.approx(23 * judged.p)  # first of a family of 23
    assert effect_text(part).startswith("+4") and effect_text(part).endswith("] points")


def test_a_small_drop_contradicts_it(tmp_path: Path) -> None:
    judged = five_seeds(tmp_path, shuffled=0.9)
    assert judged.verdict == Verdict.CONTRADICTED


@pytest.mark.parametrize(
    ("shares", "name"),
    [
        ({"flip": 0.7}, "the temporal models tell a clip from its reversal"),
        ({"static_change": 0.08}, "static captions, change of R@1"),
        ({"single": 0.6}, "single frame, flip choice at chance"),
        ({"flip_shuffled": 0.58}, "their flip choice is at chance once shuffled"),
    ],
)
def test_an_unmet_guard_leaves_it_open_and_is_named(
    tmp_path: Path, shares: dict[str, float], name: str
) -> None:
    judged = five_seeds(tmp_path, **shares)
    assert judged.verdict == Verdict.INCONCLUSIVE
    assert judged.reason.startswith("not shown: ") and name in judged.reason
    assert judged.reason.count(";") == 0  # that guard alone
    assert judged.p == judged.p_adjusted == 1


def test_smoke_missing_seeds_and_no_runs_give_no_verdict(tmp_path: Path) -> None:
    assert shuffle_row(tmp_path).mechanism.verdict == Verdict.NOT_MEASURED
    write(tmp_path, shuffle_outcomes(0), 0, scale="smoke")
    judged = shuffle_row(tmp_path).mechanism
    assert (judged.verdict, judged.scale) == (Verdict.TOO_SMALL, "smoke")
    for seed in (0, 1, 3):
        write(tmp_path, shuffle_outcomes(seed), seed)
    judged = shuffle_row(tmp_path).mechanism
    assert (judged.verdict, judged.scale) == (Verdict.INCONCLUSIVE, "cpu")
    assert judged.reason == "seeds 2, 4 of 5 are not recorded"


def test_the_largest_complete_scale_is_judged_on_its_first_seeds(tmp_path: Path) -> None:
    five_seeds(tmp_path)
    write(tmp_path, shuffle_outcomes(0, shuffled=0.9), 0, scale="gpu")
    assert shuffle_row(tmp_path).mechanism.scale == "cpu"
    for seed in range(1, 7):
        write(tmp_path, shuffle_outcomes(seed, shuffled=0.9), seed, scale="gpu")
    judged = shuffle_row(tmp_path).mechanism
    assert judged.scale == "gpu" and judged.seeds == (0, 1, 2, 3, 4)
    assert judged.verdict == Verdict.CONTRADICTED


def test_source_setting_is_judged_over_the_clips_of_one_run(tmp_path: Path) -> None:
    assert shuffle_row(tmp_path).source_setting.verdict == Verdict.NOT_MEASURED
    rng = np.random.default_rng(0)
    real = ranks(0.4, rng, 10_000)
    outcomes = {"real/none/rank": real, "real/shuffle/rank": real.copy()}
    write(tmp_path, outcomes, 0, scale="paper")
    row = shuffle_row(tmp_path)
    assert row.source_setting.verdict == Verdict.SUPPORTED
    assert row.mechanism.verdict == Verdict.NOT_MEASURED
    outcomes["real/shuffle/rank"] = ranks(0.2, rng, 10_000)
    write(tmp_path, outcomes, 0, scale="paper")
    assert shuffle_row(tmp_path).source_setting.verdict == Verdict.CONTRADICTED
    outcomes["real/shuffle/rank"] = ranks(0.382, rng, 10_000)
    write(tmp_path, outcomes, 0, scale="paper")
    assert shuffle_row(tmp_path).source_setting.verdict == Verdict.INCONCLUSIVE


def test_a_record_that_lacks_an_outcome_of_its_claim_is_named(tmp_path: Path) -> None:
    outcomes = shuffle_outcomes(0)
    hashes = rule_hashes(CLAIMS, CHAPTER, "cpu", outcomes)
    del outcomes["mixed/none/flip"]
    write(tmp_path, outcomes, 0, rule_hashes=hashes)
    with pytest.raises(RecordError, match=r"cpu/01_frame_shuffle: outcome 'mixed/none/flip' is not recorded"):
        ledger(CLAIMS, tmp_path)
    told: list[RecordError] = []
    rows = ledger(CLAIMS, tmp_path, told.append)
    assert len(told) == 1 and rows[0].mechanism.verdict == Verdict.NOT_MEASURED


def simple_claims(count: int, test: dict[str, Any], chapter: str = "02_x") -> list[Claim]:
    rule = {
        "all_of": [{"contrast": {"name": "x", "terms": [{"outcome": "x", "reduce": "value"}]}, "test": test}]
    }
    source = {"command": "svitt run 02_x", "needs": "data"}
    return [
        Claim.model_validate(
            {
                "id": f"c{i}",
                "statement": "s",
                "sources": ["svitt"],
                "reported": None,
                "chapter": f"{i:02d}_x",
                "primary": "p",
                "kind": "test",
                "tested_here": "Whether x is what it should be.",
                "rule": rule,
                "source_setting": source,
            }
        )
        for i in range(count)
    ]


def write_simple(results: Path, claim: Claim, values: list[float]) -> None:
    for seed, value in enumerate(values):
        record = make_record(
            claim.chapter,
            "cpu",
            seed,
            parameters={},
            values={},
            code=CODE,
            rule_hashes=rule_hashes([claim], claim.chapter, "cpu", ["x"]),
            root=results,
            cpu_seconds=0,
            wall_seconds=0,
            command=f"svitt run {claim.chapter} --scale cpu --seeds {seed}",
        )
        write_code(results, CODE)
        write_record(results, record, {"x": value})


def test_holm_over_all_claims_and_unmeasured_ones_count(tmp_path: Path) -> None:
    claims = simple_claims(6, {"kind": "superiority"})
    values = [0.05, 0.07, 0.03, 0.05, 0.06]  # p = 0.0014
    write_simple(tmp_path, claims[0], values)
    rows = ledger(claims, tmp_path)
    assert rows[0].mechanism.verdict == Verdict.SUPPORTED
    assert rows[0].mechanism.p_adjusted == pytest.approx(6 * rows[0].mechanism.p)
    assert ledger(simple_claims(60, {"kind": "superiority"}), tmp_path)[0].mechanism.verdict == (
        Verdict.INCONCLUSIVE
    )
    write_simple(tmp_path, claims[1], values)
    both = [row.mechanism.p_adjusted for row in ledger(claims, tmp_path)[:2]]
    assert max(both) <= rows[0].mechanism.p_adjusted


def test_inconclusive_says_what_could_have_been_seen(tmp_path: Path) -> None:
    claims = simple_claims(1, {"kind": "superiority"})
    write_simple(tmp_path, claims[0], [-0.05, 0.06, 0.01, -0.02, 0.03])
    judged = ledger(claims, tmp_path)[0].mechanism
    assert judged.verdict == Verdict.INCONCLUSIVE and judged.reason == "the interval allows both"
    sd = float(np.std([-0.05, 0.06, 0.01, -0.02, 0.03], ddof=1))
    found = TTestPower().solve_power(nobs=5, alpha=0.05, power=0.8) * sd  # a family of one
    assert judged.detectable[0] == pytest.approx(found, rel=1e-4)
    expected = f"an effect of {100 * found:.0f} points would have been found 8 times in 10"
    assert detectable_text(judged) == expected


@pytest.mark.parametrize(
    ("test", "values", "expected"),
    [
        (
            {"kind": "superiority", "margin": 0.1, "direction": "less"},
            [0.05, 0.06, 0.04, 0.05, 0.05],
            "supported",
        ),
        ({"kind": "superiority", "margin": 0.1}, [0.05, 0.06, 0.04, 0.05, 0.05], "contradicted"),
        ({"kind": "noninferiority", "margin": 0.02}, [-0.01, -0.012, -0.008, -0.01, -0.01], "supported"),
        ({"kind": "noninferiority", "margin": 0.02}, [-0.05, -0.06, -0.04, -0.05, -0.05], "contradicted"),
        (
            {"kind": "noninferiority", "margin": 0.02, "direction": "less"},
            [0.01, 0.012, 0.008, 0.01, 0.01],
            "supported",
        ),
        ({"kind": "equivalence", "margin": 0.02}, [0.001, -0.002, 0.0, 0.001, 0.0], "supported"),
        ({"kind": "equivalence", "margin": 0.02}, [-0.05, -0.06, -0.04, -0.05, -0.05], "contradicted"),
        ({"kind": "equivalence", "margin": 0.02}, [0.05, 0.06, 0.04, 0.05, 0.05], "contradicted"),
        ({"kind": "equivalence", "margin": 0.02}, [0.02, -0.03, 0.0, 0.03, -0.02], "inconclusive"),
        ({"kind": "superiority", "margin": 6.0}, [2.4] * 5, "contradicted"),  # a count: no spread
    ],
)
def test_each_kind_of_test(tmp_path: Path, test: dict[str, Any], values: list[float], expected: str) -> None:
    claims = simple_claims(1, test)
    write_simple(tmp_path, claims[0], values)
    assert ledger(claims, tmp_path)[0].mechanism.verdict == expected


def simulated_verdicts(rule: Rule, mean: float, sd: float, runs: int = 2000) -> dict[str, float]:
    """Shares of claims that come out for and against, uncorrected, over simulated sets of five seeds."""
    rng = np.random.default_rng(0)
    counts = {"for": 0, "against": 0}
    for row in rng.normal(mean, sd, (runs, 5)):
        measured = measure(rule, [{"x": np.array(value)} for value in row])
        counts["for"] += measured.p_for < 0.05
        counts["against"] += measured.p_against < 0.05
    return {key: count / runs for key, count in counts.items()}


def test_simulated_verdicts_at_the_margin_are_false_at_the_stated_rate() -> None:
    error = 4 * (0.025 * 0.975 / 2000) ** 0.5
    for test, mean in [
        ({"kind": "superiority", "margin": 0.1}, 0.1),
        ({"kind": "noninferiority", "margin": 0.02}, -0.02),
        ({"kind": "equivalence", "margin": 0.2}, 0.2),
    ]:
        rule = simple_claims(1, test)[0].mechanism
        assert rule is not None
        rates = simulated_verdicts(rule, mean, 0.03)
        assert rates == {"for": pytest.approx(0.025, abs=error), "against": pytest.approx(0.025, abs=error)}


def test_a_rule_of_two_parts_needs_both_and_fails_by_one() -> None:
    part = {"test": {"kind": "superiority"}}
    two = Rule.model_validate(
        {
            "all_of": [
                part | {"contrast": {"name": name, "terms": [{"outcome": name, "reduce": "value"}]}}
                for name in ("a", "b")
            ]
        }
    )
    up, down, open_ = (
        [0.05, 0.07, 0.03, 0.05, 0.06],
        [-0.05, -0.07, -0.03, -0.05, -0.06],
        [-1.0, 1, -0.5, 0.5, 0],
    )

    def measured(a: list[float], b: list[float]) -> tuple[float, float]:
        found = measure(two, [{"a": np.array(x), "b": np.array(y)} for x, y in zip(a, b, strict=True)])
        return found.p_for, found.p_against

    one = measured(up, up)[0]
    assert one < 0.01 and measured(up, open_)[0] > 0.5
    assert measured(up, down)[1] == pytest.approx(2 * one) and measured(up, down)[0] > 0.99


# --check


def problems(results: Path, code: Any = same_code, claims: list[Claim] = CLAIMS) -> list[str]:
    return checking.check(claims, results, code)


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    five_seeds(tmp_path)
    checking.write_snapshot(ledger(CLAIMS, tmp_path), tmp_path)
    assert problems(tmp_path) == []
    return tmp_path


def seed_file(results: Path, seed: int) -> Path:
    return results / "cpu" / CHAPTER / f"seed{seed}.json"


def test_check_finds_an_edited_value(judged: Path) -> None:
    path = seed_file(judged, 2)
    path.write_text(path.read_text().replace('"clips": 1000', '"clips": 1001'))
    [found] = problems(judged)
    assert "cpu/01_frame_shuffle/seed2.json was edited" in found


def test_check_finds_missing_files(judged: Path) -> None:
    seed_file(judged, 1).unlink()
    found = problems(judged)
    assert any("seed1.outcomes.json.gz has no record beside it" in text for text in found)
    assert any("seed1.json is missing, and verdicts.json rests on it" in text for text in found)
    assert any("claim 'shuffle': verdicts.json says 'passed'" in text for text in found)
    (judged / "cpu" / CHAPTER / "seed3.outcomes.json.gz").unlink()
    assert any("seed3.outcomes.json.gz, the raw outcomes" in text for text in problems(judged))


def test_check_finds_the_definition_that_changed(judged: Path) -> None:
    def changed(entry: str) -> Code:
        assert entry == "svitt.experiments.ch01_frame_shuffle.experiment:measure"
        return toy_code(Block="3", scores="2", new="4")

    [found] = problems(judged, changed)
    assert found.startswith("01_frame_shuffle (scales cpu) is stale: svitt.layers.Block, svitt.layers.new ch")

    def gone(entry: str) -> Code:
        raise ConfigError("no module")

    assert "svitt.experiments.ch01_frame_shuffle.experiment" in problems(judged, gone)[0]


def test_check_finds_a_list_of_definitions_that_is_missing_edited_or_of_no_record(judged: Path) -> None:
    path = code_path(judged, CODE.hash)
    text = path.read_text()
    path.write_text(text.replace(CODE.definitions[CODE.entry.replace(":", ".")].whole, "0" * 16))
    assert "was edited: its definitions do not give its hash" in problems(judged)[0]
    for damage in ("", "[]", "{}", text.replace("definitions", "definition")):
        path.write_text(damage)
        assert "is damaged" in problems(judged)[0]
    path.unlink()
    assert "the definitions behind a record, is missing" in problems(judged)[0]
    path.write_text(text)
    path.with_name("0123.json").write_text(text)
    assert "0123.json lists the code of no record" in problems(judged)[0]


def test_check_finds_a_changed_rule_and_suspends_its_verdict(judged: Path, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("claims")
    for old, new in [("margin: 0.10}", "margin: 0.05}"), ("single_frame/none/flip", "first_frame/none/flip")]:
        claims = load_claims(edited_claims(folder, old, new))
        found = problems(judged, claims=claims)
        assert sum("claim 'shuffle' was recorded under rule" in text for text in found) == 5
        row = shuffle_row(judged, claims)
        assert row.mechanism.verdict == Verdict.INCONCLUSIVE
        assert row.mechanism.reason == "the rule changed after seeds 0, 1, 2, 3, 4 were recorded"


def test_check_finds_other_parameters_a_dirty_tree_and_a_wrong_snapshot(judged: Path) -> None:
    stored = json.loads((judged / "verdicts.json").read_text())
    stored["claims"]["shuffle"]["present"]["verdict"] = "failed"
    (judged / "verdicts.json").write_text(json.dumps(stored))
    [found] = problems(judged)
    assert "verdicts.json says 'failed', the raw outcomes give 'passed'" in found
    write(judged, shuffle_outcomes(4), 4, parameters={"clips": 9})
    assert any("seed4.json has other parameters than seed 0" in text for text in problems(judged))
    (judged / "verdicts.json").unlink()
    assert any("verdicts.json is missing" in text for text in problems(judged))


def test_a_record_from_a_dirty_tree_is_found(tmp_path: Path) -> None:
    from svitt.records import record as records

    outcomes = shuffle_outcomes(0)
    path = write(tmp_path, outcomes, 0)
    dirty = records.read_record(path).model_copy(update={"dirty": True, "commit": "a" * 40})
    write_record(tmp_path, dirty, outcomes)
    assert any("uncommitted changes" in text for text in problems(tmp_path))


def test_snapshots_are_deterministic(judged: Path) -> None:
    before = (judged / "verdicts.json").read_bytes()
    checking.write_snapshot(ledger(CLAIMS, judged), judged)
    assert (judged / "verdicts.json").read_bytes() == before


# The command


def test_the_command_prints_filters_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    five_seeds(tmp_path)
    folder = ["--results", str(tmp_path)]
    assert main(["claims", *folder]) == 0
    out = capsys.readouterr().out
    assert "27 of 27 claims" in out and out.count(" not measured\n") + out.count("not measured: only") == 26
    assert main(["claims", *folder, "--verdict", "passed", "--paper", "svitt"]) == 0
    out = capsys.readouterr().out
    assert "1 of 27" in out and "svitt run 01_frame_shuffle --scale cpu --seeds 0-4" in out
    assert max(map(len, out.splitlines()[:-1])) <= 110
    assert main(["claims", *folder, "--write"]) == 0
    # CODE is no hash of the present modules: the record is stale, and the exit status says so.
    assert main(["claims", *folder, "--check"]) == 1
    err = capsys.readouterr().err
    assert "01_frame_shuffle (scales cpu) is stale: svitt." in err and "vouch for it (svitt replay" in err
    assert main(["claims", "--verdict", "pased"]) == 2
    assert "did you mean 'passed'" in capsys.readouterr().err
    assert main(["claims", "shufle"]) == 2
    assert main(["claims", "--results", str(tmp_path / "none")]) == 2


def test_words(tmp_path: Path) -> None:
    assert seeds_text([4, 0, 1, 2, 7]) == "0-2,4,7"
    claim = find_claim(CLAIMS, "ego-gain")
    assert command_text(claim, ledger([claim], tmp_path)[0].mechanism) == ""
    assert instead_text(claim).startswith("needs Ego4D")
    planned = find_claim(CLAIMS, "ego-egonce")
    assert command_text(planned, ledger([planned], tmp_path)[0].mechanism) == ""
    assert instead_text(planned) == "planned: chapter 8"
    written = find_claim(CLAIMS, "tradeoff")
    assert command_text(written, ledger([written], tmp_path)[0].mechanism) == (
        "svitt run 02_space_time_tradeoff --scale cpu --seeds 0-4"
    )
    assert claim.reported_text.startswith("SViTT-Ego 92.9/65.9; LaViLa-L 94.5/63.1")
