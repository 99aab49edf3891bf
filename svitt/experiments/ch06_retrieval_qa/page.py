"""What chapter 6 shows, from recorded outcomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from svitt.config import from_dict
from svitt.data.worlds.shapes.questions import KINDS, TEMPORAL, chance
from svitt.evaluation.metrics import recall_at
from svitt.experiments.base import Recorded
from svitt.experiments.ch06_retrieval_qa.experiment import NAMES, SELECTIONS, Settings
from svitt.experiments.shared.table_text import interval, percent

ARMS: dict[str, str] = {
    "dense": "dense",
    "edges": "sparse edges",
    "nodes": "sparse nodes",
    "sparse": "edges and nodes",
}
ANSWERING: dict[str, str] = {
    "dense": "dense",
    "sparse": "edges and nodes",
    "single_frame": "single frame",
    "text_only": "question only",
}
BY: dict[str, str] = {
    "text_cls": "text CLS",
    "text_mean": "all words",
    "random": "random",
    "lowest": "lowest",
}
MEASURES = {"rank": "R@1", "verb": "verb", "swap": "swap", "relation": "relation"}
assert set(ARMS) == set(NAMES.values()) and set(BY) == set(SELECTIONS)


def settings_of(run: Recorded) -> Settings:
    """The settings that a seed was measured with."""
    return from_dict(Settings, run.record.parameters)


def _value(run: Recorded, name: str) -> float:
    array = run.outcomes[name]
    return recall_at(array, 1) if name.endswith("rank") else float(array.mean())


def retrieval(runs: Sequence[Recorded]) -> pd.DataFrame:
    """One row a seed, arm and measure; values in [0, 1]."""
    rows = [
        (run.record.seed, label, measure, _value(run, f"{arm}/{kind}"))
        for run in runs
        for arm, label in ARMS.items()
        for kind, measure in MEASURES.items()
    ]
    return pd.DataFrame(rows, columns=["seed", "trained", "measure", "value"])


def trained_table(runs: Sequence[Recorded]) -> pd.DataFrame:
    """A row an arm: measures in percent, its training FLOPs over the dense ones, its last gain."""
    rows = {}
    for arm, label in ARMS.items():
        row = {m: percent([_value(r, f"{arm}/{k}") for r in runs]) for k, m in MEASURES.items()}
        flops = [r.outcomes[f"{arm}/train_flops"] / r.outcomes["dense/train_flops"] for r in runs]
        last = [float(r.outcomes[f"{arm}/last_gain"]) for r in runs]
        rows[label] = row | {"training FLOPs": f"{np.mean(flops):.2f}", "last gain": percent(last)}
    return pd.DataFrame(rows).T.rename_axis("trained")


def against_dense(runs: Sequence[Recorded]) -> pd.DataFrame:
    """Points of each sparse arm over the dense one, same seed, with 95% t-intervals."""
    rows = {}
    for arm, label in list(ARMS.items())[1:]:
        rows[label] = {
            measure: interval([_value(r, f"{arm}/{kind}") - _value(r, f"dense/{kind}") for r in runs])
            for kind, measure in MEASURES.items()
        }
    return pd.DataFrame(rows).T.rename_axis("minus dense")


def curves(runs: Sequence[Recorded]) -> pd.DataFrame:
    """One row a seed, arm and point of the training: GFLOPs spent until there, and R@1."""
    rows = []
    for run in runs:
        for arm, label in ARMS.items():
            curve = run.outcomes[f"{arm}/curve/rank"]
            flops = run.outcomes[f"{arm}/curve/flops"]
            steps = run.outcomes[f"{arm}/curve/steps"]
            for step, spent, ranks in zip(steps, flops, curve, strict=True):
                rows.append((run.record.seed, label, int(step), spent / 1e12, recall_at(ranks, 1)))
    return pd.DataFrame(rows, columns=["seed", "trained", "step", "TFLOPs", "R@1"])


def held_out(runs: Sequence[Recorded]) -> pd.DataFrame:
    """A row an arm: R@1 in percent on combinations seen in training, not seen, and after fine-tuning."""
    names = {"rank": "seen", "heldout/rank": "held out", "finetuned/rank": "held out, fine-tuned"}
    rows = {
        label: {name: percent([_value(r, f"{arm}/{key}") for r in runs]) for key, name in names.items()}
        for arm, label in ARMS.items()
    }
    return pd.DataFrame(rows).T.rename_axis("trained")


def _of_kind(run: Recorded, name: str, kinds: Sequence[str]) -> float:
    wanted = np.isin(run.outcomes["question_kind"], [KINDS.index(kind) for kind in kinds])
    return float(run.outcomes[f"{name}/answer_correct"][wanted].mean())


def questions(runs: Sequence[Recorded]) -> pd.DataFrame:
    """One row a seed, model and kind of question: the share of right answers."""
    rows = [
        (run.record.seed, label, kind, _of_kind(run, name, [kind]))
        for run in runs
        for name, label in ANSWERING.items()
        for kind in KINDS
    ]
    return pd.DataFrame(rows, columns=["seed", "model", "kind", "value"])


def chances() -> dict[str, float]:
    """Chance of every kind of question."""
    return {kind: chance(kind) for kind in KINDS}


def question_table(runs: Sequence[Recorded]) -> pd.DataFrame:
    """A row a model, a column a kind; percent. The last row is the chance of the kind."""
    rows = {
        label: {kind: percent([_of_kind(r, name, [kind]) for r in runs]) for kind in KINDS}
        for name, label in ANSWERING.items()
    }
    rows["chance"] = {kind: f"{100 * chance(kind):.1f}" for kind in KINDS}
    return pd.DataFrame(rows).T.rename_axis("answers by")


def question_gaps(runs: Sequence[Recorded]) -> pd.DataFrame:
    """Points between models with 95% t-intervals, over all questions and over those that need time."""
    pairs = {
        "dense minus question only": ("dense", "text_only"),
        "dense minus single frame": ("dense", "single_frame"),
        "sparse minus question only": ("sparse", "text_only"),
        "sparse minus single frame": ("sparse", "single_frame"),
        "sparse minus dense": ("sparse", "dense"),
    }
    over: dict[str, Sequence[str]] = {"all questions": KINDS, "which way, what came first": TEMPORAL}
    rows = {
        title: {name: interval([_of_kind(r, a, kinds) - _of_kind(r, b, kinds) for r in runs])
                for name, kinds in over.items()}
        for title, (a, b) in pairs.items()
    }  # fmt: skip
    return pd.DataFrame(rows).T


def guided_answers(runs: Sequence[Recorded]) -> pd.DataFrame:
    """Points that answers change by when half of the tokens go, by the question's attention."""
    rows = {}
    for arm in ("dense", "sparse"):
        key = f"{arm}/guided_answer_correct"
        change = [_value(r, key) - _value(r, f"{arm}/answer_correct") for r in runs]
        rows[ARMS[arm]] = {"all tokens": percent([_value(r, f"{arm}/answer_correct") for r in runs]),
                           "half of them": percent([_value(r, key) for r in runs]),
                           "change": interval(change)}  # fmt: skip
    return pd.DataFrame(rows).T.rename_axis("trained")


