"""The prices behind ``backend="auto"``: how they are fitted, written and judged, and the committed ones."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from svitt.errors import ConfigError
from svitt.layers import _edge_costs, edge_crossover
from svitt.layers._edge_kernel import ChunkPlan
from svitt.layers.edge_crossover import seconds
from svitt.layers.edges import fixed_edges
from svitt.profiling import edge_crossover as script
from svitt.profiling.edge_times import Case, Times, TimesFile, draw_cases, least, measure, step

SMALL = Case("float32", True, True, 2, 5, 2, 3, 32, 16, 3, own=False)
PRICES = (
    (2e-4, 1e-6, 1e-9, 2e-10, 3e-11, 1e-10, 2e-10, 1e-9),
    (5e-4, 1e-5, 1e-4, 2e-6, 1e-9, 1e-9, 1e-10, 1e-9, 3e-11, 1e-9),
)


def invented(held_out: bool = False, prices: script.Prices = PRICES) -> list[Times]:
    """Times that follow prices exactly, of float32 training with bias."""
    found = []
    for case in draw_cases(3, 40):
        if (case.dtype, case.bias, case.training) == ("float32", True, True):
            call = case.call()
            masked, chunked = call.masked_terms(), call.chunked_terms()
            found.append(Times(case, held_out, seconds(masked, prices[0]), seconds(chunked, prices[1]), 0.01))
    return found


def test_prices_that_times_follow_are_found_again() -> None:
    times = invented()
    prices = script.fit(times)
    for x in times:
        call = x.case.call()
        assert seconds(call.masked_terms(), prices[0]) == pytest.approx(x.masked, rel=1e-2)
        assert seconds(call.chunked_terms(), prices[1]) == pytest.approx(x.chunked, rel=1e-2)
    assert len({script.takes_mask(x.case, prices) for x in times}) == 2
    assert all(x.regret(script.takes_mask(x.case, prices)) < 0.02 for x in times)
    assert min(min(price) for price in prices) >= 0


def test_the_regret_is_that_of_the_slower_way() -> None:
    x = Times(SMALL, False, masked=3.0, chunked=2.0, noise=0.0)
    assert (x.regret(True), x.regret(False)) == (0.5, 0)


def test_the_report_names_what_is_held_out_and_chosen_wrongly() -> None:
    wrong = (tuple(1e3 * x for x in PRICES[0]), PRICES[1])  # always the kernel
    times = [*invented(), *invented(held_out=True)]
    lines = script.report(times, {("float32", True, True): wrong})
    bad = [x for x in times if x.held_out and x.regret(False) > 0.05]
    assert bad and sum("with noise of 1.0%" in line for line in lines) == len(bad)
    assert lines[-1].endswith(f"above 5% {len(bad)} of {len(times) // 2}")


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(
    "case",
    [
        Case("float32", True, False, 1, 5, 1, 3, 32, 16, 3, own=False),
        Case("float32", True, False, 3, 14, 4, 12, 64, 56, 3, own=False),
        Case("float32", True, False, 2, 16, 8, 6, 64, 56, 1, own=False),
    ],
)
def test_the_kernel_is_cut_as_its_terms_say(case: Case, own: bool) -> None:
    case = replace(case, own=own)
    call = case.call()
    pattern = fixed_edges(case.edges(), 0, case.tokens)
    codes = torch.zeros((case.batch, case.tokens) if own else case.tokens, dtype=torch.long)
    q = torch.zeros(case.batch, case.heads, 1 + case.tokens, case.dim)
    plan = ChunkPlan(q, torch.zeros(4, case.heads), codes, pattern.blocks, case.block_size, 0, False)
    groups = list(plan.groups())
    chunks = [chunk for group in groups for chunk in plan.chunks(group)]
    index = sum(chunk.index.numel() for chunk in chunks if chunk.index is not None)
    pairs = sum(g.units * plan.keys * len(q[0, 0, c.queries]) for g in groups for c in plan.chunks(g))
    terms = call.chunked_terms()
    assert terms[1:3] == (len(groups), len(chunks))
    assert (terms[7], terms[9]) == (pairs, index)


@pytest.mark.parametrize("own", [False, True])
def test_a_call_is_read_off_its_tensors(own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    case, seen = replace(SMALL, own=own), list[tuple[int, ...]]()

    def record(terms: tuple[int, ...], prices: tuple[float, ...]) -> float:
        seen.append(terms)
        return seconds(terms, prices)

    monkeypatch.setattr(edge_crossover, "COSTS", {("cpu", torch.float32, True, True): PRICES})
    monkeypatch.setattr(edge_crossover, "seconds", record)
    step(case)("auto")
    assert seen == [case.call().masked_terms(), case.call().chunked_terms()]


def test_what_has_no_prices_goes_to_the_kernel() -> None:
    q = torch.zeros(1, 1, 3, 4, dtype=torch.float64)
    assert not edge_crossover.masked_is_faster(q, q, q, fixed_edges(SMALL.edges(), 0, 2), None)


def test_both_ways_are_timed() -> None:
    found = measure(SMALL, held_out=True, repeats=2)
    assert found.held_out and 0 < found.masked < 1 and 0 < found.chunked < 1 and found.noise >= 0


def test_a_file_begun_is_gone_on_with(tmp_path: Path) -> None:
    path, header = tmp_path / "times.jsonl", {"processor": "this one"}
    first, second = (Times(replace(SMALL, batch=n), n == 2, 1.0, 2.0, 0.1) for n in (1, 2))
    TimesFile(path, header).add(first)
    with path.open("a") as file:
        file.write('[["float32", true')  # cut off in the middle
    file_again = TimesFile(path, header)
    assert file_again.visits == [first]
    file_again.add(second)
    assert TimesFile(path).visits == TimesFile(path).times() == [first, second]
    with pytest.raises(ConfigError, match="another one"):
        TimesFile(path, {"processor": "another one"})


def test_one_run_measures_what_is_left_and_writes_the_prices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured: list[Case] = []

    def timed(case: Case, held_out: bool, repeats: int, device: str) -> Times:
        measured.append(case)
        return Times(case, held_out, 1.0, 2.0, 0.1)

    monkeypatch.setattr(script, "measure", timed)
    args = [
        "--times",
        str(tmp_path / "t"),
        "--costs",
        str(tmp_path / "c"),
        "--fitted",
        "2",
        "--held-out",
        "1",
    ]
    script.main(args)
    assert set(Counter(measured).values()) == {2} and len(measured) == 2 * 3 * 2 * 2 * 3
    written = (tmp_path / "c").read_text()
    lines = (tmp_path / "t").read_text().splitlines(keepends=True)
    (tmp_path / "t").write_text("".join(lines[:-3]))
    script.main(args)
    assert len(measured) == 72 + 3 and (tmp_path / "c").read_text() == written
    out = capsys.readouterr().out
    assert "72 of 72 visits left: about" in out and "3 of 72 visits left: about" in out


def test_of_several_visits_the_least_counts_and_what_lies_between_is_noise() -> None:
    visits = [Times(SMALL, False, 1.0, 3.0, 0.1), Times(SMALL, False, 2.0, 2.0, 0.2)]
    assert least(visits) == Times(SMALL, False, 1.0, 2.0, 0.5)  # ratios of 3 and 1, 2 +- 50%
    assert least(visits[:1]) == visits[0]


# What is committed: the times of one run, and the prices that it wrote.
ROOT = Path(__file__).resolve().parents[2]
FILE = TimesFile(ROOT / script.TIMES)


def test_the_committed_prices_are_what_the_script_wrote() -> None:
    assert FILE.header is not None
    found = {(str(k[1]).removeprefix("torch."), *k[2:]): v for k, v in _edge_costs.COSTS.items()}
    assert (ROOT / script.COSTS_FILE).read_text() == script.render(found, FILE.header)
    again = script.fit_all(FILE.times())
    assert found.keys() == again.keys()
    for x in FILE.times():
        kind = (x.case.dtype, x.case.bias, x.case.training)
        call = x.case.call()
        for terms, old, new in zip(script.TERMS, found[kind], again[kind], strict=True):
            # Of another version of the solver the last digits may differ.
            assert seconds(terms(call), old) == pytest.approx(seconds(terms(call), new), rel=5e-3)


def test_the_committed_choices_are_as_right_on_sizes_held_out_as_is_said() -> None:
    times = [x for x in FILE.times() if x.held_out]
    costs = {(str(k[1]).removeprefix("torch."), *k[2:]): v for k, v in _edge_costs.COSTS.items()}

    def regret(x: Times) -> float:
        return x.regret(script.takes_mask(x.case, costs[x.case.dtype, x.case.bias, x.case.training]))

    regrets, noise = np.array([regret(x) for x in times]), np.array([x.noise for x in times])
    kernel, mask = (np.mean([x.regret(way) for x in times]) for way in (False, True))
    above = regrets > 0.05
    said = " ".join(str(edge_crossover.__doc__).split())
    assert (
        f"were {regrets.mean():.1%} slower than the better way on average, above 5% in {above.sum()} of "
        in said
    )
    assert (
        f" of {len(times)} cases ({(above & (regrets < noise)).sum()} of these by less than the noise" in said
    )
    assert (
        f"and {regrets.max():.0%} at most; the kernel alone {kernel:.0%}, the mask alone {mask:.0%}" in said
    )
    assert f"the median noise is {np.median(noise):.0%}" in said
    assert regrets.mean() < 0.02 < 0.1 < min(kernel, mask)
