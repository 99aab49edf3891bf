"""Token pruning for a model you already have: an unmodified vision transformer, in one line.

    >>> import svitt, timm, torch
    >>> model = timm.create_model("vit_tiny_patch16_224")
    >>> sparse = svitt.sparsify(model, keep_rate=0.7)
    >>> sparse(torch.zeros(1, 3, 224, 224)).shape
    torch.Size([1, 1000])
    >>> [kept.shape[1] for kept in sparse.token_pruning.kept]  # of 196 patches, after layers 3, 6, 9
    [138, 97, 68]

The weights, their names and the class that ``isinstance`` sees stay; the way through the blocks is another.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from types import ModuleType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from svitt.config import nearest, require
from svitt.errors import ConfigError
from svitt.integrations import transformers_blocks
from svitt.integrations.sparse_blocks import TokenPruning
from svitt.layers.token_pruning import MERGE, SCORES, NodeSparsity, find_score

M = TypeVar("M", bound=nn.Module)

SUPPORTED = (
    "supported are the VisionTransformer (ViT, DeiT, CLIP, SigLIP, DINOv2), Eva (EVA-02, DINOv3) and Beit "
    "classes of timm, and of transformers " + ", ".join(transformers_blocks.TOWERS)
)


def sparsify(
    model: M,
    keep_rate: float = 0.7,
    prune_layers: Sequence[int] = (3, 6, 9),
    selection: str = "cls",
    generator: torch.Generator | None = None,
    token_scores: Tensor | None = None,
    *,
    inplace: bool = False,
) -> M:
    """Returns a copy of a vision transformer that drops patch tokens; with ``inplace=True`` the model itself.

    keep_rate: share kept after each of ``prune_layers`` (numbered from 0), ceil(rate x tokens); 1 is the
        model as it was. selection: "cls" keeps what CLS attends to most, or, in a model without CLS, what
        its attention pooling does (SigLIP); "lowest" keeps the opposite, "random" draws from ``generator``
        (a CPU generator; None is seed 0 at every call), "given" takes ``token_scores`` (B, patches) as they
        are; or any score registered by ``svitt.layers.token_pruning.token_score``. "merge" averages the most
        similar tokens instead (ToMe, arXiv 2210.09461; keep_rate from 0.5), with the same number of tokens
        left; the output then has every patch, with the token that holds it.
    Supported: the ViT, EVA and BEiT families of timm, and vision towers of transformers (``SUPPORTED``).
    Masks, biases and rotary positions follow the tokens. ``forward_intermediates`` of timm gives whole maps:
    a dropped patch has the features that it had last; ``hidden_states`` of transformers hold the tokens that
    each layer had.
    Sparsify first, then ``torch.compile``. Calling it again replaces the earlier setting; ``unsparsify``
    removes it. After a forward pass ``model.token_pruning.kept`` lists the kept patch numbers (B, k) after
    each pruning layer. Errors: ConfigError for settings out of range and for models of another kind.
    """
    nodes, pruning = _settings(keep_rate, prune_layers, selection, generator, token_scores)
    if hasattr(model, "_orig_mod"):
        raise ConfigError("the model is compiled already; torch.compile(svitt.sparsify(model))")
    adapter, host = _host(model)
    blocks, without_cls, unfused = _facts(adapter, host)
    last = max(nodes.prune_layers, default=-1)
    require(last < blocks, "prune_layers", nodes.prune_layers, f"layers 0 to {blocks - 1} of this model")
    if without_cls and "cls_row" in pruning.needs:
        without = [name for name, other in SCORES.items() if "cls_row" not in other.needs]
        raise ConfigError(
            f"selection = {selection!r} needs a CLS token or attention pooling, this model has none; "
            f"allowed: {', '.join(sorted([*without, MERGE]))}"
        )
    if unfused is not None and pruning.active:
        raise ConfigError(f"token pruning needs fused attention, and {unfused}")
    if not inplace:
        model = copy.deepcopy(model)
    unsparsify(model)
    adapter, host = _host(model)
    model.token_pruning = pruning  # type: ignore[assignment]
    adapter.install(host, pruning)
    return model


def unsparsify(model: M) -> M:
    """Takes the pruning of ``sparsify`` away again, in place; does nothing to a model without it."""
    if isinstance(getattr(model, "token_pruning", None), TokenPruning):
        adapter, host = _host(model)
        adapter.remove(host)
        del model.token_pruning
    return model


def _settings(
    keep_rate: float,
    prune_layers: Sequence[int],
    selection: str,
    generator: torch.Generator | None,
    token_scores: Tensor | None,
) -> tuple[NodeSparsity, TokenPruning]:
    merging = selection == MERGE
    if not merging and selection not in SCORES:
        raise ConfigError(f"selection = {selection!r} is unknown; {nearest(selection, [*SCORES, MERGE])}")
    # Merging has no score; the field of its name keeps its default.
    nodes = NodeSparsity(keep_rate, tuple(prune_layers), NodeSparsity.selection if merging else selection)
    require(
        not merging or keep_rate >= 0.5, "keep_rate", keep_rate, "0.5 to 1 with selection = 'merge': in pairs"
    )
    score = None if merging else find_score(selection)
    pruning = TokenPruning(nodes, score, generator, token_scores)
    if "given" in pruning.needs and token_scores is None:
        raise ConfigError(f"selection = {selection!r} needs token_scores (B, patches)")
    dimensions = 2 if token_scores is None else token_scores.ndim
    require(dimensions == 2, "dimensions of token_scores", dimensions, "2: (B, patches)")
    return nodes, pruning


def _host(model: nn.Module) -> tuple[ModuleType, Any]:
    """What knows the model's library, and the part of the model with the blocks."""
    if any(cls.__module__.startswith("timm.models.") for cls in type(model).__mro__):
        # Only here, so that neither library is needed for models of the other.
        from svitt.integrations import timm_blocks

        if timm_blocks.family(model) is not None:
            return timm_blocks, model
    vision = transformers_blocks.tower(model)
    if vision is None:
        raise ConfigError(f"cannot sparsify {type(model).__name__}; {SUPPORTED}")
    return transformers_blocks, vision


def _facts(adapter: ModuleType, host: Any) -> tuple[int, bool, str | None]:
    """Number of blocks; whether no CLS or pooling attention scores tokens; what is not fused, or None."""
    if adapter is transformers_blocks:
        kind = host.config._attn_implementation
        unfused = (
            None if kind == "sdpa" else f"this model's is {kind!r}: load it with attn_implementation='sdpa'"
        )
        without = not (transformers_blocks.has_cls(host) or transformers_blocks.has_pooling(host))
        return len(transformers_blocks.layers_of(host)), without, unfused
    slow = [name for name, part in host.named_modules() if getattr(part, "fused_attn", True) is False]
    unfused = f"{slow[0]} of this model is not: set its fused_attn = True" if slow else None
    without = host.cls_token is None and not hasattr(getattr(host, "attn_pool", None), "latent")
    return len(host.blocks), without, unfused
