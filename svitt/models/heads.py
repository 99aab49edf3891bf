"""Heads on the fused states: matching, masked language model, answer decoder (SViTT section 4.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import BertLMHeadModel

from svitt.config import require
from svitt.errors import ConfigError
from svitt.models.multimodal_encoder import bert_config, init_bert_weights
from svitt.models.svitt_config import FusionTextConfig


@dataclass(frozen=True)
class RankedAnswers:
    """Answers of a list by likelihood. indices: (B, k) int64 into the list, best first. scores: (B, k), the
    log-likelihood of each answer's tokens given the question and the video."""

    indices: Tensor
    scores: Tensor


class AnswerDecoder(nn.Module):
    """A causal BERT that reads the fused states of a question and says an answer token by token.

    depth: layers. generator: of the initial weights.
    """

    def __init__(
        self, config: FusionTextConfig, depth: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        require(depth >= 1, "answer_layers", depth, "integers from 1")
        settings = bert_config(
            config, num_hidden_layers=depth, is_decoder=True, add_cross_attention=True, use_cache=False
        )
        with torch.random.fork_rng(devices=[]):
            self.bert = BertLMHeadModel(settings)
        init_bert_weights(self, config.init_std, generator)

    def token_scores(self, states: Tensor, mask: Tensor, ids: Tensor, answer_mask: Tensor) -> Tensor:
        """Log-probabilities of the tokens after the first, (B, L-1); 0 where there is no token.

        states (B, Lq, D) and mask (B, Lq) of the question; ids, answer_mask (B, L), [CLS] first.
        """
        logits = self.bert(
            input_ids=ids,
            attention_mask=answer_mask,
            encoder_hidden_states=states,
            encoder_attention_mask=mask,
            use_cache=False,
        ).logits[:, :-1]
        chosen = logits.float().log_softmax(dim=-1).gather(2, ids[:, 1:, None]).squeeze(2)
        return chosen * answer_mask[:, 1:]

    def loss(
        self, states: Tensor, mask: Tensor, ids: Tensor, answer_mask: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Negative log-likelihood of the answers, summed over tokens, weighted mean over the batch.

        weights: (B,), of an answer among those given to its question; None is 1 each.
        """
        nll = -self.token_scores(states, mask, ids, answer_mask).sum(dim=1)
        return nll.mean() if weights is None else (weights * nll).sum() / weights.sum()

    @torch.no_grad()
    def rank(
        self, states: Tensor, mask: Tensor, answer_ids: Tensor, answer_mask: Tensor, k: int = 128
    ) -> RankedAnswers:
        """The likeliest k answers of a list for every question, as in the release: the first word of every
        answer is scored, the k best answers are scored whole.

        states (B, Lq, D), mask (B, Lq); answer_ids, answer_mask (A, L), [CLS] first. A list shorter than k is
        scored whole; equal answers get equal scores, the earlier one first.
        Errors: ConfigError for an empty list or k below 1.
        """
        count = len(answer_ids)
        require(k >= 1, "k", k, "integers from 1")
        if count == 0:
            raise ConfigError("the answer list is empty; give one answer at least")
        k = min(k, count)
        batch, length = len(states), answer_ids.shape[1]
        start = answer_ids[:1, :1].expand(batch, 1)  # [CLS]
        first = self.bert(
            input_ids=start,
            encoder_hidden_states=states,
            encoder_attention_mask=mask,
            use_cache=False,
        ).logits[:, 0]
        begins = first.float().log_softmax(dim=-1)[:, answer_ids[:, 1]]  # (B, A)
        best = begins.sort(dim=1, descending=True, stable=True).indices[:, :k].sort(dim=1).values
        # The k answers of every question one under the other: (B*k, L).
        ids, masks = answer_ids[best].view(-1, length), answer_mask[best].view(-1, length)
        scores = self.token_scores(
            states.repeat_interleave(k, dim=0), mask.repeat_interleave(k, dim=0), ids, masks
        )
        # (B*k, L-1) -> (B*k,) -> (B, k)
        ranked = scores.sum(dim=1).view(batch, k).sort(dim=1, descending=True, stable=True)
        return RankedAnswers(best.gather(1, ranked.indices), ranked.values)


class MatchingHead(nn.Module):
    """Does the text fit the video? Two logits, (no, yes), from the fused CLS state."""

    def __init__(self, width: int, std: float, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2)
        nn.init.normal_(self.linear.weight, std=std, generator=generator)
        nn.init.zeros_(self.linear.bias)

    def forward(self, fused: Tensor) -> Tensor:
        """(B, L, D) -> (B, 2)."""
        logits: Tensor = self.linear(fused[:, 0])
        return logits


def matching_score(logits: Tensor) -> Tensor:
    """(B, 2) -> (B,), the raw logit of "yes" by which the release re-ranks."""
    return logits[:, 1]
