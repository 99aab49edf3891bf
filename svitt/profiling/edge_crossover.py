"""Measures when a mask beats the kernel of edge-sparse attention, and writes ``svitt.layers._edge_costs``.

``python -m svitt.profiling.edge_crossover`` says its price, measures (a file begun is gone on with), fits the
prices of ``svitt.layers.edge_crossover`` and prints the regret of its choices: how much slower they are than
the better way, where the prices were fitted, and on sizes held out.
"""

from __future__ import annotations

import argparse
import itertools
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls
from tqdm import tqdm

from svitt.layers._edge_call import Call
from svitt.layers.edge_crossover import seconds
from svitt.profiling.benchmark import machine, matmul_peak, threads
from svitt.profiling.edge_times import DTYPES, Case, Times, TimesFile, draw_cases, measure

Kind = tuple[str, bool, bool]  # dtype, bias, training
Prices = tuple[tuple[float, ...], tuple[float, ...]]
TIMES, COSTS_FILE = Path("data", "edge_times.jsonl"), Path("svitt", "layers", "_edge_costs.py")
TERMS = (Call.masked_terms, Call.chunked_terms)


def fit(times: Sequence[Times]) -> Prices:
    """Prices of both ways, none negative, by least squares of the relative error."""
    found = []
    for terms, taken in zip(TERMS, ([x.masked for x in times], [x.chunked for x in times]), strict=True):
        rows = np.array([terms(x.case.call()) for x in times], dtype=float) / np.array(taken)[:, None]
        scale = np.linalg.norm(rows, axis=0)
        scale[scale == 0] = 1  # terms that are 0 throughout, at no price
        prices, _ = nnls(rows / scale, np.ones(len(rows)))
        found.append(tuple(float(f"{x:.4g}") for x in prices / scale))
    return found[0], found[1]


def takes_mask(case: Case, prices: Prices) -> bool:
    """The choice."""
    call = case.call()
    return seconds(call.masked_terms(), prices[0]) <= seconds(call.chunked_terms(), prices[1])


def of_kind(times: Iterable[Times], kind: Kind, held_out: bool) -> list[Times]:
    """Those that are fitted together, or judged."""
    return [
        x for x in times if (x.case.dtype, x.case.bias, x.case.training) == kind and x.held_out == held_out
    ]


def fit_all(times: Iterable[Times]) -> dict[Kind, Prices]:
    """Prices of all kinds, from what is not held out."""
    times = list(times)
    kinds = itertools.product(DTYPES, (False, True), (False, True))
    found = {kind: of_kind(times, kind, held_out=False) for kind in kinds}
    return {kind: fit(some) for kind, some in found.items() if some}


def render(prices: dict[Kind, Prices], header: dict[str, Any]) -> str:
    """The text of ``svitt.layers._edge_costs``."""
    where = f"{header['processor']}, {header['threads']} thread, torch {header['torch']}"
    lines = [
        '"""Prices of the terms of ``svitt.layers.edge_crossover``, in seconds: of a mask, of the kernel.',
        "",
        "Written by ``python -m svitt.profiling.edge_crossover``; not to be edited.",
        f"Measured on {where}.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "import torch",
        "",
        "Prices = tuple[float, ...]",
        "# (device, dtype, bias, training)",
        "COSTS: dict[tuple[str, torch.dtype, bool, bool], tuple[Prices, Prices]] = {",
    ]
    for (dtype, bias, training), both in prices.items():
        lines += [f'    ("{header["kind"]}", torch.{dtype}, {bias}, {training}): (']
        lines += [f"        {price}," for price in both]
        lines += ["    ),"]
    return "\n".join([*lines, "}", ""])


def report(times: Sequence[Times], prices: dict[Kind, Prices]) -> list[str]:
    """Lines on the regret of all kinds, and every held-out choice that is above 5%, beside its noise."""
    lines, everything = [], list[float]()
    for kind, price in prices.items():
        parts = []
        for held_out in (False, True):
            some = of_kind(times, kind, held_out)
            regrets = [x.regret(takes_mask(x.case, price)) for x in some]
            if regrets:
                name = "held out" if held_out else "fitted"
                parts.append(f"{name} {np.mean(regrets):.2%}, at most {max(regrets):.1%}")
            if held_out:
                everything += regrets
                alone = [np.mean([x.regret(way) for x in some]) for way in (True, False)] if some else []
                parts += [f"{name} alone {x:.0%}" for name, x in zip(("mask", "kernel"), alone, strict=False)]
                bad = [x for x, regret in zip(some, regrets, strict=True) if regret > 0.05]
        lines.append(f"{kind[0]:8s} bias {kind[1]!s:5s} training {kind[2]!s:5s} " + "; ".join(parts))
        lines += [
            f"    {x.regret(takes_mask(x.case, price)):.1%} with noise of {x.noise:.1%}: {x.case}"
            for x in bad
        ]
    if everything:
        above = sum(x > 0.05 for x in everything)
        lines.append(
            f"held out, all: {np.mean(everything):.2%}, at most {max(everything):.1%}, above 5% "
            f"{above} of {len(everything)}"
        )
    return lines


def price_seconds(cases: Iterable[Case], repeats: int, peak: float) -> float:
    """About what measuring takes. peak: FLOP/s of a matrix product in float32."""
    pairs = [(c.call(), 3.5 if c.training else 1.0) for c in cases]
    flops = sum(f * 4 * c.batch * c.heads * c.dim * (1 + c.tokens) ** 2 for c, f in pairs)
    return (repeats + 2) * (2 * flops / (0.2 * peak) + 2e-3 * len(pairs))


def main(argv: Sequence[str] | None = None) -> None:
    """Measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--visits", type=int, default=2, help="to every case, apart in time")
    parser.add_argument("--fitted", type=int, default=44, help="sizes that prices are fitted to")
    parser.add_argument("--held-out", type=int, default=20, help="sizes that choices are judged on")
    parser.add_argument("--times", type=Path, default=TIMES, help="file of times; gone on with if there")
    parser.add_argument("--costs", type=Path, default=COSTS_FILE, help="file of prices, written anew")
    args = parser.parse_args(argv)
    with threads(1):
        sizes = {"repeats": args.repeats, "fitted": args.fitted, "held_out": args.held_out}
        file = TimesFile(args.times, {**machine(args.device), "kind": args.device, **sizes})
        cases = [(c, False) for c in draw_cases(0, args.fitted)]
        cases += [(c, True) for c in draw_cases(1, args.held_out)]
        done = Counter((x.case, x.held_out) for x in file.visits)
        left = []
        for visit in range(args.visits):  # apart in time: a load of the machine ends
            some = [x for x in cases if done[x] <= visit]
            random.Random(visit).shuffle(some)
            left += some
        peak = matmul_peak(args.device, clock="cpu" if args.device == "cpu" else "wall")
        minutes = price_seconds([c for c, _ in left], args.repeats, peak) / 60
        print(
            f"{len(left)} of {args.visits * len(cases)} visits left: about {minutes:.0f} minutes", flush=True
        )
        for case, held_out in tqdm(left, unit="visit"):
            file.add(measure(case, held_out, args.repeats, args.device))
    times = file.times()
    prices = fit_all(times)
    assert file.header is not None
    args.costs.write_text(render(prices, file.header))
    print("\n".join(report(times, prices)))


if __name__ == "__main__":
    main()
