"""Losses of models that fuse text and video: matching and masked words. Pure functions of tensors.

As in the release (SViTT section 4.1; ALBEF): hard negatives are drawn by similarity, words are masked with
probability one half.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = -100  # a label that asks for nothing


def shared_positives(texts: Sequence[object], videos: Sequence[object]) -> Tensor:
    """(B, B) bool: text j is right for video i where they are one pair, or the captions are equal, or the
    videos are."""
    if len(texts) != len(videos):
        raise ValueError(f"{len(texts)} texts and {len(videos)} videos; expected pairs")
    pairs = [(t, v) for t, v in zip(texts, videos, strict=True)]
    rows = [[a[0] == b[0] or a[1] == b[1] for b in pairs] for a in pairs]
    return torch.tensor(rows, dtype=torch.bool).reshape(len(texts), len(texts))


def hard_negatives(
    similarity: Tensor, positives: Tensor, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """One wrong item for every row, drawn with the probability of a softmax over the wrong ones.

    similarity (B, K), scaled; positives (B, K) bool. generator: a CPU generator.
    Returns indices (B,) int64 and (B,) bool, false where a row has nothing wrong to draw: its index is 0 and
    must not be used.
    """
    wrong = ~positives
    there = wrong.any(dim=1)
    weights = similarity.detach().float().masked_fill(positives, float("-inf")).cpu()
    weights = torch.where(there.cpu()[:, None], weights, torch.zeros_like(weights)).softmax(dim=1)
    # A weight may underflow to zero in all places but one; every wrong item keeps a chance.
    weights = weights + 1e-6 * wrong.cpu()
    index = torch.multinomial(weights + (~there.cpu()[:, None]), 1, generator=generator)[:, 0]
    index = torch.where(there.cpu(), index, torch.zeros_like(index)).to(similarity.device)
    return index, there


def matching_loss(right: Tensor, wrong: Tensor) -> Tensor:
    """Cross-entropy of matching logits (P, 2) of pairs that fit and (Q, 2) of pairs that do not."""
    labels = torch.cat([right.new_ones(len(right)), right.new_zeros(len(wrong))]).long()
    return F.cross_entropy(torch.cat([right, wrong]), labels)


def mask_words(
    ids: Tensor,
    mask: Tensor,
    vocab_size: int,
    mask_id: int,
    special: Collection[int],
    probability: float = 0.5,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Hides words for the masked language model, BERT's way.

    ids, mask (B, L). Of the tokens that are no padding and not ``special``, a share ``probability`` is asked:
    eight in ten become ``mask_id``, one in ten a random word, one in ten stays. generator: a CPU generator.
    Returns the ids and the labels (B, L), IGNORED where nothing is asked.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"probability = {probability}; allowed: 0 to 1")
    words = (mask != 0).cpu()
    for token in special:
        words &= ids.cpu() != token
    asked = words & (torch.rand(ids.shape, generator=generator) < probability)
    kind = torch.rand(ids.shape, generator=generator)
    random = torch.randint(vocab_size, ids.shape, generator=generator).to(ids.device)
    asked, kind = asked.to(ids.device), kind.to(ids.device)
    hidden = torch.where(asked & (kind < 0.8), torch.full_like(ids, mask_id), ids)
    hidden = torch.where(asked & (kind >= 0.8) & (kind < 0.9), random, hidden)
    return hidden, torch.where(asked, ids, torch.full_like(ids, IGNORED))


def masked_words_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy over the asked words; 0, with a gradient of 0, where none is asked.

    logits (B, L, V); labels (B, L), IGNORED where nothing is asked.
    """
    if not bool((labels != IGNORED).any()):
        return logits.sum() * 0.0
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
