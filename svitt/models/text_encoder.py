"""BERT text encoder: captions to one vector each."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from svitt.config import TextConfig


class TextEncoder(nn.Module):
    """transformers' BertModel at the sizes of ``config``, no dropout.

    seed: of the initial weights; the caller's global random state is left as it was.
    """

    def __init__(self, config: TextConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        bert = BertConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.width,
            num_hidden_layers=config.depth,
            num_attention_heads=config.num_heads,
            intermediate_size=int(config.width * config.mlp_ratio),
            max_position_embeddings=config.max_length,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            initializer_range=config.init_std,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.bert = BertModel(bert, add_pooling_layer=False)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """ids, mask: (B, L) integers. Returns all token states (B, L, width); the first is CLS."""
        states: Tensor = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        return states
