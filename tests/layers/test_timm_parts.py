"""Our feed-forward half and stochastic depth against timm's: same names, numbers and draws, bit by bit."""

from __future__ import annotations

import pytest
import timm.layers
import torch
from torch import Tensor, nn

from svitt.layers import Block, DropPath, Mlp


def clip(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    made = torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    return made.requires_grad_()


def outcome(module: nn.Module, x: Tensor, seed: int = 2) -> list[Tensor]:
    """Output, gradients of the input and of all weights, and the random state afterwards."""
    torch.manual_seed(seed)
    out = module(x)
    gradients = torch.autograd.grad(out.square().sum(), [x, *module.parameters()])
    return [out.detach(), *gradients, torch.get_rng_state()]


def equal(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_mlp(dtype: torch.dtype) -> None:
    made = []
    for kind in (Mlp, timm.layers.Mlp):
        torch.manual_seed(1)
        made.append(kind(8, 12).to(dtype))
    ours, theirs = (module.state_dict() for module in made)
    assert list(ours) == list(theirs)
    assert equal(list(ours.values()), list(theirs.values()))
    x = clip(5, 7, 8, dtype=dtype)
    assert equal(outcome(made[0], x), outcome(made[1], x))


@pytest.mark.parametrize("shape", [(64, 3), (64, 3, 2), (64, 2, 2, 2)])
@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_the_dropped_paths(probability: float, shape: tuple[int, ...]) -> None:
    x = clip(*shape)
    theirs = timm.layers.DropPath(probability, scale_by_keep=True)
    assert equal(outcome(DropPath(probability), x), outcome(theirs, x))
    if 0 < probability < 1:
        unscaled = timm.layers.DropPath(probability, scale_by_keep=False)
        assert not torch.equal(outcome(DropPath(probability), x)[0], outcome(unscaled, x)[0])
    assert torch.equal(DropPath(probability).eval()(x), x)


def test_a_whole_layer_made_of_either() -> None:
    """Same seed, same weights, same draws in training."""
    x, made = clip(16, 5, 8), []
    for mlp, drop_path in ((Mlp, DropPath), (timm.layers.Mlp, timm.layers.DropPath)):
        torch.manual_seed(1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("svitt.layers.block.Mlp", mlp)
            patch.setattr("svitt.layers.block.DropPath", drop_path)
            block = Block(8, 2, 1.5, layer_scale=0.1, drop_path=0.4)
        assert type(block.mlp) is mlp
        made.append(block)
    assert list(made[0].state_dict()) == list(made[1].state_dict())

    class First(nn.Module):
        def __init__(self, block: Block) -> None:
            super().__init__()
            self.block = block

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.block(x)[0]
            return out

    assert equal(outcome(First(made[0]), x), outcome(First(made[1]), x))
