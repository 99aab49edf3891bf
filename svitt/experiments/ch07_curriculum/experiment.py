"""Chapter 7: growing clips and sparsity together. Claims ``expansion`` and ``overfit``.

Clips with brief and slow events (chapter 2), all variants at the same training FLOPs. Raw outcomes of a seed:

- ``expansion/correct`` and ``direct/correct``, (budgets, keep rates, N): the right event among six, trained
  in stages or at the final length and sparsity at once; ``/train_flops`` and ``/train_correct`` (on training
  clips), (budgets, keep rates). ``dense_expansion``, ``dense_direct``, ``short``: without sparsity, and on
  the shortest clips alone, (budgets, N) and (budgets,).
- ``lengthen`` and ``sparsify``: one of the two grows alone, (N,), at the larger budget and middle keep rate.
- ``sparse/longest/correct`` and so on, (N,): at the same budget and keep rate, trained directly on the
  longest, middle and shortest clips, dense and sparse; ``sparse/train_flops``, ``dense/train_flops``.
- ``cpu_seconds`` beside every ``train_flops`` of the variants; ``chance``; ``event_brief`` (N,).
- ``<variant>/stages`` (stages, 4): frames, kept tokens, keys a token reads, steps; ``<variant>/loss``, along
  the training, of the variants ``expansion`` and ``direct`` at the larger budget and the middle keep rate.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from svitt.data.worlds.shapes.grammar import VERBS
from svitt.experiments.base import Measurement
from svitt.experiments.ch07_curriculum.harness import Trained, bench_of, run, step_flops
from svitt.experiments.ch07_curriculum.scales import SCALES
from svitt.experiments.ch07_curriculum.settings import Kind, Settings
from svitt.profiling.cost import computed_keys, encoder_cost
from svitt.records.workspace import Workspace

__all__ = ["CHAPTER", "SCALES", "TIMED", "Settings", "measure"]

CHAPTER = "07_curriculum"
TIMED = ("*/cpu_seconds",)
LOSS_POINTS = 200
Arrays = dict[str, npt.NDArray[Any]]


def measure(settings: Settings, seed: int, device: str, workspace: Workspace) -> Measurement:
    """Trains all variants of a seed."""
    bench = bench_of(settings, seed, device, workspace)
    longest, shortest = settings.lengths[-1], settings.lengths[0]
    middle = settings.lengths[len(settings.lengths) // 2]
    budgets, rates, last = range(len(settings.budgets)), settings.keep_rates, len(settings.budgets) - 1

    def variant(kind: Kind, length: int, rate: float, sparse: bool, budget: int) -> Trained:
        made = settings.curriculum(kind, length, rate, sparse, budget, step_flops)
        return run(
            bench, made, settings.rate(kind, sparse), f"{'sparse' if sparse else 'dense'} {kind} to {length}"
        )

    kinds: tuple[Kind, ...] = ("expansion", "direct")
    grid = {
        kind: [[variant(kind, longest, rate, True, b) for rate in rates] for b in budgets] for kind in kinds
    }
    rows = {
        "dense_expansion": [variant("expansion", longest, 1.0, False, b) for b in budgets],
        "dense_direct": [variant("direct", longest, 1.0, False, b) for b in budgets],
        "short": [variant("direct", shortest, 1.0, False, b) for b in budgets],
    }
    cells = {
        "lengthen": variant("lengthen", longest, rates[1], True, last),
        "sparsify": variant("sparsify", longest, rates[1], True, last),
        "sparse/longest": grid["direct"][last][1],
        "dense/longest": rows["dense_direct"][last],
        "sparse/middle": variant("direct", middle, rates[1], True, last),
        "dense/middle": variant("direct", middle, 1.0, False, last),
        "sparse/shortest": variant("direct", shortest, rates[1], True, last),
        "dense/shortest": rows["short"][last],
    }
    outcomes: Arrays = {}
    for kind in kinds:
        outcomes |= _arrays(kind, grid[kind]) | _along(kind, grid[kind][last][1], settings)
    for name, line in rows.items():
        outcomes |= _arrays(name, line)
    for name, cell in cells.items():
        outcomes |= _arrays(name, cell)
    for name in ("sparse", "dense"):
        outcomes[f"{name}/train_flops"] = outcomes[f"{name}/longest/train_flops"]
    outcomes["chance"] = np.array(1 / len(VERBS))
    outcomes["event_brief"] = np.array([event.brief for event in bench.events["test"]], dtype=np.int8)
    scalars = {name: float(a.mean()) for name, a in outcomes.items() if "/stages" not in name}
    return Measurement(scalars, outcomes)


def _arrays(name: str, cells: Any) -> Arrays:
    """The outcomes of one training, or of (nested) lists of them."""

    def each(field: str, of: Any) -> Any:
        return [each(field, one) for one in of] if isinstance(of, list) else getattr(of, field)

    fields = {"correct": "correct", "train_correct": "train_correct", "train_flops": "flops"}
    fields |= {"cpu_seconds": "cpu_seconds"}
    return {f"{name}/{what}": np.array(each(field, cells)) for what, field in fields.items()}


def _along(kind: str, cell: Trained, settings: Settings) -> Arrays:
    """Stages and losses of one training."""
    rows = []
    for i, stage in enumerate(cell.curriculum.stages):
        encoder = cell.curriculum.encoder(settings.base(), i)
        tokens = encoder.grid[0] * encoder.grid[1] * encoder.grid[2]
        kept = encoder_cost(encoder, stage.num_frames).layers[-1].tokens - 1
        rows.append((stage.num_frames, kept, computed_keys(stage.edges, tokens), stage.steps))
    chosen = np.linspace(0, len(cell.losses) - 1, min(LOSS_POINTS, len(cell.losses))).round().astype(int)
    return {
        f"{kind}/stages": np.array(rows),
        f"{kind}/loss_steps": chosen,
        f"{kind}/loss": cell.losses[chosen],
    }
