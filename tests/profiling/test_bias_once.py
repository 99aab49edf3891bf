"""A bias written down once gives what a bias made anew gives; a training step trains."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from svitt.errors import ConfigError
from svitt.layers.attention import SelfAttention
from svitt.layers.edges import EdgeSparsity
from svitt.layers.token_pruning import NodeSparsity
from svitt.models.video_encoder import VideoEncoder
from svitt.profiling import encoder_steps as steps_module
from svitt.profiling.bias_once import FixedBias, attention_once_step, write_bias_down
from svitt.profiling.cases import BenchSettings, attention_inputs, attention_step, encoder_config
from svitt.profiling.cost import encoder_cost
from svitt.profiling.encoder_steps import config_of, encoder_steps, fresh_encoder_step

SMALL = BenchSettings(
    heads=2, head_dim=8, side=4, depth=3, edges=EdgeSparsity(1, 1, 8), nodes=NodeSparsity(0.5, (0, 1))
)


def test_attention_with_a_bias_made_once_is_that_with_a_bias() -> None:
    x = attention_inputs(2, SMALL)
    once, anew = attention_once_step("forward", x)(), attention_step("dense_bias", "forward", x)()
    assert torch.allclose(once, anew, atol=1e-6)  # type: ignore[arg-type]
    gradients = attention_once_step("training", x)()
    wanted = attention_step("dense_bias", "training", x)()
    assert len(gradients) == 3 and len(wanted) == 4  # type: ignore[arg-type]
    for a, b in zip(gradients, wanted, strict=False):  # type: ignore[call-overload]
        assert torch.allclose(a, b, atol=1e-5)


def test_an_encoder_with_its_bias_written_down_is_the_same_encoder() -> None:
    g = torch.Generator().manual_seed(0)
    model = VideoEncoder(encoder_config("dense_bias", 2, SMALL), g).eval()
    for name, weight in model.named_parameters():
        if name.endswith("bias_table"):  # they start at zero
            weight.data.normal_(generator=g)
    clips = torch.randn(2, 2, 3, 64, 64, generator=g)
    once = write_bias_down(copy.deepcopy(model), 2)
    assert not [name for name, _ in once.named_parameters() if "table" in name]
    with torch.no_grad():
        wanted = model(clips)
        for found in (once(clips), write_bias_down(copy.deepcopy(model), 2)(clips)):
            assert torch.allclose(found.tokens, wanted.tokens, atol=1e-5)
        # Frames fewer than the most: their own bias.
        short = write_bias_down(copy.deepcopy(model), 1)(clips[:, :1])
        assert torch.allclose(short.tokens, model(clips[:, :1]).tokens, atol=1e-5)
    once(clips).pooled.square().sum().backward()
    model(clips).pooled.square().sum().backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters()}
    for name, weight in once.named_parameters():
        wanted_grad = gradients[name.replace(".attention.", ".")]
        if name.startswith("norm."):  # of the tokens, which the pooled feature does not read
            assert weight.grad is None and wanted_grad is None
            continue
        assert weight.grad is not None and wanted_grad is not None
        assert torch.allclose(weight.grad, wanted_grad, atol=1e-4, rtol=1e-3), name


@pytest.mark.parametrize("kind", ["dense", "dense_bias", "dense_bias_once", "edges", "sparse"])
def test_a_training_step_is_forward_backward_and_an_update(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def encoder(*args: object) -> VideoEncoder:
        made.append(VideoEncoder(*args))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(steps_module, "VideoEncoder", encoder)
    steps = encoder_steps(kind, 2, SMALL)  # type: ignore[arg-type]
    before = {name: weight.detach().clone() for name, weight in made[0].named_parameters()}
    with FlopCounterMode(display=False) as counter:
        steps["forward"]()
    cost = encoder_cost(config_of(kind, 2, SMALL))  # type: ignore[arg-type]
    assert counter.get_total_flops() == cost.total
    assert all(torch.equal(weight, before[name]) for name, weight in made[0].named_parameters())
    losses = [float(steps["training"]()) for _ in range(4)]  # type: ignore[arg-type]
    assert losses[-1] < losses[0]  # it learns what it is asked
    changed = {name for name, weight in made[0].named_parameters() if not torch.equal(weight, before[name])}
    assert changed == set(before) - {name for name in before if name.startswith("norm.")}
    assert all(weight.grad is None for weight in made[0].parameters())


def test_steps_for_fresh_processes_run_and_impossible_ones_are_refused() -> None:
    assert fresh_encoder_step("dense_bias_once", "training", 1, SMALL)() is not None
    for kind in ("dense", "edges", "sparse"):
        with pytest.raises(ConfigError):
            write_bias_down(VideoEncoder(encoder_config(kind, 1, SMALL)), 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no bias to write down"):
        FixedBias(SelfAttention(8, 2), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(ConfigError, match="did you mean"):
        config_of("dense_bis", 1, replace(SMALL))  # type: ignore[arg-type]
