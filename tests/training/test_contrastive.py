"""The loss with wrong captions."""

from __future__ import annotations

import torch

from svitt.losses.contrastive import contrastive
from svitt.training.contrastive import contrastive_with_negatives


def unit(*shape: int) -> torch.Tensor:
    return torch.nn.functional.normalize(
        torch.randn(*shape, generator=torch.Generator().manual_seed(1)), dim=-1
    )


def test_without_negatives_the_loss_is_infonce() -> None:
    video, text = unit(5, 4), unit(6, 4)[1:]
    positives = torch.eye(5, dtype=torch.bool)
    positives[0, 1] = positives[1, 0] = True
    expected = contrastive(video, text, 7.0, positives)
    assert torch.allclose(contrastive_with_negatives(video, text, 7.0, positives), expected)


def test_a_wrong_caption_raises_the_loss_the_more_it_fits() -> None:
    video = torch.eye(3)
    positives = torch.zeros(3, 4, dtype=torch.bool)
    positives[:, :3] = torch.eye(3, dtype=torch.bool)
    losses = []
    for fit in (-1.0, 0.0, 1.0):
        wrong = torch.tensor([[fit, 0.0, (1 - fit**2) ** 0.5]])
        losses.append(
            float(contrastive_with_negatives(video, torch.cat([torch.eye(3), wrong]), 5.0, positives))
        )
    assert losses[0] < losses[2]
    assert float(contrastive_with_negatives(video, torch.eye(3), 5.0, positives[:, :3])) < losses[0]
