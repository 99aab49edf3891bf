"""The alternatives that are timed compute the same thing, and what their names say."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from svitt.errors import ConfigError
from svitt.layers.edges import EdgeSparsity, full_edges
from svitt.layers.token_pruning import NodeSparsity
from svitt.profiling.cases import (
    BenchSettings,
    attention_inputs,
    attention_step,
    encoder_config,
    encoder_step,
    flex_attention_step,
    fresh_attention,
    fresh_encoder,
)
from svitt.profiling.cost import encoder_cost

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = BenchSettings(
    heads=2, head_dim=8, side=4, depth=3, edges=EdgeSparsity(1, 1, 8), nodes=NodeSparsity(0.5, (0, 1))
)


def gradients(step: object) -> list[Tensor]:
    return list(step())  # type: ignore[operator]


def test_with_all_edges_sparse_equals_dense_with_bias_and_its_gradients() -> None:
    x = replace(attention_inputs(2, SMALL), pattern=full_edges(32, 8))
    made, wanted = (attention_step(kind, "forward", x)() for kind in ("edges", "dense_bias"))
    assert torch.allclose(made, wanted, atol=1e-5)  # type: ignore[arg-type]
    pairs = zip(*(gradients(attention_step(k, "training", x)) for k in ("edges", "dense_bias")), strict=True)
    for a, b in pairs:
        assert torch.allclose(a, b, atol=1e-4)


def test_dense_has_no_bias_and_no_gradient_of_it() -> None:
    x = attention_inputs(2, SMALL)
    with_bias, without = (attention_step(kind, "forward", x)() for kind in ("dense_bias", "dense"))
    assert not torch.allclose(with_bias, without, atol=1e-3)  # type: ignore[arg-type]
    assert [len(gradients(attention_step(k, "training", x))) for k in ("dense", "dense_bias")] == [3, 4]


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_attention_computes_the_same_edges_and_bias() -> None:
    x = attention_inputs(2, SMALL)
    with torch.no_grad():
        made = flex_attention_step(x, compiled=False)()
    wanted = attention_step("edges", "forward", x)()
    assert torch.allclose(made, wanted, atol=1e-5)  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_compiled_flex_attention_agrees_on_cuda() -> None:
    x = attention_inputs(2, replace(SMALL, head_dim=64, device="cuda"))
    with torch.no_grad():
        made = flex_attention_step(x)()
    wanted = attention_step("edges", "forward", x)()
    assert torch.allclose(made, wanted, atol=1e-2)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["dense", "dense_bias", "edges", "nodes", "sparse"])
def test_an_encoder_step_does_the_work_that_the_cost_model_says(kind: str) -> None:
    step = encoder_step(kind, "forward", 2, SMALL)  # type: ignore[arg-type]
    with FlopCounterMode(display=False) as counter:
        step()
    config = encoder_config(kind, 2, SMALL)  # type: ignore[arg-type]
    assert counter.get_total_flops() == encoder_cost(config).total
    assert (config.position == "absolute") == (kind in ("dense", "nodes"))


def test_a_training_step_includes_the_backward() -> None:
    step = encoder_step("sparse", "training", 2, SMALL)
    with FlopCounterMode(display=False) as counter:
        step()
    assert counter.get_total_flops() == encoder_cost(encoder_config("sparse", 2, SMALL)).training


def test_cases_for_fresh_processes_run() -> None:
    first, second = (
        fresh_attention("edges", "training", 2, SMALL),
        fresh_encoder("sparse", "forward", 2, SMALL),
    )
    assert len(gradients(first)) == 4
    assert second() is not None


def test_unknown_kinds_are_refused() -> None:
    x = attention_inputs(1, SMALL)
    with pytest.raises(ConfigError, match="did you mean 'edges'"):
        attention_step("edge", "forward", x)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"phase = 'training' .*forward"):
        attention_step("flex", "training", x)
    with pytest.raises(ConfigError, match="did you mean 'sparse'"):
        encoder_config("sparce", 1, SMALL)  # type: ignore[arg-type]
