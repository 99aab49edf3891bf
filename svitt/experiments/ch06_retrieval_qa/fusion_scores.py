"""How well the fusion models of chapter 6 do: answers to questions, and retrieval in two looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer

from svitt.data.text import encode
from svitt.data.worlds.shapes.questions import answers as all_answers
from svitt.evaluation.metrics import best_rank
from svitt.evaluation.retrieval import rerank
from svitt.experiments.ch06_retrieval_qa.fusion_models import encoded_answers
from svitt.experiments.ch06_retrieval_qa.fusion_tokens import Asked
from svitt.experiments.shared.two_object_world import MAX_LENGTH
from svitt.models.heads import matching_score
from svitt.models.svitt import SViTT
from svitt.models.svitt_config import CrossModalPruning

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]


@torch.no_grad()
def answered(
    model: SViTT,
    tokens: torch.Tensor,
    asked: Asked,
    tokenizer: Tokenizer,
    pruning: CrossModalPruning | None = None,
    batch_size: int = 128,
) -> Bools:
    """(Q,): whether the likeliest answer of the whole list is the right one.

    tokens: (N, 1+K, D) of the clips.
    """
    listed = all_answers()
    answer_ids, answer_mask = encoded_answers(tokenizer)
    ids, mask = encode(tokenizer, [q.text for q in asked.questions], MAX_LENGTH)
    device = next(model.parameters()).device
    right = []
    for start in range(0, len(ids), batch_size):
        part = slice(start, start + batch_size)
        video = tokens[torch.from_numpy(asked.clip[part])].float().to(device)
        words = mask[part].to(device)
        text = model.encode_text(ids[part].to(device), words)
        states = model.fuse(text, words, video, pruning=pruning).states
        ranked = model.answers().rank(states, words, answer_ids.to(device), answer_mask.to(device), k=8)
        said = [listed[i] for i in ranked.indices[:, 0].tolist()]
        right += [a == q.answer for a, q in zip(said, asked.questions[part], strict=True)]
    return np.array(right)


@dataclass(frozen=True)
class Pool:
    """One pool of retrieval: its clips' captions and what the first look says.

    captions: (V,), the right one of each clip. video (V, D) and text (T, D): embeddings of the clips and of
    the distinct captions, in the order of ``distinct``. tokens: (V, 1+K, Dv).
    """

    captions: npt.NDArray[np.str_]
    video: Floats
    text: Floats
    tokens: torch.Tensor

    @cached_property
    def distinct(self) -> list[str]:
        """The captions, each once, sorted."""
        return sorted(set(self.captions.tolist()))

    @property
    def correct(self) -> Bools:
        """(V, T)."""
        return np.asarray(self.captions[:, None] == np.array(self.distinct)[None])

    @property
    def first_look(self) -> Floats:
        """(V, T)."""
        return np.asarray(self.video @ self.text.T)

    def first_ranks(self) -> npt.NDArray[np.int64]:
        """Of a right clip, text by text, in the first look."""
        return np.asarray(best_rank(self.first_look.T, self.correct.T))


@dataclass(frozen=True)
class Matcher:
    """The second look: the matching head on pairs of a pool's clips and captions.

    states, mask: (T, L, D) and (T, L) of the captions' text layers, made once.
    """

    model: SViTT
    pool: Pool
    states: torch.Tensor
    mask: torch.Tensor
    pruning: CrossModalPruning | None

    @torch.no_grad()
    def __call__(self, videos: npt.NDArray[np.int64], texts: npt.NDArray[np.int64]) -> Floats:
        rows, columns = torch.from_numpy(videos), torch.from_numpy(texts)
        video = self.pool.tokens[rows].float().to(self.states.device)
        # For a random selection: other draws in every batch, the same in every run.
        generator = torch.Generator().manual_seed(int(videos[0]) * 100_003 + int(texts[0]))
        fused = self.model.fuse(
            self.states[columns], self.mask[columns], video, pruning=self.pruning, generator=generator
        )
        scores: Floats = matching_score(self.model.match(fused)).cpu().numpy()
        return scores


@torch.no_grad()
def second_look(
    model: SViTT, pool: Pool, tokenizer: Tokenizer, k: int, settings: Sequence[CrossModalPruning | None]
) -> list[npt.NDArray[np.int64]]:
    """For every pruning the (T,) ranks of a right clip, text to video, after a second look at the best k."""
    device = next(model.parameters()).device
    ids, mask = encode(tokenizer, pool.distinct, MAX_LENGTH)
    states = model.encode_text(ids.to(device), mask.to(device))
    first = pool.first_look
    found = []
    for pruning in settings:
        match = Matcher(model, pool, states, mask.to(device), pruning)
        again = rerank(first, match, k, progress=False)
        found.append(again.ranks(pool.correct)["text_to_video"])
    return found
