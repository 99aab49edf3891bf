"""Sparsified models of timm: the same objects with another class, which runs the blocks by ``run_blocks``.

A mixin before the model's own class replaces ``forward_features`` and ``forward_intermediates``; weights,
names, ``isinstance`` and everything else stay.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from timm.models import beit, eva, vision_transformer
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from svitt.errors import ConfigError
from svitt.integrations.pooling_attention import pooling_row
from svitt.integrations.sparse_blocks import Stack, TokenPruning, run_blocks

Arguments = Callable[[int, Tensor | None], dict[str, Any]]


class SparseTimm:
    """Mixin: what the three families share. A family says how it embeds and what its blocks are given."""

    token_pruning: TokenPruning

    def _embedded(
        self: Any, images: Tensor, attn_mask: Tensor | None, is_causal: bool
    ) -> tuple[Tensor, Arguments]:
        raise NotImplementedError

    def _sparse_run(
        self: Any, images: Tensor, attn_mask: Tensor | None, is_causal: bool, norm: Any, maps: list[int]
    ) -> tuple[Tensor, dict[int, Tensor]]:
        if is_causal and self.token_pruning.active:
            raise ConfigError("a model with token pruning takes no is_causal = True; give an attn_mask")
        x, arguments = self._embedded(images, attn_mask, is_causal)
        stack = Stack(
            list(self.blocks),
            self.num_prefix_tokens,
            arguments,
            pooling_row(self),
            checkpointing=self.grad_checkpointing,
            norm=norm,
        )
        return run_blocks(self.token_pruning, stack, x, maps)

    def forward_intermediates(
        self: Any,
        x: Tensor,
        indices: int | list[int] | None = None,
        return_prefix_tokens: bool = False,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
        output_dict: bool = False,
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Any:
        """As timm's. The maps are whole: a patch that was dropped has the features that it had last, one that
        was merged those of its token. ``stop_early`` saves nothing here."""
        if output_fmt not in ("NCHW", "NLC"):
            raise ConfigError(f"output_fmt = {output_fmt!r} is out of range; allowed: NCHW, NLC")
        take, _ = feature_take_indices(len(self.blocks), indices)
        images, prefix = x, self.num_prefix_tokens
        x, found = self._sparse_run(images, attn_mask, is_causal, self.norm, list(take))
        states = [self.norm(found[i]) if norm else found[i] for i in sorted(take)]
        maps = [state[:, prefix:] for state in states]
        if output_fmt == "NCHW":
            height, width = self.patch_embed.dynamic_feat_size(images.shape[-2:])
            maps = [y.reshape(len(y), height, width, -1).permute(0, 3, 1, 2).contiguous() for y in maps]
        prefixes = [state[:, :prefix] for state in states] if prefix and return_prefix_tokens else None
        if output_dict:
            made: dict[str, Any] = {"image_intermediates": maps}
            if prefixes is not None:
                made["image_intermediates_prefix"] = prefixes
            return made if intermediates_only else {**made, "image_features": x}
        result = maps if prefixes is None else list(zip(maps, prefixes, strict=True))
        return result if intermediates_only else (x, result)


class SparseVit(SparseTimm):
    """ViT, DeiT, CLIP, SigLIP, DINOv2 ... of timm."""

    def _embedded(
        self: Any, images: Tensor, attn_mask: Tensor | None, is_causal: bool
    ) -> tuple[Tensor, Arguments]:
        x = self.norm_pre(self.patch_drop(self._pos_embed(self.patch_embed(images))))
        given: dict[str, Any] = {} if attn_mask is None else {"attn_mask": attn_mask}
        if is_causal:
            given["is_causal"] = True
        return x, lambda number, kept: given

    def forward_features(
        self: Any, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """Images (B, C, H, W) -> tokens, prefix first (``run_blocks``)."""
        return self._sparse_run(x, attn_mask, is_causal, self.norm, [])[0]


class SparseEva(SparseTimm):
    """EVA, EVA-02, DINOv3, Perception Encoder, ViT with rotary positions: their rows follow the tokens."""

    def _embedded(
        self: Any, images: Tensor, attn_mask: Tensor | None, is_causal: bool
    ) -> tuple[Tensor, Arguments]:
        x, rope = self._pos_embed(self.patch_embed(images))
        x = self.norm_pre(x)
        total = x.shape[1] - self.num_prefix_tokens
        by_layer = getattr(self, "rope_mixed", False) and rope is not None

        def arguments(number: int, kept: Tensor | None) -> dict[str, Any]:
            own = rope[number] if by_layer else rope
            return {
                "rope": own if own is None else rope_of(own, kept, total),
                "attn_mask": attn_mask,
                "is_causal": is_causal,
            }

        return x, arguments

    def forward_features(
        self: Any, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """Images (B, C, H, W) -> tokens, prefix first (``run_blocks``)."""
        return self._sparse_run(x, attn_mask, is_causal, self.norm, [])[0]


class SparseBeit(SparseTimm):
    """BEiT: its biases follow the tokens in ``WatchedAttention``."""

    def _embedded(
        self: Any, images: Tensor, attn_mask: Tensor | None, is_causal: bool
    ) -> tuple[Tensor, Arguments]:
        if attn_mask is not None or is_causal:
            raise ConfigError("BEiT of timm takes no attn_mask and no is_causal")
        x = self.patch_embed(images)
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), dim=1)
        if self.pos_embed is not None:
            x = x + self.pos_embed
        bias = self.rel_pos_bias() if self.rel_pos_bias is not None else None
        return self.pos_drop(x), lambda number, kept: {"shared_rel_pos_bias": bias}

    def forward_features(self: Any, x: Tensor) -> Tensor:
        """Images (B, C, H, W) -> tokens, CLS first (``run_blocks``)."""
        return self._sparse_run(x, None, False, self.norm, [])[0]


def rope_of(rope: Tensor, kept: Tensor | None, total: int) -> Tensor:
    """Rotary positions (N, d), (h, N, d) or (B, 1 or h, N, d) of the kept tokens (B, K): (B, 1 or h, K, d).

    Errors: ConfigError where they are for another number of patch tokens.
    """
    if kept is None:
        return rope
    if rope.ndim not in (2, 3, 4) or rope.shape[-2] != total:
        raise ConfigError(f"cannot prune with rotary positions {tuple(rope.shape)} of {total} patch tokens")
    if rope.ndim < 4:
        heads = rope if rope.ndim == 3 else rope[None]
        return heads[:, kept].transpose(0, 1)
    rows = kept[:, None, :, None].expand(-1, rope.shape[1], -1, rope.shape[3])
    return rope.expand(len(kept), -1, -1, -1).gather(2, rows)


FAMILIES: dict[Any, type[SparseTimm]] = {
    vision_transformer.VisionTransformer: SparseVit,
    eva.Eva: SparseEva,
    beit.Beit: SparseBeit,
}


def family(model: nn.Module) -> type[nn.Module] | None:
    """The class of timm whose way through the blocks the model takes, or None: a subclass with its own."""
    own: Any = type(model)
    for base in FAMILIES:
        if isinstance(model, base):
            same = own.forward_features is base.forward_features or isinstance(model, SparseTimm)
            return base if same else None
    return None


@functools.cache
def sparse_class(base: Any) -> type[nn.Module]:
    """The class of a sparsified model of class ``base``."""
    [mixin] = [FAMILIES[known] for known in FAMILIES if issubclass(base, known)]
    made: type[nn.Module] = type(
        f"Sparsified{base.__name__}", (mixin, base), {"__reduce_ex__": _reduce, "dense_class": base}
    )
    return made


def _reduce(model: Any, protocol: int) -> tuple[Any, ...]:
    """Copying and pickling: the class is made again from its base."""
    return _restored, (model.dense_class,), model.__dict__


def _restored(base: Any) -> nn.Module:
    cls = sparse_class(base)
    return cls.__new__(cls)


def install(model: nn.Module, pruning: TokenPruning) -> None:
    """From now on the model prunes as its ``token_pruning`` says."""
    assert model.token_pruning is pruning
    base: Any = type(model)
    model.__class__ = sparse_class(base)


def remove(model: Any) -> None:
    """The model is again as it was."""
    model.__class__ = model.dense_class
