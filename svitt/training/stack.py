"""Models of several seeds as one: their weights stacked, one forward and backward pass for all (torch.func).

A step of a tiny model is hundreds of short kernels; of S models it is as many, each S times as long, which a
GPU takes in about the same time. The models do not meet: each has its own batches, loss and gradient norm.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from svitt.config import require
from svitt.errors import ConfigError
from svitt.layers.token_pruning import find_score
from svitt.models.dual_encoder import DualEncoder

Batch = Mapping[str, Any]


class Stack(nn.Module):
    """S dual encoders of one configuration; parameters have the model in front: (S, ...).

    Called as one of them, with clips (S, B, ...), ids and mask (S, M, L); returns what it returns, (S, ...).
    Errors: as ``require_stackable``.
    """

    def __init__(self, models: Sequence[DualEncoder]) -> None:
        super().__init__()
        require_stackable(models)
        self.size = len(models)
        named = [dict(model.named_parameters()) for model in models]
        for name in named[0]:
            whole = torch.stack([parameters[name].detach() for parameters in named])
            self.register_parameter(_kept(name), nn.Parameter(whole))
        for name, buffer in models[0].named_buffers():
            self.register_buffer(_kept(name), buffer.clone(), persistent=False)
        # What a model computes, without weights of its own; in a list, so that it is no part of this module.
        self._model = [copy.deepcopy(models[0]).to("meta")]

    def forward(self, clips: Tensor, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        model = self._model[0].train(self.training)
        weights: dict[str, Tensor] = {_named(name): p for name, p in self.named_parameters()}
        shared = {_named(name): buffer for name, buffer in self.named_buffers()}

        def one(own: dict[str, Tensor], clips: Tensor, ids: Tensor, words: Tensor) -> tuple[Tensor, ...]:
            made: tuple[Tensor, ...] = functional_call(model, (own, shared), (clips, ids, words))
            return made

        # A mask of four dimensions is taken as it is; of two, transformers looks whether it hides anything,
        # which has no one answer for a stack. Fused attention has no rule for stacks on the CPU.
        words = mask[:, :, None, None, :].bool()
        with sdpa_kernel(SDPBackend.MATH):
            made: tuple[Tensor, ...] = vmap(one)(weights, clips, ids, words)
        return made

    def unstack(self, models: Sequence[nn.Module]) -> None:
        """Gives S models of the same configuration the weights of the stack, in order."""
        require(len(models) == self.size, "models", len(models), f"{self.size}, as many as the stack has")
        with torch.no_grad():
            for i, model in enumerate(models):
                for name, parameter in model.named_parameters():
                    parameter.copy_(self.get_parameter(_kept(name))[i])

    def clip_gradients(self, max_norm: float) -> Tensor:
        """Scales the gradients of each model to a norm of at most ``max_norm``; the norms before, (S,).

        As ``torch.nn.utils.clip_grad_norm_`` does for one. No value comes back to the host.
        """
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        norms = torch.stack([torch.linalg.vector_norm(g, dim=1) for g in map(_flat, gradients)])
        total = torch.linalg.vector_norm(norms, dim=0)  # (S,)
        factor = (max_norm / (total + 1e-6)).clamp(max=1.0)
        for g in gradients:
            g.mul_(factor.view(-1, *[1] * (g.ndim - 1)))
        return total


@dataclass(frozen=True)
class StackedBatches:
    """The batches of S models side by side: every tensor (S, ...). A function of the step as each of them."""

    batches: Sequence[Callable[[int], Batch]]

    def __call__(self, step: int) -> dict[str, Tensor]:
        made = [batches(step) for batches in self.batches]
        return {name: torch.stack([batch[name] for batch in made]) for name in made[0]}


def stacked_losses(loss_of: Callable[[Any, Batch], Tensor], stack: nn.Module, batch: Batch) -> Tensor:
    """The losses (S,) of the models of a stack. loss_of: (model, batch) -> scalar, of one model, which it
    calls once, with clips, ids and mask."""
    made = stack(batch["clips"], batch["ids"], batch["mask"])
    return vmap(lambda outputs, own: loss_of(lambda *args: outputs, own))(made, dict(batch))


def loss_of_stack(loss_of: Callable[[Any, Batch], Tensor]) -> Callable[[nn.Module, Batch], Tensor]:
    """The sum of the losses: each model's gradient is that of its own loss."""
    return lambda stack, batch: stacked_losses(loss_of, stack, batch).sum()


def require_stackable(models: Sequence[DualEncoder]) -> None:
    """Errors: ConfigError for models that cannot be trained as one, with the reason."""
    require(len(models) >= 1, "models", len(models), "at least one")
    first = models[0]
    if any(model.config != first.config for model in models):
        raise ConfigError("a stack is of one configuration, and these models have several; train them apart")
    video = first.config.video
    why = ""
    if video.edges is not None:
        why = "edges: the operator of edge-sparse attention has no rule for stacks (vmap)"
    elif video.nodes is not None and {"generator", "given"} & set(find_score(video.nodes.selection).needs):
        why = f"nodes.selection = {video.nodes.selection!r}: its scores are drawn or given, model by model"
    elif video.drop_path > 0:
        why = f"drop_path = {video.drop_path}: its random numbers are drawn model by model"
    if why:
        raise ConfigError(f"models with {why}; train them one by one, without --stack")
    for model in models[1:]:
        for (name, one), (_, other) in zip(first.named_buffers(), model.named_buffers(), strict=True):
            if not torch.equal(one, other):
                raise ConfigError(f"models whose buffers {name} differ are no stack; train them one by one")


def _flat(gradient: Tensor) -> Tensor:
    return gradient.reshape(len(gradient), -1)  # (S,) of scalars becomes (S, 1)


def _kept(name: str) -> str:
    """A parameter's name in the stack: a module's own may hold no dot."""
    return name.replace(".", "/")


def _named(kept: str) -> str:
    return kept.replace("/", ".")
