"""BERT text encoder: captions to one vector each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from svitt.config import require


@dataclass(frozen=True)
class TextConfig:
    """Sizes of the BERT text encoder (transformers' BertModel). init_std: of its initial weights."""

    vocab_size: int
    width: int = 64
    depth: int = 1
    num_heads: int = 2
    mlp_ratio: float = 2.0
    max_length: int = 16
    init_std: float = 0.125

    def __post_init__(self) -> None:
        require(self.init_std > 0, "init_std", self.init_std, "numbers above 0")
        for name in ("vocab_size", "width", "depth", "num_heads", "max_length"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "integers from 1")
        require(
            self.width % self.num_heads == 0, "width", self.width, f"multiples of num_heads {self.num_heads}"
        )


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
            initializer_range=float(config.init_std),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.bert = BertModel(bert, add_pooling_layer=False)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """ids, mask: (B, L) integers. Returns all token states (B, L, width); the first is CLS."""
        states: Tensor = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        return states
