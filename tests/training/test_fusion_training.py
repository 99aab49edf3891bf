"""A SViTT learns a batch by heart with all its losses, and its answers."""

from __future__ import annotations

from dataclasses import replace

import torch

from svitt.models.svitt import SViTT
from svitt.models.svitt_config import CrossModalPruning, FusionTextConfig, SViTTConfig
from svitt.models.video_encoder import VideoEncoderConfig
from svitt.training.fusion_training import MaskedWords, answer_loss, pretraining_losses

CONFIG = SViTTConfig(
    VideoEncoderConfig(
        image_size=16, patch_size=8, num_frames=2, width=16, depth=2, num_heads=2, mlp_ratio=2.0,
        layer_scale=None, norm_eps=1e-6, init_std=None,
    ),
    FusionTextConfig(20, 24, 2, 1, 3, 2.0, 10, init_std=0.1),
    embed_dim=8,
    answer_layers=1,
)  # fmt: skip
WORDS = MaskedWords(4, (0, 1, 2, 3))


def batch() -> dict[str, torch.Tensor]:
    ids = torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0], [2, 8, 9, 3]])
    clips = torch.randn(3, 2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return {
        "clips": clips,
        "ids": ids,
        "mask": (ids != 0).long(),
        "positives": torch.eye(3, dtype=torch.bool),
    }


def test_every_part_learns() -> None:
    model = SViTT(replace(CONFIG, pruning=CrossModalPruning(0.5, (0,))), seed=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    history = []
    for step in range(120):
        losses = pretraining_losses(model, batch(), WORDS, torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        sum(losses.values()).backward()  # type: ignore[union-attr]
        if step == 0:
            without = {n for n, p in model.named_parameters() if p.grad is None}
            # With one fusion layer, pruning after it leaves no layer that reads what is left.
            assert {n.split(".")[0] for n in without} <= {"answer_decoder"}, without
        optimizer.step()
        history.append({name: float(loss.detach()) for name, loss in losses.items()})
    assert set(history[0]) == {"contrastive", "matching", "masked_words"}
    for name in history[0]:
        first = sum(h[name] for h in history[:5]) / 5
        last = sum(h[name] for h in history[-5:]) / 5
        assert last < 0.8 * first, name


def test_without_words_and_without_negatives() -> None:
    model = SViTT(CONFIG)
    given = batch() | {"positives": torch.ones(3, 3, dtype=torch.bool)}
    losses = pretraining_losses(model, given, None, torch.Generator())
    assert set(losses) == {"contrastive", "matching"}
    assert all(bool(loss.isfinite()) for loss in losses.values())


def test_answers_are_learnt_with_their_weights() -> None:
    model = SViTT(CONFIG, seed=2)
    answers = torch.tensor([[2, 10, 3], [2, 11, 3], [2, 12, 3], [2, 13, 3]])
    given = batch() | {
        "answer_ids": answers,
        "answer_mask": torch.ones_like(answers),
        "question": torch.tensor([0, 1, 2, 2]),
        "weights": torch.tensor([1.0, 1.0, 0.9, 0.1]),
    }
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        loss = answer_loss(model, given)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        features, text = model.encode_video(given["clips"]), model.encode_text(given["ids"], given["mask"])
        states = model.fuse(text, given["mask"], features.tokens).states
    ranked = model.answers().rank(states, given["mask"], answers, torch.ones_like(answers))
    assert ranked.indices[:, 0].tolist() == [0, 1, 2] and int(ranked.indices[2, 1]) == 3
