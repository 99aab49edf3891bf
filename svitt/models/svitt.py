"""The whole SViTT: a sparse video encoder, a text encoder, fusion, and its heads (SViTT section 3)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.bert.modeling_bert import BertOnlyMLMHead

from svitt.errors import ConfigError
from svitt.models.checkpoints.folder import Kind, read_model, write_model
from svitt.models.heads import AnswerDecoder, MatchingHead
from svitt.models.multimodal_encoder import Fused, MultimodalEncoder, bert_config, init_bert_weights
from svitt.models.svitt_config import CrossModalPruning, SViTTConfig
from svitt.models.video_encoder import VideoEncoder, VideoFeatures

_AS_CONFIGURED = "as configured"


class SViTT(nn.Module):
    """Video and text in one model: embeddings for a first search, fusion for a second look and for answers.

    seed: of all initial weights, without touching the global random state.
    """

    def __init__(self, config: SViTTConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        generator = torch.Generator().manual_seed(seed)
        text = config.text
        # Constructors draw from the global state what is then drawn again from the generator.
        with torch.random.fork_rng(devices=[]):
            self.video_encoder = VideoEncoder(config.video, generator)
            self.multimodal_encoder = MultimodalEncoder(text, config.video.width, generator)
            self.video_projection = nn.Linear(config.video.width, config.embed_dim)
            self.text_projection = nn.Linear(text.width, config.embed_dim)
            self.mlm_head = BertOnlyMLMHead(bert_config(text))
            for head in (self.video_projection, self.text_projection, self.mlm_head):
                init_bert_weights(head, text.init_std, generator)
            self.matching_head = MatchingHead(text.width, text.init_std, generator)
            layers = config.answer_layers
            self.answer_decoder = AnswerDecoder(text, layers, generator) if layers else None
        # BERT predicts words with the table that it reads them from.
        self.mlm_head.predictions.decoder.weight = self.multimodal_encoder.embeddings.word_embeddings.weight
        self.mlm_head.predictions.decoder.bias = self.mlm_head.predictions.bias
        self.temperature = nn.Parameter(torch.tensor(config.temperature))

    @property
    def scale(self) -> Tensor:
        """Inverse temperature of the contrastive loss; the temperature stays within 0.001 and 0.5."""
        return 1 / self.temperature.clamp(0.001, 0.5)

    def encode_video(self, clips: Tensor, **encoder_args: object) -> VideoFeatures:
        """clips (B, T, C, H, W) float; encoder_args as ``VideoEncoder.forward``."""
        features: VideoFeatures = self.video_encoder(clips, **encoder_args)
        return features

    def encode_text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """ids, mask (B, L) -> text states (B, L, D), CLS first; no video is read."""
        return self.multimodal_encoder.encode_text(ids, mask)

    def project_video(self, features: VideoFeatures) -> Tensor:
        """(B, embed_dim), L2-normalised."""
        return F.normalize(self.video_projection(features.pooled), dim=-1)

    def project_text(self, states: Tensor) -> Tensor:
        """Text states (B, L, D) -> (B, embed_dim), L2-normalised."""
        return F.normalize(self.text_projection(states[:, 0]), dim=-1)

    def video_embedding(self, clips: Tensor) -> Tensor:
        """(B, T, C, H, W) -> (B, embed_dim), L2-normalised."""
        return self.project_video(self.encode_video(clips))

    def text_embedding(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, L) -> (B, embed_dim), L2-normalised."""
        return self.project_text(self.encode_text(ids, mask))

    def fuse(
        self,
        text: Tensor,
        mask: Tensor,
        video: Tensor,
        *,
        pruning: CrossModalPruning | str | None = _AS_CONFIGURED,
        generator: torch.Generator | None = None,
        return_attention: bool = False,
    ) -> Fused:
        """Text states (B, L, D) read video tokens (B, 1+N, Dv), see ``MultimodalEncoder.fuse``.

        pruning: another than the configuration's, or None for none.
        """
        if isinstance(pruning, str):
            if pruning != _AS_CONFIGURED:
                raise ConfigError(f"pruning = {pruning!r}; expected a CrossModalPruning, or None for none")
            pruning = self.config.pruning
        return self.multimodal_encoder.fuse(
            text, mask, video, pruning=pruning, generator=generator, return_attention=return_attention
        )

    def match(self, fused: Fused) -> Tensor:
        """Logits (B, 2): the text does not fit the video, it does."""
        logits: Tensor = self.matching_head(fused.states)
        return logits

    def predict_words(self, fused: Fused) -> Tensor:
        """Logits (B, L, V) of the masked language model."""
        logits: Tensor = self.mlm_head(fused.states)
        return logits

    def answers(self) -> AnswerDecoder:
        """The answer decoder. Errors: ConfigError for a model without one."""
        if self.answer_decoder is None:
            raise ConfigError("this model has no answer decoder; make it with answer_layers of 1 or more")
        return self.answer_decoder

    def forward(self, clips: Tensor, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Both embeddings, (B, embed_dim) each, and the scale; as ``DualEncoder``."""
        return self.video_embedding(clips), self.text_embedding(ids, mask), self.scale

    def save_pretrained(self, folder: str | Path) -> Path:
        """Writes ``config.json`` and ``model.safetensors``; see ``checkpoints.io.save_model``."""
        return write_model(self, KIND, Path(folder))

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str = "cpu") -> SViTT:
        """Reads what ``save_pretrained`` wrote. Errors: CheckpointError, also for a model of another kind."""
        return read_model(Path(folder), [replace(KIND, model=cls)], device).model


KIND = Kind(
    "svitt",
    SViTT,
    SViTTConfig,
    tied={
        "mlm_head.predictions.decoder.weight": "multimodal_encoder.embeddings.word_embeddings.weight",
        "mlm_head.predictions.decoder.bias": "mlm_head.predictions.bias",
    },
)
