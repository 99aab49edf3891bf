"""Text layers, then fusion layers with cross-attention to the video tokens (SViTT section 3.1).

The layers are BERT's, from transformers; what is ours is the split, and the pruning of video tokens by
what the text attends to (section 3.3). Names of weights are BERT's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertEmbeddings, BertLayer

from svitt.config import require
from svitt.errors import ConfigError
from svitt.layers.token_pruning import Clues, find_score, keep_top_tokens, require_scores
from svitt.models.svitt_config import CrossModalPruning, FusionTextConfig


@dataclass(frozen=True)
class Fused:
    """What the fusion layers return.

    states: (B, L, D) of the text, having read the video. kept: for every pruning layer the patch tokens it
    kept, (B, k) int64, ascending, counted among those that entered the layer. tokens: the video tokens left
    at the end, (B, 1+k, Dv). attention: if asked, of every fusion layer the cross-attention probabilities
    (B, heads, L, 1+tokens then).
    """

    states: Tensor
    kept: list[Tensor]
    tokens: Tensor
    attention: list[Tensor] | None = None

    def numbers(self, num_tokens: int) -> list[Tensor]:
        """``kept`` in the numbering of all ``num_tokens`` patch tokens that entered the first layer."""
        counted: list[Tensor] = []
        for index in self.kept:
            counted.append(counted[-1].gather(1, index) if counted else index)
        return counted


class _Encoder(nn.Module):
    """Only to give the layers BERT's names, ``encoder.layer.N``."""

    def __init__(self, layers: Sequence[BertLayer]) -> None:
        super().__init__()
        self.layer = nn.ModuleList(layers)


def bert_config(config: FusionTextConfig, **changes: Any) -> BertConfig:
    """transformers' configuration of these sizes, without dropout."""
    settings: dict[str, Any] = {
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.num_heads,
        "intermediate_size": round(config.width * config.mlp_ratio),
        "max_position_embeddings": config.max_length,
        "layer_norm_eps": config.norm_eps,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": float(config.init_std),
        "pad_token_id": 0,
    }
    made = BertConfig(**{**settings, **changes})
    made._attn_implementation = "sdpa"
    return made


