"""The measuring itself: order of runs, statistics, FLOPs, the table that is written."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from svitt.cli import main
from svitt.commands import bench
from svitt.commands.bench_lines import LINES
from svitt.errors import ConfigError
from svitt.experiments.ch05_efficiency.speed_tables import speed_table
from svitt.layers.edge_sparse_attention import attention_flops, edge_attention
from svitt.layers.edges import EdgeSparsity, fixed_edges, full_edges
from svitt.profiling.benchmark import Timing, interleave, machine, matmul_peak, threads
from svitt.profiling.cases import BenchSettings
from svitt.profiling.price import attention_seconds, encoder_seconds
from svitt.profiling.sparse_bench import attention_flops_of, bench_attention, bench_encoder
from svitt.records.workspace import project_root


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


def test_every_ratio_names_its_baseline() -> None:
    rows = [bench_attention(2, SMALL), bench_encoder(2, SMALL, training=True)]
    names = [
        ("forward_ratio", "sparse_forward", "_forward"),
        ("training_ratio", "sparse_training", "_training"),
    ]
    names += [
        ("edges_ratio", "edges", ""),
        ("edges_nodes_training_ratio", "edges_nodes_training", "_training"),
    ]
    for ratio, own, phase in names:
        row = next(row for row in rows if ratio in row)
        for suffix, baseline in (
            ("", "dense"),
            ("_to_dense_bias", "dense_bias"),
            ("_to_dense_bias_once", "dense_bias_once"),
        ):
            seconds = [row["seconds"][name]["median"] for name in (f"{baseline}{phase}", own)]
            assert row[ratio + suffix] == pytest.approx(seconds[0] / seconds[1])


def test_the_encoder_table_counts_fewer_flops_for_sparser_models() -> None:
    row = bench_encoder(2, SMALL)
    assert row["flops"]["dense"] > row["flops"]["edges"] > row["flops"]["edges_nodes"] > 0
    assert row["edges_nodes_flop_ratio"] > row["edges_flop_ratio"] > 1
    assert not [name for name in row["seconds"] if "training" in name]
    both = bench_encoder(2, SMALL, training=True)
    assert set(both) > set(row) and both["flops"] | row["flops"] == both["flops"]
    for name in ("dense", "edges", "edges_nodes"):
        assert both["flops"][f"{name}_training"] > 2 * both["flops"][name]


def test_a_price_is_flops_over_speed() -> None:
    """Twice the speed half the price, a repeat more a run more, a longer clip more."""
    for seconds in (attention_seconds, partial(encoder_seconds, training=[2])):
        price = seconds([2], SMALL, 1e9)
        assert seconds([2], SMALL, 2e9) == pytest.approx(price / 2)
        assert seconds([2], replace(SMALL, repeats=5), 1e9) == pytest.approx(2 * price)
        assert seconds([2, 4], SMALL, 1e9) > price > 0
    assert encoder_seconds([2], SMALL, 1e9, [2]) > 3 * encoder_seconds([2], SMALL, 1e9)
    # One kind's share by hand: dense attention forward and backward at 80% of the peak.
    dense = 4.5 * attention_flops_of("dense", 2, SMALL) / (0.8 * 1e9)
    assert attention_seconds([2], SMALL, 1e9) > 3 * dense  # beside it: bias once, bias, sparse


def test_the_command_writes_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "table.json"
    assert main(["bench", "attention", "--frames", "1,2", "--repeats", "1", "--json", str(out)]) == 0
    table = json.loads(out.read_text())
    assert [row["frames"] for row in table["rows"]] == [1, 2]
    assert table["machine"]["threads"] == 1
    assert table["settings"]["block_size"] == 56
    assert set(table["rows"][0]["seconds"]) == {
        f"{name}_{phase}"
        for name in ("dense", "dense_bias", "dense_bias_once", "sparse")
        for phase in ("forward", "training")
    }
    shown = capsys.readouterr()
    printed = shown.out
    assert printed.startswith("price: about ") and "bias made once" in printed
    assert shown.err == ""  # no bar: the output is no terminal
    assert "2 frames, 393 tokens" in printed
    assert "without bias" in printed


def test_the_encoder_command_times_a_training_step_where_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "BenchSettings", partial(BenchSettings, heads=2, head_dim=8, side=4, depth=10))
    out = tmp_path / "table.json"
    arguments = ["bench", "encoder", "--frames", "1,2", "--repeats", "1", "--block-size", "4"]
    assert main([*arguments, "--training-frames", "2", "--json", str(out)]) == 0
    table = json.loads(out.read_text())
    assert ["dense_training" in row["seconds"] for row in table["rows"]] == [False, True]
    assert table["settings"]["training_frames"] == [2]
    assert capsys.readouterr().out.count("training step: dense") == 1
    assert main([*arguments, "--training-frames", "4"]) == 2
    assert "--training-frames 4 is not among --frames [1, 2]" in capsys.readouterr().err


def test_the_committed_tables_are_made_in_one_call_and_read_as_the_old_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At their own lengths and repeats, with a tiny attention and encoder."""
    monkeypatch.setattr(bench, "BenchSettings", partial(BenchSettings, heads=1, head_dim=4, side=2, depth=10))
    assert main(["bench", "tables", "--block-size", "8", "--json", str(tmp_path), "--price"]) == 0
    assert re.fullmatch(
        r"price: about \d+ s \(attention \d+ s, encoder \d+ s\) at \d+ GFLOP/s\n", capsys.readouterr().out
    )
    assert list(tmp_path.iterdir()) == []
    assert main(["bench", "tables", "--block-size", "8", "--json", str(tmp_path)]) == 0
    committed = project_root() / bench.BENCHMARKS
    for name in ("attention_cpu.json", "encoder_cpu.json"):
        old, new = (json.loads((folder / name).read_text()) for folder in (committed, tmp_path))
        for key in ("what", "frames", "repeats", "clock", "threads"):
            assert old["settings"][key] == new["settings"][key], key
        assert set(old["rows"][0]) <= set(new["rows"][0])
        for row in (old["rows"][0], new["rows"][0]):  # either kind is printed
            assert f"{row['tokens']} tokens" in LINES[old["settings"]["what"]](row)
    shown = speed_table(tmp_path)
    assert shown.frames.unique().tolist() == [8, 16, 32, 4]
    assert set(shown["pass"]) == {"forward", "forward + backward", "training step"}
    assert list(speed_table(committed).frames) == list(shown.frames)


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
