"""The measuring itself: order of runs, statistics, FLOPs, the table that is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from svitt.cli import main
from svitt.errors import ConfigError
from svitt.layers.edge_sparse_attention import attention_flops, edge_attention
from svitt.layers.edges import EdgeSparsity, fixed_edges, full_edges
from svitt.profiling.benchmark import Timing, interleave, machine, matmul_peak, threads
from svitt.profiling.cases import BenchSettings
from svitt.profiling.sparse_bench import bench_attention, bench_encoder


def test_alternatives_take_turns_and_the_warm_up_does_not_count() -> None:
    calls: list[str] = []
    seen: list[str] = []
    alternatives = {name: (lambda n=name: calls.append(n)) for name in "AB"}
    timings = interleave(alternatives, repeats=3, warmup=2, progress=seen.append)
    assert calls == seen == ["A", "B"] * 5
    assert [t.repeats for t in timings.values()] == [3, 3]


def test_the_slower_alternative_is_found_by_either_clock() -> None:
    small, large = torch.randn(16, 16), torch.randn(256, 256)
    for clock in ("wall", "cpu"):
        timings = interleave({"small": lambda: small @ small, "large": lambda: large @ large}, 9, clock=clock)  # type: ignore[arg-type]
        assert timings["large"].median > timings["small"].median > 0


def test_median_and_quartiles() -> None:
    timing = Timing.of([5.0, 1.0, 2.0, 4.0, 3.0])
    assert (timing.lower, timing.median, timing.upper, timing.repeats) == (2, 3, 4, 5)
    assert str(Timing.of([0.002])) == "2.0 ms [2.0, 2.0]"
    with pytest.raises(ValueError, match="at least one run"):
        Timing.of([])
    with pytest.raises(ConfigError, match=r"repeats = 0 .*integers from 1"):
        interleave({}, repeats=0)


def test_threads_are_restored() -> None:
    before = torch.get_num_threads()
    with threads(1) as count:
        assert count == torch.get_num_threads() == machine()["threads"] == 1
    assert torch.get_num_threads() == before
    with pytest.raises(ConfigError, match="threads = 0"), threads(0):
        pass


def test_the_peak_is_positive_and_not_beyond_any_processor() -> None:
    assert 1e8 < matmul_peak(size=128) < 1e15


def counted(function: object, *inputs: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        out = function(*inputs)  # type: ignore[operator]
        if out.requires_grad:
            out.sum().backward()
    return int(counter.get_total_flops())


def test_all_edges_cost_as_much_as_dense_attention() -> None:
    q = torch.randn(2, 3, 13, 4)
    dense = counted(lambda x: F.scaled_dot_product_attention(x, x, x), q)
    assert counted(lambda x: edge_attention(x, x, x, full_edges(12, 4), backend="chunked")[0], q) == dense
    assert attention_flops(q.shape, 13) == dense == 4 * 2 * 3 * 4 * 13 * 13


def test_fewer_edges_cost_in_proportion_and_the_backward_is_counted() -> None:
    pattern = fixed_edges(EdgeSparsity(num_random_blocks=1, block_size=4), 0, 20)
    q = torch.randn(1, 2, 21, 4)
    forward = counted(lambda x: edge_attention(x, x, x, pattern, backend="chunked")[0], q)
    assert forward == 4 * 2 * 4 * (20 * (1 + 2 * 4) + 21)
    training = counted(lambda x: edge_attention(x, x, x, pattern, backend="chunked")[0], q.requires_grad_())
    assert training == forward + 5 * forward // 2


SMALL = BenchSettings(heads=2, head_dim=8, side=4, edges=EdgeSparsity(1, 1, 4), depth=10, repeats=2)


def test_the_attention_table_has_consistent_ratios() -> None:
    row = bench_attention(2, SMALL)
    assert row["tokens"] == 33
    assert row["flop_ratio"] == pytest.approx(33 * 33 / (32 * 9 + 33))
    for phase in ("forward", "training"):
        ratio = row["seconds"][f"dense_{phase}"]["median"] / row["seconds"][f"sparse_{phase}"]["median"]
        assert row[f"{phase}_ratio"] == pytest.approx(ratio)
        assert row[f"{phase}_realised"] == pytest.approx(ratio / row["flop_ratio"])


def test_the_encoder_table_counts_fewer_flops_for_sparser_models() -> None:
    row = bench_encoder(2, SMALL)
    assert row["flops"]["dense"] > row["flops"]["edges"] > row["flops"]["edges_nodes"] > 0
    assert row["edges_nodes_flop_ratio"] > row["edges_flop_ratio"] > 1


def test_the_command_writes_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "table.json"
    assert main(["bench", "attention", "--frames", "1,2", "--repeats", "1", "--json", str(out)]) == 0
    table = json.loads(out.read_text())
    assert [row["frames"] for row in table["rows"]] == [1, 2]
    assert table["machine"]["threads"] == 1
    assert table["settings"]["block_size"] == 56
    assert set(table["rows"][0]["seconds"]) == {
        f"{name}_{phase}" for name in ("dense", "dense_bias", "sparse") for phase in ("forward", "training")
    }
    printed = capsys.readouterr().out
    assert "2 frames, 393 tokens" in printed
    assert "without bias" in printed


def test_impossible_settings_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in [
        (["--block-size", "0"], "block_size = 0"),
        (["--num-local-blocks", "2"], "num_local_blocks = 2"),
        (["--threads", "0"], "threads = 0"),
        (["--repeats", "0"], "repeats = 0"),
        (["--json", str(tmp_path / "none" / "x.json")], "does not exist"),
    ]:
        assert main(["bench", "attention", "--frames", "1", *arguments]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["bench", "attention", "--frames", "8,x"])
    assert "expected frame counts" in capsys.readouterr().err
