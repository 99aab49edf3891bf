"""Node sparsity: keep the tokens that matter (SViTT section 3.3; EViT)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from svitt.config import nearest, require
from svitt.errors import ConfigError


@dataclass(frozen=True)
class Clues:
    """What a score of the K patch tokens of B samples may look at.

    tokens: (B, K) int64, their numbers among all patch tokens. cls_row: (B, K), attention that the CLS query
    pays them, mean over heads (in fusion: that of the text). given: (B, K) floats, of the caller.
    generator: a CPU generator, the same at every pruning layer of a pass. keys: (B, K, d), the keys of the
    layer's attention, mean over heads (ToMe section 3; ``sparsify`` has them, the other encoders do not).
    """

    tokens: Tensor
    cls_row: Tensor | None = None
    given: Tensor | None = None
    generator: torch.Generator | None = None
    keys: Tensor | None = None


Need = Literal["cls_row", "given", "generator", "keys"]


@dataclass(frozen=True)
class TokenScore:
    """A score of tokens by name: which of the clues it needs, and the function Clues -> (B, K) floats; the
    tokens with the highest scores are kept."""

    name: str
    needs: frozenset[Need]
    score: Callable[[Clues], Tensor]

    def __call__(self, clues: Clues) -> Tensor:
        """The scores (B, K). Errors: ConfigError where a clue that it needs is missing, or a clue or the
        scores have another shape."""
        for need in sorted(self.needs):
            if getattr(clues, need) is None:
                raise ConfigError(f"selection = {self.name!r} needs {_CLUES[need]}")
        size = tuple(clues.tokens.shape)
        for name, clue in (("cls_row", clues.cls_row), ("given", clues.given)):
            _require_size(name, clue, size)
        _require_size("keys", None if clues.keys is None else clues.keys[..., 0], size)
        scores = self.score(clues)
        _require_size(f"scores of selection {self.name!r}", scores, size)
        return scores


def require_scores(given: Tensor | None, batch: int, tokens: int) -> None:
    """Errors: ConfigError unless the ``token_scores`` of a caller are (B, K), for all patch tokens."""
    _require_size("token_scores", given, (batch, tokens))


def _require_size(name: str, clue: Tensor | None, size: tuple[int, ...]) -> None:
    shape = size if clue is None else tuple(clue.shape)
    require(shape == size, f"shape of {name}", shape, f"{size}: samples, patch tokens")


_CLUES: dict[Need, str] = {
    "cls_row": "the attention of a CLS token, and there is none",
    "given": "token_scores (B, K) in forward: a number for every patch token",
    "generator": "forward(..., generator=torch.Generator()) in training",
    "keys": "the keys of attention, which svitt.sparsify alone hands over",
}
SCORES: dict[str, TokenScore] = {}
MERGE = "merge"  # no score: the name of merging in ``sparsify`` (``token_merging``)


def token_score(name: str, *needs: Need) -> Callable[[Callable[[Clues], Tensor]], Callable[[Clues], Tensor]]:
    """Registers a score: ``@token_score("edges", "cls_row")`` above a function of the clues. From then on
    ``selection = "edges"`` works in the video encoder, in ``sparsify`` and in the fusion layers.
    Errors: ConfigError for a name that is taken."""

    def register(score: Callable[[Clues], Tensor]) -> Callable[[Clues], Tensor]:
        if name in SCORES or name == MERGE:
            raise ConfigError(f"a token score named {name!r} is registered already; choose another name")
        SCORES[name] = TokenScore(name, frozenset(needs), score)
        return score

    return register


def find_score(name: str) -> TokenScore:
    """The score of that name. Errors: ConfigError with the names that are known."""
    if name not in SCORES:
        raise ConfigError(f"selection = {name!r} is unknown; {nearest(name, SCORES)}")
    return SCORES[name]


@token_score("cls", "cls_row")
def by_cls_attention(clues: Clues) -> Tensor:
    """What CLS attends to most stays (SViTT section 3.3)."""
    assert clues.cls_row is not None
    return clues.cls_row


@token_score("lowest", "cls_row")
def by_lowest_attention(clues: Clues) -> Tensor:
    """What CLS attends to least stays: a control."""
    assert clues.cls_row is not None
    return -clues.cls_row


@token_score("random", "generator")
def at_random(clues: Clues) -> Tensor:
    """Uniform draws: a control."""
    return torch.rand(clues.tokens.shape, generator=clues.generator).to(clues.tokens.device)


@token_score("given", "given")
def as_given(clues: Clues) -> Tensor:
    """Whatever the caller says."""
    assert clues.given is not None
    return clues.given.float()


@dataclass(frozen=True)
class NodeSparsity:
    """Which video tokens survive (SViTT section 3.3).

    keep_rate: share of the patch tokens kept at each pruning layer, ceil(rate x tokens).
    prune_layers: layers (from 0) after which tokens are pruned.
    selection: the name of a score (``SCORES``): "cls", "random", "lowest", "given", or one registered by
        ``token_score``. seed: of a score that draws and for which the caller gives no generator.
    """

    keep_rate: float = 0.7
    prune_layers: tuple[int, ...] = (3, 6, 9)
    selection: str = "cls"
    seed: int = 0

    def __post_init__(self) -> None:
        require(0 < self.keep_rate <= 1, "keep_rate", self.keep_rate, "0 < keep_rate <= 1")
        require(
            all(isinstance(n, int) and n >= 0 for n in self.prune_layers),
            "prune_layers",
            self.prune_layers,
            "layer numbers from 0",
        )
        find_score(self.selection)


def num_kept(num_tokens: int, keep_rate: float) -> int:
    """ceil(keep_rate x num_tokens), in floating point as in the release. ConfigError unless 0 < rate <= 1."""
    require(0 < keep_rate <= 1, "keep_rate", keep_rate, "0 < keep_rate <= 1")
    return math.ceil(keep_rate * num_tokens)


def keep_top_tokens(
    x: Tensor, scores: Tensor, keep_rate: float, num_prefix_tokens: int = 1
) -> tuple[Tensor, Tensor]:
    """Keeps the prefix tokens (CLS) and the patch tokens with the highest scores, order unchanged.

    x (B, P+K, D) with P = num_prefix_tokens; scores (B, K). Equal scores: the earlier token is kept.
    Returns the tokens (B, P+k, D), k = ceil(keep_rate x K), and their indices (B, k) among the K, ascending.
    No gradient flows through the scores. Errors: ConfigError unless 0 < keep_rate <= 1.
    """
    tokens = x.shape[1] - num_prefix_tokens
    kept = num_kept(tokens, keep_rate)
    if kept == tokens:
        return x, torch.arange(tokens, device=x.device).expand(x.shape[0], -1)
    order = scores.detach().sort(dim=1, descending=True, stable=True).indices
    index = order[:, :kept].sort(dim=1).values
    rows = index[:, :, None].expand(-1, -1, x.shape[2])  # (B, k, D)
    return torch.cat([x[:, :num_prefix_tokens], x[:, num_prefix_tokens:].gather(1, rows)], dim=1), index