class MultimodalEncoder(nn.Module):
    """BERT whose last layers also read the video.

    video_width: of the video tokens. generator: of the initial weights; None is a generator of seed 0.
    """

    def __init__(
        self, config: FusionTextConfig, video_width: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config = config
        plain = bert_config(config)
        fusing = bert_config(config, is_decoder=True, add_cross_attention=True)
        # The constructors draw their weights from the global state; all are drawn again below.
        with torch.random.fork_rng(devices=[]):
            self.embeddings = BertEmbeddings(plain)
            layers = [BertLayer(plain if i < config.fusion_layer else fusing) for i in range(config.depth)]
            for layer in layers[config.fusion_layer :]:
                layer.attention.self.is_causal = False  # a "decoder" for its cross-attention alone
                for name in ("key", "value"):
                    setattr(layer.crossattention.self, name, nn.Linear(video_width, config.width))
        self.encoder = _Encoder(layers)
        init_bert_weights(self, config.init_std, generator)

    @property
    def text_layers(self) -> list[BertLayer]:
        """Those that read the text alone."""
        return [cast(BertLayer, layer) for layer in self.encoder.layer[: self.config.fusion_layer]]

    @property
    def fusion_layers(self) -> list[BertLayer]:
        """Those that read the video too."""
        return [cast(BertLayer, layer) for layer in self.encoder.layer[self.config.fusion_layer :]]

    def encode_text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """ids, mask: (B, L) integers, 1 where there is a token. Returns the text states (B, L, D).

        Errors: ConfigError for texts longer than the position table.
        """
        longest = self.config.max_length
        require(ids.shape[1] <= longest, "ids", f"{ids.shape[1]} tokens", f"at most max_length = {longest}")
        x: Tensor = self.embeddings(input_ids=ids)
        bias = key_bias(mask, x.dtype)
        for layer in self.text_layers:
            x = layer(x, bias)
        return x

    def fuse(
        self,
        text: Tensor,
        mask: Tensor,
        video: Tensor,
        *,
        pruning: CrossModalPruning | None = None,
        generator: torch.Generator | None = None,
        token_scores: Tensor | None = None,
        return_attention: bool = False,
    ) -> Fused:
        """Text states (B, L, D) with their mask (B, L) read video tokens (B, 1+N, Dv), CLS first.

        pruning: which video tokens the later fusion layers still see; None keeps all. generator: a CPU
        generator of a selection that draws; None is one of the pruning's seed. token_scores: (B, N), of a
        selection by given scores.
        Errors: ConfigError for a pruning layer that there is not, batches of different sizes, or a selection
        by given scores without them.
        """
        count = len(self.fusion_layers)
        if pruning is not None:
            last = max(pruning.prune_layers, default=-1)
            require(last < count, "prune_layers", pruning.prune_layers, f"fusion layers 0 to {count - 1}")
            if generator is None:
                generator = torch.Generator().manual_seed(pruning.seed)
        if len(text) != len(video):
            raise ConfigError(f"{len(text)} texts and {len(video)} videos; expected one text a video")
        bias = key_bias(mask, text.dtype)
        score = None if pruning is None else find_score(FROM_TEXT.get(pruning.selection, pruning.selection))
        # Of the patch tokens still there, among those that entered: (B, N).
        numbers = torch.arange(video.shape[1] - 1, device=video.device).expand(len(video), -1)
        require_scores(token_scores, *numbers.shape)
        kept: list[Tensor] = []
        rows: list[Tensor] = []
        for number, layer in enumerate(self.fusion_layers):
            prune = pruning is not None and number in pruning.prune_layers
            attended, _ = layer.attention(text, bias)
            if return_attention or (prune and score is not None and "cls_row" in score.needs):
                probabilities = cross_attention(layer, attended, video)
                if return_attention:
                    rows.append(probabilities)
            crossed, _ = layer.crossattention(attended, None, video)
            text = layer.feed_forward_chunk(crossed)
            if prune:
                assert pruning is not None and score is not None
                row = text_row(probabilities, mask, pruning) if "cls_row" in score.needs else None
                given = None if token_scores is None else token_scores.gather(1, numbers)
                scores = score(Clues(numbers, row, given, generator))
                video, index = keep_top_tokens(video, scores, pruning.keep_rate)
                numbers = numbers.gather(1, index)
                kept.append(index)
        return Fused(text, kept, video, rows if return_attention else None)


# Selections that say whose attention it is; the score of it is that of the CLS row.
FROM_TEXT = {"text_cls": "cls", "text_mean": "cls", "text_mean_padded": "cls"}


def key_bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, L) of 0 and 1 -> what is added to attention scores, (B, 1, 1, L): 0 for tokens, the least number
    of ``dtype`` for padding."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(
        mask == 0, torch.finfo(dtype).min
    )[:, None, None]


def cross_attention(layer: BertLayer, text: Tensor, video: Tensor) -> Tensor:
    """The probabilities (B, heads, L, N) of a fusion layer's cross-attention, written out.

    text: (B, L, D), after the layer's self-attention. video: (B, N, Dv).
    """
    attention = layer.crossattention.self
    heads = attention.num_attention_heads
    # (B, L, D) -> (B, L, heads, d) -> (B, heads, L, d); the keys alike.
    q = attention.query(text).unflatten(-1, (heads, -1)).transpose(1, 2)
    k = attention.key(video).unflatten(-1, (heads, -1)).transpose(1, 2)
    scores: Tensor = q @ k.transpose(-2, -1) * attention.scaling
    return scores.softmax(dim=-1)


def text_row(probabilities: Tensor, mask: Tensor, pruning: CrossModalPruning) -> Tensor:
    """What the text attends to: (B, N) of the patch tokens, from cross-attention (B, heads, L, 1+N), mean
    over heads; of the text's CLS token, with "text_mean" of all its words on average, or with
    "text_mean_padded" of all L positions, words or not."""
    attention = probabilities.mean(dim=1)[:, :, 1:]
    if pruning.selection == "text_mean_padded":
        return attention.mean(dim=1)
    if pruning.selection == "text_mean":
        weights = mask.to(attention.dtype)[:, :, None]
        return (attention * weights).sum(dim=1) / weights.sum(dim=1)
    return attention[:, 0]


@torch.no_grad()
def init_bert_weights(module: nn.Module, std: float, generator: torch.Generator | None) -> None:
    """BERT's initial weights, N(0, std), from ``generator``: same seed, same weights, whatever the global
    state. Biases are zero, padding's embedding too."""
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=std, generator=generator)
            if isinstance(part, nn.Linear) and part.bias is not None:
                nn.init.zeros_(part.bias)
            if isinstance(part, nn.Embedding) and part.padding_idx is not None:
                part.weight[part.padding_idx].zero_()
        elif isinstance(part, nn.LayerNorm):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)
