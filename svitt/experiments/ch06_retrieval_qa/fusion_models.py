"""Fusion models of chapter 6: text and fusion layers trained by matching and by answering questions.

The video encoder stays as it is; see ``fusion_tokens``. Matching sees the right caption of a clip, a wrong
one made for it, one of the batch drawn by similarity (SViTT section 4.1) and one drawn at random, without
which matching did not begin to learn on a tuning seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from svitt.config import require, to_dict
from svitt.data.text import encode
from svitt.data.worlds.shapes.questions import KINDS
from svitt.data.worlds.shapes.questions import answers as all_answers
from svitt.experiments.ch06_retrieval_qa.fusion_tokens import Asked, Shown
from svitt.experiments.shared.train_once import train_once
from svitt.experiments.shared.two_object_world import MAX_LENGTH
from svitt.losses.matching import hard_negatives, matching_loss
from svitt.models.dual_encoder import DualEncoder
from svitt.models.svitt import SViTT
from svitt.models.svitt_config import FusionTextConfig, SViTTConfig
from svitt.records.code_hash import code_hash
from svitt.records.workspace import Workspace
from svitt.training.batches import KnownTexts, encode_once
from svitt.training.trainer import TrainConfig, train

ANSWER_LENGTH = 4  # [CLS] red ring [SEP]


@dataclass(frozen=True)
class FusionSettings:
    """Sizes and recipe of the fusion models.

    text_layers, fusion_layers: of BERT, before and with cross-attention (the release: 9 and 3). views: of
    every training clip. batch_size: clips a step for matching; questions: a step and kind.
    """

    text_layers: int = 2
    fusion_layers: int = 3
    steps: int = 1200
    batch_size: int = 32
    questions: int = 16
    views: int = 2
    learning_rate: float = 2e-3
    warmup_steps: int = 50


@dataclass(frozen=True)
class MatchingTexts:
    """Captions (N) and wrong ones (N sets of alternatives) of the first N clips, with the embeddings (N, D)
    of both sides under the first look, by which hard negatives are drawn; scale: of their similarity."""

    captions: Sequence[str]
    wrong: Sequence[Sequence[Sequence[str]]]
    video: npt.NDArray[np.float32]
    text: npt.NDArray[np.float32]
    scale: float


@dataclass(frozen=True)
class FusionBatches:
    """Batches of pairs and questions over kept tokens; a batch is a function of (seed, step) alone.

    tokens: (V, N, 1+K, D) of V views. matching: None trains on questions alone.
    """

    tokens: Tensor
    asked: Asked
    matching: MatchingTexts | None
    tokenizer: Tokenizer
    batch_size: int
    questions: int
    seed: int
    device: str = "cpu"
    known: KnownTexts = field(default_factory=dict, repr=False)

    def __call__(self, step: int) -> dict[str, Tensor]:
        """ids, mask (S, L) and tokens (S, 1+K, D) of pairs that fit, then of as many that do not, then of the
        questions; counts (3,) of the three; answer_ids, answer_mask (Q, A)."""
        rng = np.random.default_rng([self.seed, 8, step])
        texts: list[str] = []
        clips: list[int] = []
        counts = [0, 0]
        if self.matching is not None:
            right, wrong = self._pairs(self.matching, rng, step)
            counts = [len(right), len(wrong)]
            for text, clip in right + wrong:
                texts.append(text)
                clips.append(clip)
        chosen = np.concatenate([rng.choice(self.asked.of_kind(kind), self.questions) for kind in KINDS])
        questions = [self.asked.questions[i] for i in chosen]
        texts += [question.text for question in questions]
        clips += [int(self.asked.clip[i]) for i in chosen]
        # A clip shows the same view to all its texts of a step.
        view = rng.integers(len(self.tokens), size=self.tokens.shape[1])[clips]
        ids, mask = encode_once(self.tokenizer, texts, MAX_LENGTH, self.known)
        answers = [question.answer for question in questions]
        answer_ids, answer_mask = encode_once(self.tokenizer, answers, ANSWER_LENGTH, self.known)
        batch = {
            "ids": ids,
            "mask": mask,
            "tokens": self.tokens[torch.from_numpy(view), torch.tensor(clips)].float(),
            "counts": torch.tensor([*counts, len(questions)]),
            "answer_ids": answer_ids,
            "answer_mask": answer_mask,
        }
        return {name: tensor.to(self.device) for name, tensor in batch.items()}

    def _pairs(
        self, m: MatchingTexts, rng: np.random.Generator, step: int
    ) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        """(text, clip) of pairs that fit and that do not."""
        clips = rng.choice(len(m.captions), self.batch_size, replace=False)
        captions = np.array([m.captions[i] for i in clips])
        similarity = torch.from_numpy(m.scale * m.video[clips] @ m.text[clips].T)
        positives = torch.from_numpy(captions[:, None] == captions[None])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        other, there = hard_negatives(similarity, positives, generator)
        right = [(str(caption), int(clip)) for caption, clip in zip(captions, clips, strict=True)]
        wrong = []
        for i, clip in enumerate(clips):
            options = m.wrong[clip]
            made = options[int(rng.integers(len(options)))]
            wrong.append((made[int(rng.integers(len(made)))], int(clip)))
            if there[i]:
                wrong.append((str(captions[other[i]]), int(clip)))
            easy = int(rng.integers(len(clips)))
            if not positives[i, easy]:
                wrong.append((str(captions[easy]), int(clip)))
        return right, wrong


def fusion_loss(model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
    """Matching and answers, added up; ``model`` is a ``SViTT``, the video tokens are given."""
    assert isinstance(model, SViTT)
    right, wrong, _ = batch["counts"].tolist()
    pairs = right + wrong
    text = model.multimodal_encoder.encode_text(batch["ids"], batch["mask"])
    states = model.multimodal_encoder.fuse(text, batch["mask"], batch["tokens"]).states
    loss = model.answers().loss(
        states[pairs:], batch["mask"][pairs:], batch["answer_ids"], batch["answer_mask"]
    )
    if pairs:
        logits = model.matching_head(states[:pairs])
        loss = loss + matching_loss(logits[:right], logits[right:])
    return loss


def fusion_config(dual: DualEncoder, settings: FusionSettings, tokenizer: Tokenizer) -> SViTTConfig:
    """A SViTT around the video encoder of ``dual``."""
    video = dual.config.video
    text = FusionTextConfig(
        tokenizer.get_vocab_size(), video.width, settings.text_layers + settings.fusion_layers,
        settings.text_layers, video.num_heads, mlp_ratio=2.0, max_length=MAX_LENGTH, init_std=0.125,
    )  # fmt: skip
    return SViTTConfig(video, text, embed_dim=dual.config.embed_dim, answer_layers=1)


def around(
    dual: DualEncoder, words: Tokenizer, settings: FusionSettings, tokenizer: Tokenizer, seed: int
) -> SViTT:
    """A SViTT that sees through the frozen video encoder of ``dual`` and begins with its text layers.

    words: the tokenizer of ``dual``, whose words keep their embeddings. Fusion layers, heads and the words
    of questions are fresh. Errors: ConfigError for more text layers than ``dual`` has.
    """
    most = dual.config.text.depth
    require(settings.text_layers <= most, "text_layers", settings.text_layers, f"at most {most}")
    model = SViTT(fusion_config(dual, settings, tokenizer), seed)
    model.video_encoder.load_state_dict(dual.video_encoder.state_dict())
    for parameter in model.video_encoder.parameters():
        parameter.requires_grad_(False)
    bert, own = dual.text_encoder.bert, model.multimodal_encoder
    for layer, learnt in zip(own.text_layers, bert.encoder.layer, strict=False):
        layer.load_state_dict(learnt.state_dict())
    known = words.get_vocab()
    table, learnt_table = own.embeddings.word_embeddings.weight, bert.embeddings.word_embeddings.weight
    with torch.no_grad():
        for word, number in tokenizer.get_vocab().items():
            if word in known:
                table[number] = learnt_table[known[word]]
        for part in ("position_embeddings", "token_type_embeddings", "LayerNorm"):
            getattr(own.embeddings, part).load_state_dict(getattr(bert.embeddings, part).state_dict())
    return model


def trained_fusion(
    name: str,
    dual: DualEncoder,
    words: Tokenizer,
    batches: FusionBatches,
    settings: FusionSettings,
    encoder: Mapping[str, Any],
    shown: Shown,
    workspace: Workspace,
) -> SViTT:
    """The fusion model over the tokens of ``dual``, trained now or found.

    encoder: what determines ``dual`` and the clips. shown: what the tokens were made of.
    """
    seed, device = batches.seed, batches.device
    model = around(dual, words, settings, batches.tokenizer, seed)
    config = {
        "settings": to_dict(settings),
        "encoder": dict(encoder),
        "shown": shown,
        "matching": batches.matching is not None,
        "blind": not bool(batches.tokens.any()),
    }

    def trained(folder: Path) -> nn.Module:
        recipe = TrainConfig(
            settings.steps, settings.batch_size, settings.learning_rate, warmup_steps=settings.warmup_steps
        )
        title = f"{name} {seed}"
        return train(model, batches, fusion_loss, recipe, folder, device=device, title=title)

    code = code_hash(f"{__name__}:trained_fusion").hash
    return train_once(
        "fusion", config, seed, device, workspace,
        code=code, steps=settings.steps, model=model, train=trained, kept=_own,
    )[0]  # fmt: skip


def _own(model: nn.Module) -> dict[str, Tensor]:
    """What was trained: everything but the video encoder, tied weights once."""
    kept: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        tied = any(tensor.data_ptr() == other.data_ptr() for other in kept.values())
        if not name.startswith("video_encoder.") and not tied:
            kept[name] = tensor
    return kept


def encoded_answers(tokenizer: Tokenizer) -> tuple[Tensor, Tensor]:
    """ids and mask (A, L) of the answer list."""
    return encode(tokenizer, all_answers(), ANSWER_LENGTH)
