"""Token pruning for a model you already have: an unmodified timm ViT, DeiT or BEiT, in one line.

    >>> import svitt, timm, torch
    >>> model = svitt.sparsify(timm.create_model("vit_tiny_patch16_224"), keep_rate=0.7)
    >>> model(torch.zeros(1, 3, 224, 224)).shape
    torch.Size([1, 1000])
    >>> [kept.shape[1] for kept in model.token_pruning.kept]  # of 196 patches, after layers 3, 6, 9
    [138, 97, 68]

The model object stays what it is; forward hooks on its blocks do the pruning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from timm.models import beit, vision_transformer
from torch import Tensor, nn

from svitt.config import require
from svitt.errors import ConfigError
from svitt.layers.token_pruning import SCORES, Clues, NodeSparsity, find_score, keep_top_tokens

M = TypeVar("M", bound=nn.Module)

SUPPORTED = (
    "supported are the VisionTransformer (ViT, DeiT) and Beit classes of timm with their standard attention"
)


def sparsify(
    model: M,
    keep_rate: float = 0.7,
    prune_layers: Sequence[int] = (3, 6, 9),
    selection: str = "cls",
    generator: torch.Generator | None = None,
    token_scores: Tensor | None = None,
) -> M:
    """Makes a timm ViT, DeiT or BEiT drop patch tokens after the given layers; changes it in place.

    keep_rate: share kept at each of ``prune_layers`` (numbered from 0), ceil(rate x tokens); 1 is the
        model as it was. selection: "cls" keeps what CLS attends to most, "lowest" the opposite,
        "random" draws from ``generator`` (a CPU generator; None is seed 0 at every call), "given" takes
        ``token_scores`` (B, patches) as they are; or any score registered by
        ``svitt.layers.token_pruning.token_score``.
    Calling it again replaces the earlier setting; ``unsparsify`` removes it. After a forward pass
    ``model.token_pruning.kept`` lists the kept patch numbers (B, k) after each pruning layer.
    Returns the model. ConfigError for settings out of range and for models of another kind.
    """
    nodes = NodeSparsity(keep_rate, tuple(prune_layers), selection)
    score = find_score(selection)
    if "given" in score.needs and token_scores is None:
        raise ConfigError(f"selection = {selection!r} needs token_scores (B, patches)")
    blocks = getattr(model, "blocks", None)
    if not isinstance(model, vision_transformer.VisionTransformer | beit.Beit) or blocks is None:
        raise ConfigError(f"cannot sparsify {type(model).__name__}; {SUPPORTED}")
    depth = len(blocks)
    last = max(nodes.prune_layers, default=-1)
    require(last < depth, "prune_layers", nodes.prune_layers, f"layers 0 to {depth - 1} of this model")
    for block in blocks:
        if not isinstance(getattr(block, "attn", None), vision_transformer.Attention | beit.Attention):
            raise ConfigError(
                f"cannot sparsify a {type(block).__name__} without standard attention; {SUPPORTED}"
            )
    if model.cls_token is None and "cls_row" in score.needs:
        without = ", ".join(sorted(name for name, other in SCORES.items() if "cls_row" not in other.needs))
        raise ConfigError(
            f"selection = {selection!r} needs a CLS token, this model has none; allowed: {without}"
        )
    unsparsify(model)
    model.token_pruning = TokenPruning(model, nodes, generator, token_scores)
    return model


def unsparsify(model: M) -> M:
    """Takes the pruning of ``sparsify`` away again; does nothing to a model without it."""
    pruning = getattr(model, "token_pruning", None)
    if isinstance(pruning, TokenPruning):
        pruning.remove()
        del model.token_pruning
    return model


class TokenPruning:
    """The hooks that ``sparsify`` puts on a model, and what they kept in the last forward pass."""

    def __init__(
        self,
        model: Any,
        nodes: NodeSparsity,
        generator: torch.Generator | None,
        token_scores: Tensor | None = None,
    ) -> None:
        self.nodes, self.generator, self.token_scores = nodes, generator, token_scores
        self.score = find_score(nodes.selection)
        self.prefix = int(model.num_prefix_tokens)
        self.model = model
        self.kept: list[Tensor] = []
        self.row: Tensor | None = None
        self.draw: torch.Generator | None = None
        self.biased: list[beit.Attention] = []
        self.handles = [model.blocks[0].register_forward_pre_hook(self._start)]
        for i, block in enumerate(model.blocks):
            if isinstance(block.attn, beit.Attention):
                self.handles.append(
                    block.register_forward_pre_hook(self._gather_shared_bias, with_kwargs=True)
                )
                if block.attn.relative_position_bias_table is not None:
                    self.biased.append(block.attn)
                    # timm reads the bias through this method: an instance attribute goes before it.
                    block.attn._get_rel_pos_bias = _PrunedBias(self, block.attn)
            if i in nodes.prune_layers and nodes.keep_rate < 1:
                if "cls_row" in self.score.needs:
                    hook: Callable[..., None] = self._attend
                    self.handles.append(block.attn.register_forward_pre_hook(hook, with_kwargs=True))
                self.handles.append(block.register_forward_hook(self._prune))

    def remove(self) -> None:
        """Takes all hooks off."""
        for handle in self.handles:
            handle.remove()
        for attention in self.biased:
            del attention._get_rel_pos_bias

    def _start(self, block: nn.Module, args: tuple[Tensor, ...]) -> None:
        if self.model.grad_checkpointing and torch.is_grad_enabled():
            # The second run of a checkpointed block would see the tokens kept by later ones.
            raise ConfigError(
                "a sparsified model cannot use gradient checkpointing; set_grad_checkpointing(False)"
            )
        self.kept = []
        self.draw = (
            torch.Generator().manual_seed(self.nodes.seed) if self.generator is None else self.generator
        )

    def _attend(self, attention: Any, args: tuple[Tensor, ...], kwargs: dict[str, Any]) -> None:
        """CLS attention over the patch tokens, mean over heads, before the attention itself runs."""
        x = args[0].detach()
        batch, n, _ = x.shape
        with torch.no_grad():
            qkv = attention.qkv(x)
            if isinstance(attention, beit.Attention) and attention.q_bias is not None:
                qkv = qkv + torch.cat([attention.q_bias, attention.k_bias, attention.v_bias])
            # (B, N, 3, h, d) -> q and k, (B, h, N, d) each
            q, k, _ = qkv.view(batch, n, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
            if isinstance(attention, vision_transformer.Attention):
                q, k = attention.q_norm(q), attention.k_norm(k)
            # (B, h, 1, N)
            scores = (q[:, :, :1] @ k.transpose(-2, -1)).float() * attention.scale
            if getattr(attention, "relative_position_bias_table", None) is not None:
                scores = scores + attention._get_rel_pos_bias()[..., :1, :]
            if kwargs.get("shared_rel_pos_bias") is not None:
                scores = scores + kwargs["shared_rel_pos_bias"][..., :1, :]
            self.row = scores.softmax(dim=-1)[:, :, 0, self.prefix :].mean(dim=1)

    def _prune(self, block: nn.Module, args: tuple[Tensor, ...], x: Tensor) -> Tensor:
        count = x.shape[1] - self.prefix
        numbers = self.kept[-1] if self.kept else torch.arange(count, device=x.device).expand(len(x), -1)
        given = None if self.token_scores is None else self.token_scores.to(x.device).gather(1, numbers)
        row = self.row if "cls_row" in self.score.needs else None
        scores = self.score(Clues(numbers, row, given, self.draw))
        x, index = keep_top_tokens(x, scores, self.nodes.keep_rate, self.prefix)
        self.kept.append(self.kept[-1].gather(1, index) if self.kept else index)
        return x

    def _gather_shared_bias(
        self, block: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
        if kwargs.get("shared_rel_pos_bias") is not None:
            kwargs = {**kwargs, "shared_rel_pos_bias": self.gather_bias(kwargs["shared_rel_pos_bias"])}
        return args, kwargs

    def gather_bias(self, bias: Tensor) -> Tensor:
        """Rows and columns (B, h, n, n) of the tokens still there, of a bias (1, h, N, N) or (h, N, N)."""
        if not self.kept:
            return bias
        kept = self.kept[-1] + self.prefix
        prefix = torch.arange(self.prefix, device=kept.device).expand(len(kept), -1)
        rows = torch.cat([prefix, kept], dim=1)  # (B, n)
        return bias.view(bias.shape[-3:])[:, rows[:, :, None], rows[:, None, :]].transpose(0, 1)


class _PrunedBias:
    """Stands in for ``_get_rel_pos_bias`` of one timm BEiT attention."""

    def __init__(self, pruning: TokenPruning, attention: beit.Attention) -> None:
        self.pruning, self.attention = pruning, attention

    def __call__(self) -> Tensor:
        return self.pruning.gather_bias(type(self.attention)._get_rel_pos_bias(self.attention))
