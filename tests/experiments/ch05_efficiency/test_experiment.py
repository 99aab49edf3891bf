"""Chapter 5's experiment: counts that no seed changes, timings and memory where they belong, sound tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from svitt.errors import RecordError
from svitt.experiments import base
from svitt.experiments.ch05_efficiency import counts
from svitt.experiments.ch05_efficiency import experiment as efficiency
from svitt.experiments.ch05_efficiency import page as report
from svitt.experiments.ch05_efficiency.experiment import SCALES, Settings
from svitt.experiments.ch05_efficiency.speed_tables import sparsify_table, speed_table
from svitt.ledger.claims import claims_file, find_claim, load_claims
from svitt.ledger.evaluate_rule import measure
from svitt.ledger.tables import judged, rule_table, verdict_text
from svitt.profiling.benchmark import threads
from svitt.profiling.memory import Memory
from svitt.records.workspace import project_root
from tests.experiments.tiny import with_scale

TINY = Settings(
    (0,),
    (1, 2),
    2,
    (1, 2),
    (2, 1),
    (),
    (),
    4,
    heads=1,
    head_dim=16,
    side=4,
    block_size=8,
    num_random_blocks=1,
)


@pytest.fixture(scope="module")
def out_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = str(tmp_path_factory.mktemp("workspace"))
    with threads(1):
        for seed in (0, 1):
            base.ensure(with_scale(efficiency, TINY), "smoke", seed, "cpu", folder)
        yield folder


@pytest.fixture(scope="module")
def runs(out_dir: str) -> list[base.Recorded]:
    return base.recorded(with_scale(efficiency, TINY), "smoke", out_dir)


def test_counts_are_the_same_for_every_seed_and_times_are_kept_run_by_run(runs: list[base.Recorded]) -> None:
    first, second = (run.outcomes for run in runs)
    counted = [name for name in first if name.endswith("flops")]
    assert len(counted) == len(TINY.counted_frames) * (2 * 4 + 2)
    assert all(np.array_equal(first[name], second[name]) for name in counted)
    assert {name: a.shape for name, a in first.items() if name.startswith("time/encoder/sparse")} == {
        "time/encoder/sparse/1/forward": (2,),
        "time/encoder/sparse/2/forward": (1,),
    }
    timed = {name.split("/")[2] for name in first if name.startswith("time/attention")}
    assert timed == {"dense", "dense_bias", "edges"}
    assert float(first["matmul_peak"]) > 1e8


def test_the_rules_read_what_is_recorded(out_dir: str) -> None:
    for claim, parts in (("efficiency", 1), ("context", 3)):
        row = judged(claim, "smoke", out_dir)
        assert verdict_text(row).startswith(f"scale smoke, seeds 0-1: {claim}: too small to judge")
        assert len(rule_table(row)) == parts


def test_three_seeds_of_counts_decide_both_claims() -> None:
    """What the cpu scale will say: counts have no spread, so the verdicts follow from arithmetic."""
    found = {}
    for claim_id in ("efficiency", "context"):
        rule = find_claim(load_claims(claims_file(project_root())), claim_id).mechanism
        assert rule is not None and rule.seeds == len(SCALES["cpu"].seeds)
        found[claim_id] = measure(rule, [efficiency.counts(SCALES["cpu"])] * rule.seeds)
    ratio = found["efficiency"].parts[0].per_seed[0]
    assert 2.2 < ratio < 2.5 and found["efficiency"].p_against == 0
    over = [part.per_seed[0] for part in found["context"].parts]
    assert over[0] > over[1] > 1 > over[2] and found["context"].p_against == 0


def test_tables_have_a_row_for_every_comparison(runs: list[base.Recorded]) -> None:
    table = report.ratio_table(runs)
    # attention: 2 lengths x 2 phases x 2 baselines; encoder: 2 lengths x 2 arms x 2 baselines
    assert len(table) == 8 + 8
    assert set(table.against) == {"dense, no bias", "dense with bias"}
    assert set(table.runs) == {2, 4}  # one or two runs, by two seeds
    ratios = report.ratios(runs).set_index(["quantity", "part", "arm", "frames", "phase"])
    assert (ratios.lower <= ratios["median"]).all() and (ratios["median"] <= ratios.upper).all()
    flops = report.sized_flops(TINY, "encoder", "dense", 2, "forward")
    sparse = report.sized_flops(TINY, "encoder", "sparse", 2, "forward")
    assert ratios.loc[("FLOPs", "encoder", "sparse", 2, "forward"), "median"] == pytest.approx(flops / sparse)


def test_ratios_pair_the_runs_that_took_turns(runs: list[base.Recorded]) -> None:
    doctored = [
        base.Recorded(
            run.record,
            {
                **run.outcomes,
                "time/encoder/dense/1/forward": np.array([2.0, 8.0]),
                "time/encoder/sparse/1/forward": np.array([1.0, 2.0]),
            },
        )
        for run in runs
    ]
    table = report.ratios(doctored)
    row = table[(table.quantity == "time") & (table.arm == "sparse") & (table.frames == 1)].iloc[0]
    assert (row.lower, row["median"], row.upper, row.runs) == (2, 3, 4, 4)
    assert report.context_cost(doctored).loc["2 over 1 frames", "FLOPs"] > 1


def test_counts_that_differ_between_seeds_are_refused(runs: list[base.Recorded]) -> None:
    table = report.count_ratios(runs)
    assert set(table.arm) == {"edges", "nodes", "sparse"} and (table["median"] > 1).all()
    changed = {**runs[1].outcomes, "encoder/sparse/16/flops": np.array(1)}
    with pytest.raises(RecordError, match=r"sparse/16/flops.*differs between seeds"):
        report.count_ratios([runs[0], base.Recorded(runs[1].record, changed)])


def test_shares_of_the_explorer(runs: list[base.Recorded]) -> None:
    run, longer = report.shares(runs, 2, "dense_bias"), report.shares(runs, 64, "dense")
    assert set(run.quantity) == {"FLOPs", "time"} and set(longer.quantity) == {"FLOPs"}
    assert longer.share.between(0, 1).all()
    assert not report.peak_share(runs).empty


def test_longest_and_shortest_clips_sit_on_their_bounds() -> None:
    budget = efficiency.counted_cost("dense", 8).total
    longest = counts.longest_clip("sparse", budget)
    assert efficiency.counted_cost("sparse", longest).total <= budget
    assert efficiency.counted_cost("sparse", longest + 1).total > budget
    assert counts.longest_clip("dense", budget) == 8 and counts.longest_clip("dense", 1) == 0
    table = counts.shortest_clip_reaching(2, longest=40)
    found = dict(zip(zip(table.what, table.sparsity, strict=True), table.iloc[:, 2], strict=True))
    assert found["whole encoder", "nodes"] == "never"
    first = int(found["whole encoder", "edges + nodes"])
    ratio = [
        efficiency.counted_cost("dense", n).total / efficiency.counted_cost("sparse", n).total
        for n in (first - 1, first)
    ]
    assert ratio[0] < 2 <= ratio[1]


def test_the_bound_is_that_of_free_attention() -> None:
    table = counts.free_attention((4, 24))
    cost = efficiency.counted_cost("dense", 24)
    assert table.bound.tolist()[1] == round(cost.total / cost.linear, 2)
    stacked = counts.where_flops_go((4,), ("dense",))
    assert stacked.flops.sum() == efficiency.counted_cost("dense", 4).total


def test_every_scale_is_sound() -> None:
    for name, settings in SCALES.items():
        assert len(settings.encoder_repeats) == len(settings.encoder_frames), name
        assert {4, 8, 16, 32} <= set(settings.counted_frames), name
        assert set(settings.training_frames) <= set(settings.memory_frames), name
    assert SCALES["cpu"].heads * SCALES["cpu"].head_dim == efficiency.counted_config("dense", 4).width


def test_memory_of_each_arm_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which processes are started; that each measures what it should is tested with peak_memory."""
    started = []

    def recorded(build: object, *args: object, **kwargs: object) -> object:
        started.append((build.__name__, *args[:3]))  # type: ignore[attr-defined]
        return Memory(before=1, peak=8)

    monkeypatch.setattr(efficiency, "peak_memory", recorded)
    settings = replace(TINY, memory_frames=(2, 8), training_frames=(2,))
    found = efficiency.memories(settings, efficiency.bench_settings(settings, 0, "cpu"))
    assert len(started) == len(found) == 6 + 8 + 4 + 3  # at 8 frames no bias is written down
    assert ("fresh_encoder", "dense_bias", "training", 2) in started
    assert not any(frames == 8 and arm == "dense_bias" for _, arm, _, frames in started)
    assert set(map(int, found.values())) == {7}


