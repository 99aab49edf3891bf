"""The blocks of a sparsified model, one after another: the tokens that are left go from block to block as
values, so that no hook has a state of its own (torch.compile and checkpointing rely on that)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from svitt.errors import ConfigError
from svitt.integrations.watched_attention import Seen, View, WatchedAttention
from svitt.layers.token_merging import follow_groups, match_tokens, merge_tokens, unmerge_tokens
from svitt.layers.token_pruning import (
    Clues,
    NodeSparsity,
    TokenScore,
    keep_top_tokens,
    num_kept,
    require_scores,
)


class Tokens(NamedTuple):
    """Tokens between two blocks: x (B, P+K, D), prefix first. total: patch tokens at the start, N.

    numbers: (B, K) of the patch tokens among the N; None is all of them. groups: (B, N), where merging goes
    on: for every patch the position of its token among the K; sizes: (B, K), float32, patches per token.
    """

    x: Tensor
    total: int
    numbers: Tensor | None = None
    groups: Tensor | None = None
    sizes: Tensor | None = None


class TokenPruning:
    """How ``sparsify`` set a model, ``model.token_pruning``, and what the last forward pass kept.

    nodes: keep rate, layers and the seed of draws. score: None where tokens are merged.
    kept: after each pruning layer the numbers (B, k) of the patches whose tokens are left. groups: after
    merging, for every patch of the image the position of its token among the last of these, (B, N).
    """

    def __init__(
        self,
        nodes: NodeSparsity,
        score: TokenScore | None,
        generator: torch.Generator | None = None,
        token_scores: Tensor | None = None,
    ) -> None:
        self.nodes, self.score = nodes, score
        self.generator, self.token_scores = generator, token_scores
        self.kept: list[Tensor] = []
        self.groups: Tensor | None = None

    @property
    def needs(self) -> frozenset[str]:
        """What a pruning layer has to hand over: "cls_row", "keys", "given", "generator"."""
        return frozenset({"keys"}) if self.score is None else self.score.needs

    @property
    def active(self) -> bool:
        """Whether any token goes at all."""
        return self.nodes.keep_rate < 1 and bool(self.nodes.prune_layers)


class Stack(NamedTuple):
    """The blocks of a model and how they are called.

    arguments: block number and numbers of the tokens left -> keyword arguments of the block. prefix: tokens
    in front that always stay. extra: tokens that attention sees behind them. pool_row: patch tokens
    (B, K, D) -> (B, K), what the pooling head attends to, in a model without CLS. checkpointing: run each
    block again in the backward pass. norm: of the tokens that are left at the end.
    """

    blocks: list[nn.Module]
    prefix: int
    arguments: Callable[[int, Tensor | None], dict[str, Any]]
    pool_row: Callable[[Tensor], Tensor] | None = None
    extra: int = 0
    checkpointing: bool = False
    norm: Callable[[Tensor], Tensor] | None = None


def run_blocks(
    pruning: TokenPruning, stack: Stack, x: Tensor, maps: Iterable[int] = ()
) -> tuple[Tensor, dict[int, Tensor]]:
    """Tokens (B, P+N, D) through all blocks, dropped or merged after the pruning layers.

    Returns the tokens that are left (B, P+K, D), after the final norm of the stack, or, where tokens were
    merged, every patch with the token that holds it (B, P+N, D), so that any head weighs them by their size;
    and the states after the blocks ``maps`` for all patches (B, P+N, D), by block: a patch that was dropped
    has the features that it had last, one that was merged those of its token.
    Errors: ConfigError where attention cannot be seen, or given scores have another shape.
    """
    wanted = set(maps)
    tokens = Tokens(x, x.shape[1] - stack.prefix)
    require_scores(pruning.token_scores, len(x), tokens.total)
    draws = _generator(pruning) if "generator" in pruning.needs and pruning.active else None
    kept: list[Tensor] = []
    found: dict[int, Tensor] = {}
    canvas = x
    for number, block in enumerate(stack.blocks):
        prunes = pruning.active and number in pruning.nodes.prune_layers
        y, row, keys = _run_block(pruning, stack, block, number, tokens, prunes)
        tokens = tokens._replace(x=y)
        if wanted:
            canvas = _laid_out(tokens, stack.prefix, canvas)
            if number in wanted:
                found[number] = canvas
        if prunes:
            if stack.pool_row is not None and "cls_row" in pruning.needs:
                row = stack.pool_row(y[:, stack.prefix :].detach())
            tokens = _thinned(pruning, stack.prefix, tokens, row, keys, draws)
            kept.append(_numbers(tokens))
    # A record for the caller; nothing here reads it.
    pruning.kept = kept
    pruning.groups = tokens.groups
    x = tokens.x if stack.norm is None else stack.norm(tokens.x)
    return (x if tokens.groups is None else _laid_out(tokens._replace(x=x), stack.prefix, x)), found


def _numbers(tokens: Tokens) -> Tensor:
    if tokens.numbers is not None:
        return tokens.numbers
    return torch.arange(tokens.total, device=tokens.x.device).expand(len(tokens.x), -1)


def _run_block(
    pruning: TokenPruning, stack: Stack, block: nn.Module, number: int, tokens: Tokens, prunes: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The block, and the CLS row (B, K) and keys (B, K, d) of its attention where the layer needs them."""
    x = tokens.x
    count = x.shape[1] - stack.prefix
    view = View(len(x), stack.prefix, count, stack.extra, tokens.total, tokens.numbers, tokens.sizes)
    needs_row = prunes and "cls_row" in pruning.needs and stack.pool_row is None
    needs_keys = prunes and "keys" in pruning.needs
    arguments = stack.arguments(number, tokens.numbers)

    def run(x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        # All within: a checkpointed block is run again in the backward pass.
        if not (needs_row or needs_keys or tokens.numbers is not None):
            return block(x, **arguments), None, None
        seen: list[Seen] = []
        with WatchedAttention(view, seen):
            y = block(x, **arguments)
        scores = needs_row or needs_keys
        if (scores and len(seen) != 1) or (tokens.sizes is not None and not seen):
            raise ConfigError(
                f"layer {number}, a {type(block).__name__}, calls scaled_dot_product_attention {len(seen)} "
                "times on its tokens; attention scores tokens where there is one fused (sdpa) call. Without "
                "it: selection = 'random' or 'given'"
            )
        with torch.no_grad():
            row = seen[0].cls_row(view) if needs_row else None
            keys = seen[0].mean_keys(view) if needs_keys else None
        return y, row, keys

    if stack.checkpointing and torch.is_grad_enabled():
        return checkpoint(run, x, use_reentrant=False)
    return run(x)


def _thinned(
    pruning: TokenPruning,
    prefix: int,
    tokens: Tokens,
    row: Tensor | None,
    keys: Tensor | None,
    draws: torch.Generator | None,
) -> Tokens:
    """The tokens after a pruning layer: ceil(keep_rate x K) patch tokens in the order of their numbers."""
    numbers, rate = _numbers(tokens), pruning.nodes.keep_rate
    if pruning.score is None:
        assert keys is not None
        return _merged(tokens, prefix, numbers, keys, rate)
    given = pruning.token_scores
    given = None if given is None else given.to(numbers.device).gather(1, numbers)
    score = _score_with_draws if draws is not None else _score
    scores = score(pruning.score, numbers, row, given, draws, keys)
    x, index = keep_top_tokens(tokens.x, scores, rate, prefix)
    return tokens._replace(x=x, numbers=numbers.gather(1, index))


def _merged(tokens: Tokens, prefix: int, numbers: Tensor, keys: Tensor, rate: float) -> Tokens:
    x, sizes, groups = tokens.x, tokens.sizes, tokens.groups
    count = x.shape[1] - prefix
    if sizes is None or groups is None:
        sizes = torch.ones(len(x), count, device=x.device)
        groups = numbers
    matching = match_tokens(keys, count - num_kept(count, rate))
    merged, sizes = merge_tokens(x[:, prefix:], sizes, matching)
    return Tokens(
        torch.cat([x[:, :prefix], merged], dim=1),
        tokens.total,
        numbers.gather(1, matching.kept),
        follow_groups(groups, matching),
        sizes,
    )


def _laid_out(tokens: Tokens, prefix: int, canvas: Tensor) -> Tensor:
    """The tokens for all patches (B, P+N, D): dropped ones as they are on the canvas (B, P+N, D)."""
    x, numbers = tokens.x, tokens.numbers
    if numbers is None:
        return x
    if tokens.groups is not None:
        patches = unmerge_tokens(x[:, prefix:], tokens.groups)
    else:
        rows = numbers[:, :, None].expand(-1, -1, x.shape[2])
        patches = canvas[:, prefix:].scatter(1, rows, x[:, prefix:])
    return torch.cat([x[:, :prefix], patches], dim=1)


def _score(
    score: TokenScore,
    numbers: Tensor,
    row: Tensor | None,
    given: Tensor | None,
    draws: torch.Generator | None,
    keys: Tensor | None,
) -> Tensor:
    return score(Clues(numbers, row, given, draws, keys))


# torch.compile cannot trace a generator: draws run outside of the graph, and their result is a value.
_score_with_draws: Callable[..., Tensor] = torch.compiler.disable(_score)


@torch.compiler.disable
def _generator(pruning: TokenPruning) -> torch.Generator:
    """One generator for all layers of a pass."""
    if pruning.generator is not None:
        return pruning.generator
    return torch.Generator().manual_seed(pruning.nodes.seed)
