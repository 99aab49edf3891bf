"""A stack of models against each of them trained alone.

The arithmetic is the same and its order is not, so that single steps agree to rounding and trainings drift
apart as slowly as that. The bias of a key changes no softmax: its gradient is rounding alone, which Adam
turns into steps, so it is left out.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from svitt.errors import ConfigError
from svitt.layers.edges import EdgeSparsity
from svitt.layers.token_pruning import NodeSparsity
from svitt.models.dual_encoder import DualEncoder
from svitt.training.batches import Batches
from svitt.training.contrastive import contrastive_loss, staged_loss
from svitt.training.stack import Stack, StackedBatches, loss_of_stack, stacked_losses
from svitt.training.trainer import TrainConfig, TrainingLog, parameter_groups, train
from tests.layers.test_edge_device import NoHost
from tests.training.test_batches import TOKENIZER, with_wrong
from tests.training.test_captured_step import model_of, square

SEEDS = (0, 1, 2)
KINDS: dict[str, dict[str, Any]] = {
    "dense": {},
    "nodes": {"nodes": NodeSparsity(0.7, (0, 1))},
    "bias": {"position": "relative_3d", "layer_scale": 0.1, "pooling": "mean"},
}
CONFIG = TrainConfig(steps=8, batch_size=4, warmup_steps=4, checkpoint_every=3)
INPUTS = ("clips", "ids", "mask")
# After those eight steps: absolute, absolute, relative to the loss of every step. Found: 1e-4, 6e-6, 6e-7
WEIGHTS, EMBEDDINGS, LOSSES = 3e-4, 5e-5, 1e-5


def models(kind: str) -> list[DualEncoder]:
    first = model_of("dense", **KINDS[kind]) if kind in KINDS else model_of(kind)
    return [DualEncoder(first.config, seed) for seed in SEEDS]


def bag() -> list[DualEncoder]:
    config = model_of("dense").config
    config = replace(config, frames="bag", video=replace(config.video, num_frames=1))
    return [DualEncoder(config, seed) for seed in SEEDS]


def batches(seed: int) -> Batches:
    stages = [(0, with_wrong(square(9, 1))), (4, with_wrong(square(12, 2)))]
    return Batches(stages, TOKENIZER, 2, 4, seed, 6)


def side_by_side(step: int) -> dict[str, Tensor]:
    return StackedBatches([batches(seed) for seed in SEEDS])(step)


@pytest.mark.parametrize("kind", [*KINDS, "bag"])
def test_losses_gradients_and_their_clipping_are_those_of_each_model(kind: str) -> None:
    alone = bag() if kind == "bag" else models(kind)
    stack, batch = Stack(alone), side_by_side(0)
    losses = stacked_losses(staged_loss, stack, batch)
    losses.sum().backward()
    norms = stack.clip_gradients(0.1)
    for i, model in enumerate(alone):
        loss = staged_loss(model, batches(SEEDS[i])(0))
        loss.backward()
        norm = clip_grad_norm_(model.parameters(), 0.1)
        torch.testing.assert_close(losses[i], loss, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(norms[i], norm, rtol=1e-5, atol=0)
        for name, parameter in model.named_parameters():
            whole = stack.get_parameter(name.replace(".", "/"))
            assert (whole.grad is None) == (parameter.grad is None), name  # a norm that a mean does not need
            if whole.grad is None or parameter.grad is None:
                continue
            torch.testing.assert_close(whole.grad[i], parameter.grad, rtol=1e-4, atol=1e-7)


def test_a_gradient_below_the_bound_is_left_alone() -> None:
    stack = Stack(models("dense"))
    stacked_losses(staged_loss, stack, side_by_side(0)).sum().backward()
    gradients = [p.grad for p in stack.parameters() if p.grad is not None]
    before = [g.clone() for g in gradients]
    stack.clip_gradients(1e9)
    assert before and all(torch.equal(g, old) for g, old in zip(gradients, before, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_trained_as_a_stack_or_alone(kind: str, tmp_path: Path) -> None:
    stacked = models(kind)
    stack = Stack(stacked)
    made = StackedBatches([batches(seed) for seed in SEEDS])
    train(stack, made, loss_of_stack(staged_loss), CONFIG, tmp_path / "stack", progress=False)
    stack.unstack(stacked)
    total = dict.fromkeys(range(CONFIG.steps), 0.0)
    shown = batches(7)(1)
    for seed, model, other in zip(SEEDS, models(kind), stacked, strict=True):
        folder = tmp_path / str(seed)
        train(model, batches(seed), staged_loss, CONFIG, folder, progress=False)
        for step, loss in TrainingLog(folder / "log.jsonl").losses().items():
            total[step] += loss
        for (name, one), two in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
            if not name.endswith("key.bias"):
                assert float((one - two).abs().max()) < WEIGHTS, name
        with torch.no_grad():
            for one, two in zip(*(m.eval()(*map(shown.get, INPUTS)) for m in (model, other)), strict=True):
                assert float((one - two).abs().max()) < EMBEDDINGS
    found = TrainingLog(tmp_path / "stack" / "log.jsonl").losses()
    assert found == pytest.approx(total, rel=LOSSES)


def test_weight_decay_falls_on_the_same_weights() -> None:
    alone = models("dense")
    for one, other in zip(parameter_groups(alone[0], 0.1), parameter_groups(Stack(alone), 0.1), strict=True):
        assert one["weight_decay"] == other["weight_decay"]
        assert [tuple(p.shape) for p in one["params"]] == [tuple(p.shape[1:]) for p in other["params"]]


def test_stacking_and_unstacking_changes_no_weight() -> None:
    alone, into = models("dense"), [DualEncoder(models("dense")[0].config, 9) for _ in SEEDS]
    Stack(alone).unstack(into)
    for one, other in zip(alone, into, strict=True):
        for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
            assert torch.equal(a, b), name
    with pytest.raises(ConfigError, match="as many as the stack has"):
        Stack(alone).unstack(into[:2])


def test_an_interrupted_stack_goes_on(tmp_path: Path) -> None:
    def whole(folder: Path, steps: int) -> Stack:
        made = StackedBatches([batches(seed) for seed in SEEDS])
        config = replace(
            CONFIG, warmup_steps=100, steps=steps
        )  # the rate does not know how many steps there are
        stack = Stack(models("dense"))
        train(stack, made, loss_of_stack(staged_loss), config, folder, progress=False)
        return stack

    unbroken = whole(tmp_path / "one", 6)
    whole(tmp_path / "two", 3)
    for one, other in zip(unbroken.parameters(), whole(tmp_path / "two", 6).parameters(), strict=True):
        assert torch.equal(one, other)


def test_nothing_in_a_stack_s_step_needs_a_value() -> None:
    stack, batch = Stack(models("nodes")), side_by_side(0)
    stacked_losses(contrastive_loss_of_right_captions, stack, batch).sum().backward()
    with NoHost():
        stacked_losses(staged_loss, stack, batch).sum().backward()
        stack.clip_gradients(1.0)


def contrastive_loss_of_right_captions(model: Any, batch: Any) -> Tensor:
    size = len(batch["clips"])
    video, text, scale = model(batch["clips"], batch["ids"], batch["mask"])
    return contrastive_loss(lambda *args: (video, text[:size], scale), {
        **batch, "positives": batch["positives"][:, :size]
    })  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"edges": EdgeSparsity(1, 1, 4)}, "edges: the operator"),
        ({"nodes": NodeSparsity(0.7, (0,), "random")}, "nodes.selection = 'random'"),
        ({"nodes": NodeSparsity(0.7, (0,), "given")}, "nodes.selection = 'given'"),
        ({"drop_path": 0.1}, "drop_path = 0.1"),
    ],
)
def test_what_cannot_be_stacked_says_why(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=f"models with {said}.*without --stack"):
        Stack([model_of("dense", **changes)])


def test_models_of_several_configurations_are_no_stack() -> None:
    with pytest.raises(ConfigError, match="several"):
        Stack([model_of("dense"), model_of("dense", depth=1)])
    one, other = models("dense")[:2]
    other.video_encoder.blocks[0].attn.k_bias += 1
    with pytest.raises(ConfigError, match="k_bias differ"):
        Stack([one, other])
