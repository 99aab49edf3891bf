"""What a benchmark will cost, said before it runs: FLOPs over the speed of this machine, here and now."""

from __future__ import annotations

from collections.abc import Iterable

from svitt.profiling.cases import BenchSettings
from svitt.profiling.cost import encoder_cost
from svitt.profiling.encoder_steps import config_of
from svitt.profiling.sparse_bench import ATTENTIONS, ENCODERS, PHASES, attention_flops_of

# Fractions of the matmul peak that kinds reach, as the committed tables of one CPU have them: for a price.
_ATTENTION = {"dense": 0.8, "dense_bias": 0.33, "dense_bias_once": 0.7, "sparse": 0.4}
_ENCODER = {"dense": 0.88, "dense_bias": 0.6, "dense_bias_once": 0.75, "edges": 0.86, "edges_nodes": 0.86}


def attention_seconds(frames: Iterable[int], s: BenchSettings, peak: float) -> float:
    """Of ``bench_attention`` over these lengths, warm-up included. peak: FLOP/s of a matrix product."""
    rounds, total = s.repeats + 1, 0.0
    for count in frames:
        for name, kind in ATTENTIONS.items():
            flops = attention_flops_of(kind, count, s)
            total += sum(factor * flops for _, factor in PHASES) / (_ATTENTION[name] * peak)
    return rounds * total


def encoder_seconds(
    frames: Iterable[int], s: BenchSettings, peak: float, training: Iterable[int] = ()
) -> float:
    """Of ``bench_encoder`` over these lengths, warm-up included; training: lengths with a training step."""
    rounds, total, trained = s.repeats + 1, 0.0, set(training)
    for count in frames:
        for name, kind in ENCODERS.items():
            cost = encoder_cost(config_of(kind, count, s), batch=s.batch)
            flops = cost.total + (cost.training if count in trained else 0)
            total += flops / (_ENCODER[name] * peak)
    return rounds * total
