"""The losses of a SViTT on one batch: contrastive, matching with hard negatives, masked words; answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from svitt.losses.contrastive import contrastive
from svitt.losses.matching import hard_negatives, mask_words, masked_words_loss, matching_loss
from svitt.models.svitt import SViTT


@dataclass(frozen=True)
class MaskedWords:
    """How words are hidden: the id of [MASK], the ids that are never hidden, the share that is."""

    mask_id: int
    special: tuple[int, ...]
    probability: float = 0.5


def pretraining_losses(
    model: SViTT, batch: Mapping[str, Tensor], words: MaskedWords | None, generator: torch.Generator
) -> dict[str, Tensor]:
    """The three losses of pre-training (SViTT section 4.1), to be added up; scalars by name.

    batch: clips (B, T, C, H, W), ids and mask (B, L), positives (B, B) bool. words: None leaves the masked
    language model out. generator: a CPU generator of hard negatives and hidden words.
    """
    ids, mask, positives = batch["ids"], batch["mask"], batch["positives"]
    features = model.encode_video(batch["clips"], generator=generator)
    text = model.encode_text(ids, mask)
    video_embedding, text_embedding = model.project_video(features), model.project_text(text)
    scale = model.scale
    losses = {"contrastive": contrastive(video_embedding, text_embedding, scale, positives)}
    similarity = scale * video_embedding @ text_embedding.T
    right = model.match(model.fuse(text, mask, features.tokens, generator=generator))
    other_text, has_text = hard_negatives(similarity, positives, generator)
    other_video, has_video = hard_negatives(similarity.T, positives.T, generator)
    rows = torch.arange(len(ids), device=ids.device)
    texts = torch.cat([other_text[has_text], rows[has_video]])
    videos = torch.cat([rows[has_text], other_video[has_video]])
    wrong = right[:0]  # a batch of nothing but positives has no wrong pair
    if len(texts):
        fused = model.fuse(text[texts], mask[texts], features.tokens[videos], generator=generator)
        wrong = model.match(fused)
    losses["matching"] = matching_loss(right, wrong)
    if words is not None:
        vocabulary = model.config.text.vocab_size
        hidden, labels = mask_words(
            ids, mask, vocabulary, words.mask_id, words.special, words.probability, generator
        )
        fused = model.fuse(model.encode_text(hidden, mask), mask, features.tokens, generator=generator)
        losses["masked_words"] = masked_words_loss(model.predict_words(fused), labels)
    return losses


def answer_loss(
    model: SViTT, batch: Mapping[str, Tensor], generator: torch.Generator | None = None
) -> Tensor:
    """Question answering: the likelihood of each given answer (SViTT section 4.3, as in the release).

    batch: clips (B, ...), ids and mask (B, L) of the questions; answer_ids, answer_mask (A, La); question
    (A,) int64, the question that an answer belongs to; weights (A,), its share of the question's answers.
    """
    features = model.encode_video(batch["clips"], generator=generator)
    text = model.encode_text(batch["ids"], batch["mask"])
    fused = model.fuse(text, batch["mask"], features.tokens, generator=generator)
    question = batch["question"]
    return model.answers().loss(
        fused.states[question],
        batch["mask"][question],
        batch["answer_ids"],
        batch["answer_mask"],
        batch["weights"],
    )