SPARSE = {"flop_ratio": 1.45, "gflops_per_image": 24.0}


def test_speed_tables_are_read(tmp_path: Path) -> None:
    assert speed_table(tmp_path).empty and sparsify_table(tmp_path).empty
    machine = {"processor": "P", "device": "cpu", "threads": 1}
    row = {"frames": 8, "forward_ratio": 3.4, "forward_ratio_to_dense_bias": 7.0, "flop_ratio": 6.9}
    for name, what, rows in (
        ("a", "attention", [row]),
        ("b", "encoder", [{"frames": 4, "edges_training_ratio": 1.5, "edges_training_flop_ratio": 1.6}]),
        ("c", "sparsify", [{"model": "merge", "images_per_second": 4.0, "time_ratio": 1.4} | SPARSE]),
    ):
        settings = {"dtype": "float32", "what": what, "model": "vit"}
        table = {"settings": settings, "machine": machine, "rows": rows}
        (tmp_path / f"{name}.json").write_text(json.dumps(table))
    read = speed_table(tmp_path)
    assert list(read["pass"]) == ["forward", "training step"]
    assert list(read["variant"]) == ["edges", "edges"]
    assert list(read["no bias"]) == [3.4, 1.5] and list(read["FLOPs"]) == [6.9, 1.6]
    assert read["bias rebuilt"][0] == 7.0 and read["bias made once"].isna().all()
    (sparse,) = sparsify_table(tmp_path).to_dict("records")
    assert (sparse["tokens"], sparse["faster"]) == ("merged (ToMe)", 1.4)


def test_the_committed_tables_meet_the_targets() -> None:
    """Attention at least 3, 6.5 and 12 times as fast forward, 3, 6 and 11 with backward; of what their FLOPs
    promise, the encoders realise nine tenths."""
    table = speed_table(project_root() / "data" / "results" / "benchmarks")
    attention = table[table["of"] == "attention"].pivot(index="pass", columns="frames", values="no bias")
    assert (attention.loc["forward"] >= [3, 6.5, 12]).all()
    assert (attention.loc["forward + backward"] >= [3, 6, 11]).all()
    encoder = table[table["of"] == "encoder"]
    assert len(encoder) == 10 and (encoder["no bias"] >= 0.9 * encoder["FLOPs"]).all()


def test_merging_and_pruning_of_a_timm_model_cost_the_same() -> None:
    table = sparsify_table(project_root() / "data" / "results" / "benchmarks").set_index("tokens")
    pruned, merged = table.loc["by cls"], table.loc["merged (ToMe)"]
    assert pruned["FLOPs"] == pytest.approx(merged["FLOPs"], rel=0.01)
    assert min(pruned["faster"], merged["faster"]) > 0.9 * pruned["FLOPs"] > 1.2
