"""What ``sparsify`` needs of attention inside a block of somebody else's model, wherever it is written.

All blocks that it takes call ``scaled_dot_product_attention``. A ``TorchFunctionMode`` around one block sees
that call: queries and keys as they are used (after norms and rotary positions), so that nothing is computed
twice. torch.compile traces it; what it sees lies in a list of the caller's, not in the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from svitt.layers.attention import cls_attention


class View(NamedTuple):
    """The tokens of a block's attention: prefix tokens, then K = ``patches`` of B samples, then ``extra``
    tokens that the block adds (X-CLIP's message).

    total: patch tokens of the whole model, as many as a mask or bias for all of them has rows.
    numbers: (B, K) of the patch tokens among these, or None for all. sizes: (B, K), how many patches are
    merged in each, or None for one each.
    """

    batch: int
    prefix: int
    patches: int
    extra: int
    total: int
    numbers: Tensor | None
    sizes: Tensor | None

    @property
    def tokens(self) -> int:
        """Keys of the attention."""
        return self.prefix + self.patches + self.extra


class Seen(NamedTuple):
    """One call of attention: queries and keys (B, h, N, d), scaled for d ** -0.5, and the first row of the
    mask as numbers, broadcastable to (B, h, N)."""

    q: Tensor
    k: Tensor
    bias: Tensor | None

    def cls_row(self, view: View) -> Tensor:
        """What the first token attends to: (B, K), mean over heads."""
        row = cls_attention(self.q, self.k, bias=self.bias)
        return row[:, :, view.prefix : view.prefix + view.patches].mean(dim=1)

    def mean_keys(self, view: View) -> Tensor:
        """The keys of the patch tokens, mean over heads: (B, K, d) (ToMe section 3)."""
        return self.k[:, :, view.prefix : view.prefix + view.patches].mean(dim=1)


class WatchedAttention(TorchFunctionMode):
    """Around a block: appends its calls of attention to ``seen``; masks and biases for all tokens lose the
    rows and columns of the tokens that are gone; merged tokens weigh as many patches as they hold, softmax(q
    k^T / sqrt(d) + log size) (ToMe equation 1)."""

    def __init__(self, view: View, seen: list[Seen]) -> None:
        super().__init__()
        self.view = view
        self.seen = seen

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self._attend(*args, **kwargs)
        return func(*args, **kwargs)

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        *,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        view = self.view
        # X-CLIP's attention between frames has other samples and tokens; it passes.
        if key.shape[0] == view.batch and key.shape[2] == view.tokens:
            mask = None if attn_mask is None else _of_kept(attn_mask, view)
            if view.sizes is not None:
                mask = _with_sizes(mask, view, view.sizes, query.dtype)
            q, k = query.detach(), key.detach()
            if enable_gqa:
                k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
            if scale is not None:
                q = q * (scale * q.shape[-1] ** 0.5)
            row = None if mask is None else _numbers(mask.detach(), torch.float32)[..., 0, :]
            self.seen.append(Seen(q, k, row))
            attn_mask = mask
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )


def _of_kept(mask: Tensor, view: View) -> Tensor:
    """A mask or bias (..., N or 1, N) of all tokens for those that are left: (B, ..., n or 1, n)."""
    everything = view.prefix + view.total + view.extra
    if view.numbers is None or mask.shape[-1] != everything:
        return mask
    first = torch.arange(view.prefix, device=mask.device)
    last = torch.arange(everything - view.extra, everything, device=mask.device)
    kept = [first.expand(view.batch, -1), view.numbers + view.prefix, last.expand(view.batch, -1)]
    rows = torch.cat(kept, dim=1)  # (B, n)
    mask = mask[(None,) * (4 - mask.ndim)]
    heads, queries = mask.shape[1], mask.shape[2]
    if len(mask) == 1 and queries == everything:
        # One bias for all samples, as a learnt one is: no copy of it per sample before the choice.
        return mask[0][:, rows[:, :, None], rows[:, None, :]].transpose(0, 1)
    mask = mask.expand(view.batch, -1, -1, -1)
    if queries == everything:
        mask = mask.gather(2, rows[:, None, :, None].expand(-1, heads, -1, everything))
    return mask.gather(3, rows[:, None, None, :].expand(-1, heads, mask.shape[2], -1))


def _with_sizes(mask: Tensor | None, view: View, sizes: Tensor, dtype: torch.dtype) -> Tensor:
    """The mask plus log of the sizes of the keys."""
    bias = F.pad(sizes.log(), (view.prefix, view.extra)).to(dtype)[:, None, None, :]
    return bias if mask is None else _numbers(mask, dtype) + bias


def _numbers(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask of booleans as what is added to the scores: 0, or minus infinity where it is False."""
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, float("-inf"))