def looks(runs: Sequence[Recorded], arm: str = "dense") -> pd.DataFrame:
    """One row a seed, selection and keep rate: text-to-video R@1 after the second look; all tokens are keep
    rate 1 of every selection."""
    rows = []
    for run in runs:
        for selection, label in BY.items():
            rows.append((run.record.seed, label, 1.0, _value(run, f"{arm}/unpruned/rank")))
            for rate in settings_of(run).keep_rates:
                value = _value(run, f"{arm}/{selection}_{rate:g}/rank")
                rows.append((run.record.seed, label, rate, value))
    return pd.DataFrame(rows, columns=["seed", "selection", "keep_rate", "value"])


def look_table(runs: Sequence[Recorded]) -> pd.DataFrame:
    """A row a trained model: R@1 in percent of the first look, of the second, and of the second with
    text-guided pruning at the released rate."""
    names = {"first": "first look", "unpruned": "second look", "guided": "second look, guided"}
    rows = {}
    for arm in ("dense", "sparse"):
        row = {title: percent([_value(r, f"{arm}/{key}/rank") for r in runs]) for key, title in names.items()}
        gain = [_value(r, f"{arm}/guided/rank") - _value(r, f"{arm}/unpruned/rank") for r in runs]
        rows[ARMS[arm]] = row | {"guided minus all tokens": interval(gain)}
    return pd.DataFrame(rows).T.rename_axis("trained")


def guided_minus_random(runs: Sequence[Recorded]) -> pd.DataFrame:
    """Points between the text's choice and a random one, a row a keep rate, a column a trained model."""
    rates = settings_of(runs[0]).keep_rates

    def gap(arm: str, rate: float) -> Callable[[Recorded], float]:
        return lambda r: _value(r, f"{arm}/text_cls_{rate:g}/rank") - _value(r, f"{arm}/random_{rate:g}/rank")

    rows = {
        f"{rate:g}": {ARMS[arm]: interval([gap(arm, rate)(r) for r in runs]) for arm in ("dense", "sparse")}
        for rate in rates
    }
    return pd.DataFrame(rows).T.rename_axis("keep rate")
