"""The tokens of a clip between two layers, and how some of them are chosen to stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from svitt.layers.token_pruning import Clues, NodeSparsity, TokenScore, keep_top_tokens


class TokenState(NamedTuple):
    """Tokens between two layers: x (B, 1+K, D), CLS first; numbers (B, K) of the patch tokens among all of
    the clip; codes of their positions, (K,) or (B, K). reordered: they stand in blocks of space-time."""

    x: Tensor
    numbers: Tensor
    codes: Tensor | None
    reordered: bool

    def ascending(self) -> Tensor:
        """x with its patch tokens in the order of their numbers."""
        return in_order(self.x, self.numbers) if self.reordered else self.x

    def ascending_row(self, row: Tensor) -> Tensor:
        """A CLS row (B, h, 1+K) in that order."""
        return in_order(row.transpose(1, 2), self.numbers).transpose(1, 2) if self.reordered else row

    def ascending_numbers(self) -> Tensor:
        """The numbers, ascending."""
        return self.numbers.sort(dim=1).values if self.reordered else self.numbers


@dataclass(frozen=True)
class TokenSelection:
    """Prunes the tokens of a state by a score (SViTT section 3.3).

    generator: a CPU generator, of a score that draws; one for all layers of a pass. given: (B, T*h*w) floats
    of all patch tokens of the clip, of a score that needs them.
    """

    nodes: NodeSparsity
    score: TokenScore
    generator: torch.Generator | None
    given: Tensor | None

    def __call__(self, state: TokenState, row: Tensor | None) -> TokenState:
        """The state after pruning, of ceil(keep_rate x K) patch tokens in the order in which they stood.

        row: the CLS row of the layer, (B, h, 1+K), where the score needs it. Errors: ConfigError where the
        score lacks what it needs.
        """
        numbers = state.numbers
        given = None if self.given is None else self.given.gather(1, numbers)  # (B, K)
        needed = row if "cls_row" in self.score.needs else None
        cls_row = None if needed is None else needed[:, :, 1:].mean(dim=1)  # (B, K)
        scores = self.score(Clues(numbers, cls_row, given, self.generator))
        x, index = keep_top_tokens(state.x, scores, self.nodes.keep_rate)
        codes = state.codes
        codes = None if codes is None else codes.expand(len(x), -1).gather(1, index)
        return TokenState(x, numbers.gather(1, index), codes, state.reordered)


def in_order(x: Tensor, numbers: Tensor) -> Tensor:
    """x (B, 1+K, D) with its K patch tokens in ascending order of their numbers (B, K)."""
    order = numbers.argsort(dim=1)[:, :, None].expand(-1, -1, x.shape[2])  # (B, K, D)
    return torch.cat([x[:, :1], x[:, 1:].gather(1, order)], dim=1)
