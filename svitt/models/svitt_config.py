"""Configuration of the whole SViTT: text layers, fusion layers, heads (SViTT section 3.1 and 4.1)."""

from __future__ import annotations

from dataclasses import dataclass

from svitt.config import require
from svitt.layers.token_pruning import find_score
from svitt.models.video_encoder import VideoEncoderConfig


@dataclass(frozen=True)
class CrossModalPruning:
    """Which video tokens survive a fusion layer (SViTT section 3.3, text-guided).

    keep_rate: share of the patch tokens kept at each pruning layer, ceil(rate x tokens); the video's CLS
        token stays. prune_layers: fusion layers, from 0, after which tokens go.
    selection: "text_cls", by the cross-attention of the text's CLS token, "text_mean", by that of all its
        words on average, "text_mean_padded", by that of all positions, padding included, as the released code
        averages, or the name of a score (``svitt.layers.token_pruning.SCORES``), whose CLS row is then that
        of the text's CLS token. seed: of a selection that draws.
    """

    keep_rate: float = 0.1
    prune_layers: tuple[int, ...] = (1,)
    selection: str = "text_cls"
    seed: int = 0

    def __post_init__(self) -> None:
        require(0 < self.keep_rate <= 1, "keep_rate", self.keep_rate, "0 < keep_rate <= 1")
        sound = all(isinstance(n, int) and n >= 0 for n in self.prune_layers)
        require(sound, "prune_layers", self.prune_layers, "fusion layer numbers from 0")
        if self.selection not in ("text_cls", "text_mean", "text_mean_padded"):
            find_score(self.selection)


@dataclass(frozen=True)
class FusionTextConfig:
    """Sizes of the BERT that reads the text and then, from ``fusion_layer`` on, the video with it.

    depth: all layers; fusion_layer: the first with cross-attention (the release: 9 of 12). max_length: of the
    position table. The defaults are BERT-base.
    """

    vocab_size: int = 30522
    width: int = 768
    depth: int = 12
    fusion_layer: int = 9
    num_heads: int = 12
    mlp_ratio: float = 4.0
    max_length: int = 512
    norm_eps: float = 1e-12
    init_std: float = 0.02

    def __post_init__(self) -> None:
        for name in ("vocab_size", "width", "depth", "num_heads", "max_length"):
            value = getattr(self, name)
            require(isinstance(value, int) and value >= 1, name, value, "integers from 1")
        heads = self.num_heads
        require(self.width % heads == 0, "width", self.width, f"multiples of num_heads = {heads}")
        require(
            0 <= self.fusion_layer < self.depth, "fusion_layer", self.fusion_layer, f"0 to {self.depth - 1}"
        )
        for name in ("mlp_ratio", "norm_eps", "init_std"):
            require(getattr(self, name) > 0, name, getattr(self, name), "numbers above 0")

    @property
    def num_fusion_layers(self) -> int:
        """Layers with cross-attention."""
        return self.depth - self.fusion_layer


@dataclass(frozen=True)
class SViTTConfig:
    """Video encoder, text and fusion layers, and the heads.

    embed_dim: of the contrastive projections. temperature: at the start; it is learnt and kept within
    0.001 and 0.5 as in the release. answer_layers: of the answer decoder; 0 leaves it out.
    """

    video: VideoEncoderConfig
    text: FusionTextConfig
    embed_dim: int = 256
    temperature: float = 0.07
    pruning: CrossModalPruning | None = None
    answer_layers: int = 0

    def __post_init__(self) -> None:
        require(self.embed_dim >= 1, "embed_dim", self.embed_dim, "integers from 1")
        require(0.001 <= self.temperature <= 0.5, "temperature", self.temperature, "0.001 to 0.5")
        require(self.answer_layers >= 0, "answer_layers", self.answer_layers, "integers from 0")
        if self.pruning is not None:
            last = max(self.pruning.prune_layers, default=-1)
            layers = self.text.num_fusion_layers
            require(
                last < layers,
                "pruning.prune_layers",
                self.pruning.prune_layers,
                f"fusion layers 0 to {layers - 1}",
            )
