"""EgoNCE: contrastive training on narrations, of which many say the same (EgoVLP, arXiv 2206.01670, section
3.2; SViTT-Ego trains with it).

Two changes to InfoNCE. *Positives*: a text is right for every clip whose narration shares a verb and a noun
with it. *Negatives*: beside each clip stands another moment of the same video, in the same scene; the batch
sampler ``svitt.training.ego_batches`` adds it.
"""

from __future__ import annotations

import typing
from typing import Literal

import torch
from torch import Tensor

from svitt.config import require

SharedTags = Literal["verb_and_noun", "noun", "verb"]


def tag_positives(verbs: Tensor, nouns: Tensor, shared: SharedTags = "verb_and_noun") -> Tensor:
    """Which of B texts are right for which of B clips: those that share tags, and a clip's own.

    verbs (B, V) and nouns (B, W): 1 for every tag of a narration. shared: what two narrations must have in
    common, at least one verb and one noun, or only one of them. Returns bool (B, B), symmetric, true on the
    diagonal. Errors: ConfigError for tags of another shape, or another word for ``shared``.
    """
    known = typing.get_args(SharedTags)
    require(shared in known, "shared", shared, ", ".join(known))
    sizes = (tuple(verbs.shape), tuple(nouns.shape))
    fits = verbs.ndim == nouns.ndim == 2 and len(verbs) == len(nouns)
    require(fits, "shapes of verbs and nouns", sizes, "(B, V) and (B, W)")
    found = torch.eye(len(verbs), dtype=torch.bool, device=verbs.device)
    common = torch.ones_like(found)
    for name, tags in (("verb", verbs), ("noun", nouns)):
        if name in shared:
            tags = tags.float()
            common = common & (tags @ tags.T > 0)
    return found | common


def ego_nce(
    video: Tensor, text: Tensor, scale: Tensor | float, positives: Tensor, anchors: int | None = None
) -> Tensor:
    """-log of the share of a row's softmax that falls on its positives together, mean of both directions.

    video, text: (B, D), L2-normalised. scale: inverse temperature. positives: bool (B, B), symmetric, with
    the diagonal (``tag_positives``). anchors: only the first so many clips and texts ask, against all B; None
    is all, as in the released code, where a negative of the same video asks as well.

    Unlike ``contrastive``, which wants the mass spread over the positives evenly, it is content with all of
    it on any one of them. With one positive a row both are InfoNCE. Returns a scalar. Errors: ConfigError for
    positives of another shape or anchors out of range.
    """
    size = len(video)
    asking = size if anchors is None else anchors
    require(1 <= asking <= size, "anchors", anchors, f"1 to {size}, the clips of the batch")
    square = positives.dtype == torch.bool and tuple(positives.shape) == (size, size)
    require(square, "positives", f"{positives.dtype} {tuple(positives.shape)}", f"bool ({size}, {size})")
    logits = scale * video @ text.T  # (B, B), a row per clip
    wrong = ~positives
    directions = ((logits, wrong), (logits.T, wrong.T))
    losses = [all_mass(rows[:asking], gone[:asking]) for rows, gone in directions]
    return (losses[0] + losses[1]) / 2


def all_mass(logits: Tensor, wrong: Tensor) -> Tensor:
    """-log sum of the softmax over what is not ``wrong``, mean over rows; both (A, B)."""
    right = logits.masked_fill(wrong, float("-inf"))
    return (logits.logsumexp(dim=1) - right.logsumexp(dim=1)).mean()
