"""What chapter 7 shows: tables, curves and stages, from recorded outcomes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from svitt.config import from_dict
from svitt.experiments.base import Recorded
from svitt.experiments.ch07_curriculum.harness import step_flops
from svitt.experiments.ch07_curriculum.scales import SCALES
from svitt.experiments.ch07_curriculum.settings import Settings
from svitt.experiments.shared.table_text import interval, percent
from svitt.layers.edges import fixed_edges
from svitt.profiling.cost import encoder_cost
from svitt.training.curriculum import Curriculum

# Arms at the larger budget and the middle keep rate: name in the outcomes -> label.
ARMS = {
    "short": "short clips only",
    "dense_direct": "long from the start, dense",
    "direct": "long and sparse from the start",
    "lengthen": "clips grow, sparse from the start",
    "sparsify": "sparsity grows, long from the start",
    "dense_expansion": "clips grow, dense",
    "expansion": "both grow: sparse expansion",
}
LABELS = {"direct": "direct, sparse", "dense_direct": "direct, dense", "expansion": "sparse expansion"}
SMOOTHING = 5  # of the points of a loss curve


def settings_of(run: Recorded) -> Settings:
    """The settings that a seed was measured with."""
    return from_dict(Settings, run.record.parameters)


def _cell(run: Recorded, arm: str, what: str, budget: int = -1, rate: int = 1) -> npt.NDArray[np.float64]:
    """An outcome of an arm at a budget and, where the arm has several, a keep rate."""
    array = run.outcomes[f"{arm}/{what}"]
    if arm in ("expansion", "direct"):
        array = array[budget, rate]
    elif arm in ("short", "dense_direct", "dense_expansion"):
        array = array[budget]
    return np.asarray(array, dtype=np.float64)


def accuracy(run: Recorded, arm: str, budget: int = -1, rate: int = 1) -> float:
    """Share of right events on test clips."""
    return float(_cell(run, arm, "correct", budget, rate).mean())


def arms(runs: Sequence[Recorded]) -> pd.DataFrame:
    """One row a seed and arm at the larger budget and middle keep rate; values in [0, 1]."""
    rows = [(run.record.seed, label, accuracy(run, arm)) for run in runs for arm, label in ARMS.items()]
    return pd.DataFrame(rows, columns=["seed", "trained", "right event"])


def arm_table(runs: Sequence[Recorded]) -> pd.DataFrame:
    """A row an arm: accuracy in percent, on slow and brief events too, on training clips, and its cost."""
    rows = {}
    for arm, label in ARMS.items():
        brief = [run.outcomes["event_brief"].astype(bool) for run in runs]
        right = [_cell(run, arm, "correct") for run in runs]
        train = np.array([float(_cell(run, arm, "train_correct")) for run in runs])
        flops = [float(_cell(run, arm, "train_flops")) for run in runs]
        seconds = [float(_cell(run, arm, "cpu_seconds")) for run in runs]
        test = np.array([r.mean() for r in right])
        rows[label] = {
            "test": percent(test),
            "slow": percent([r[~b].mean() for r, b in zip(right, brief, strict=True)]),
            "brief": percent([r[b].mean() for r, b in zip(right, brief, strict=True)]),
            "training clips": percent(train),
            "gap": interval(train - test),
            "TFLOPs": f"{np.mean(flops) / 1e12:.2f}",
            "CPU seconds": f"{np.mean(seconds):.0f}",
        }
    return pd.DataFrame(rows).T.rename_axis("trained")


def cells(runs: Sequence[Recorded]) -> pd.DataFrame:
    """One row a seed, budget, keep rate and arm (expansion, direct); values in [0, 1]."""
    s = settings_of(runs[0])
    rows = [
        (run.record.seed, steps, rate, arm, accuracy(run, arm, b, r))
        for run in runs
        for b, steps in enumerate(s.budgets)
        for r, rate in enumerate(s.keep_rates)
        for arm in ("expansion", "direct")
    ]
    return pd.DataFrame(rows, columns=["seed", "budget", "keep rate", "trained", "value"])


def expansion_minus_direct(runs: Sequence[Recorded]) -> pd.DataFrame:
    """Points that expansion gains over direct training, with 95% t-intervals: a row a keep rate (dense
    last), a column a budget. The mean of all cells but the dense ones is what the rule judges."""
    s = settings_of(runs[0])
    rows = {}
    for r, rate in enumerate(s.keep_rates):
        rows[f"keep {rate:g}"] = {
            f"budget {steps}": interval(
                [accuracy(run, "expansion", b, r) - accuracy(run, "direct", b, r) for run in runs]
            )
            for b, steps in enumerate(s.budgets)
        }
    rows["dense"] = {
        f"budget {steps}": interval(
            [accuracy(run, "dense_expansion", b) - accuracy(run, "dense_direct", b) for run in runs]
        )
        for b, steps in enumerate(s.budgets)
    }
    return pd.DataFrame(rows).T.rename_axis("final sparsity")


def by_length(runs: Sequence[Recorded], what: str = "correct") -> pd.DataFrame:
    """One row a seed, clip length and kind of encoder, trained directly; values in [0, 1]. what: "correct"
    on test clips, "train_correct" on training clips, or "gap", the second minus the first."""
    s = settings_of(runs[0])
    places = {
        "shortest": s.lengths[0],
        "middle": s.lengths[len(s.lengths) // 2],
        "longest": s.lengths[-1],
    }
    rows = []
    for run in runs:
        for name in ("dense", "sparse"):
            for place, length in places.items():
                test, seen = (
                    float(run.outcomes[f"{name}/{place}/{key}"].mean())
                    for key in ("correct", "train_correct")
                )
                value = {"correct": test, "train_correct": seen, "gap": seen - test}[what]
                rows.append((run.record.seed, name, length, value))
    return pd.DataFrame(rows, columns=["seed", "trained", "frames", "value"])


def sparse_minus_dense(runs: Sequence[Recorded]) -> pd.DataFrame:
    """Points with 95% t-intervals, a column a clip length: on test clips, and the generalisation gap."""
    rows = {}
    for title, what in {"test clips": "correct", "gap to training clips": "gap"}.items():
        table = by_length(runs, what).pivot(index=["seed", "frames"], columns="trained", values="value")
        difference = (table["sparse"] - table["dense"]).unstack("frames")
        rows[title] = {f"{n} frames": interval(difference[n].to_numpy()) for n in difference}
    return pd.DataFrame(rows).T.rename_axis("sparse minus dense")


def stage_table(scale: str, kind: str = "expansion") -> pd.DataFrame:
    """The stages of a training at the larger budget and middle keep rate: a row a stage."""
    settings, curriculum = _curriculum(scale, kind)
    rows = []
    for i, stage in enumerate(curriculum.stages):
        encoder = curriculum.encoder(settings.base(), i)
        tokens = int(np.prod(encoder.grid))
        flops = step_flops(encoder, stage.batch_size)
        rows.append({
            "frames": stage.num_frames,
            "patches": tokens,
            "left at the end": encoder_cost(encoder, stage.num_frames).layers[-1].tokens - 1,
            "edges in the first layer": f"{stage_mask(scale, kind, i).mean():.0%}",
            "steps": stage.steps,
            "GFLOPs a step": round(flops / 1e9, 2),
            "TFLOPs": round(stage.steps * flops / 1e12, 3),
        })  # fmt: skip
    return pd.DataFrame(rows, index=[f"stage {i + 1}" for i in range(len(rows))])


def _curriculum(scale: str, kind: str) -> tuple[Settings, Curriculum]:
    settings = SCALES[scale]
    last, rate = settings.lengths[-1], settings.keep_rates[1]
    made = settings.curriculum(kind, last, rate, True, len(settings.budgets) - 1, step_flops)  # type: ignore[arg-type]
    return settings, made


def stage_mask(scale: str, kind: str, number: int) -> npt.NDArray[np.bool_]:
    """Which patch (and CLS, first) reads which in the first layer of a stage."""
    settings, curriculum = _curriculum(scale, kind)
    encoder = curriculum.encoder(settings.base(), number)
    tokens = int(np.prod(encoder.grid))
    if encoder.edges is None:
        return np.ones((1 + tokens, 1 + tokens), dtype=bool)
    return fixed_edges(encoder.edges, 0, tokens).mask(tokens).numpy()


def losses(run: Recorded, kind: str) -> pd.DataFrame:
    """The loss along a training, smoothed over some points: step, loss, and the share of the cost spent."""
    stages, steps = run.outcomes[f"{kind}/stages"], run.outcomes[f"{kind}/loss_steps"]
    loss = pd.Series(run.outcomes[f"{kind}/loss"]).rolling(SMOOTHING, center=True, min_periods=1).mean()
    ends = np.cumsum(stages[:, 3])
    number = np.searchsorted(ends, steps, side="right").clip(max=len(ends) - 1)
    inside = (steps - (ends - stages[:, 3])[number]) / stages[number, 3]
    # Stages cost the same, so a step's share of the cost follows from its stage.
    return pd.DataFrame({"step": steps, "loss": loss, "spent": (number + inside) / len(ends)})


def tuning_table(runs: Sequence[Recorded]) -> pd.DataFrame:
    """Trials on tuning seeds, validation clips: a row a trial, a column an arm; mean accuracy in percent."""
    table = pd.DataFrame(
        [
            (trial, LABELS[arm], 100 * float(array.mean()))
            for run in runs
            for name, array in run.outcomes.items()
            for arm, trial, what in [name.split("/")]
            if what == "correct"
        ],
        columns=["trial", "arm", "percent"],
    )
    means = table.pivot_table(index="trial", columns="arm", values="percent", sort=False)
    means = means[[label for label in LABELS.values() if label in means]]
    return means.map(lambda value: "" if np.isnan(value) else f"{value:.1f}")


def stage_tokens(scale: str, kind: str, number: int) -> list[int]:
    """Patches that every layer of a stage reads."""
    settings, curriculum = _curriculum(scale, kind)
    encoder = curriculum.encoder(settings.base(), number)
    return [layer.tokens - 1 for layer in encoder_cost(encoder, encoder.num_frames).layers]
