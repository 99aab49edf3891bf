"""The contrastive loss against a direct computation."""

import torch

from svitt.losses.contrastive import contrastive


def test_contrastive_equals_the_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    video, text = (torch.randn(3, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    positives = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    logits = 2.0 * video @ text.T
    expected = 0.0
    for matrix in (logits, logits.T):
        log_p = matrix - matrix.logsumexp(1, keepdim=True)
        rows = [log_p[i][positives[i]].mean() for i in range(3)]
        expected = expected - torch.stack(rows).mean() / 2
    assert torch.allclose(contrastive(video, text, 2.0, positives), expected)


def test_without_positives_the_diagonal_counts() -> None:
    x = torch.eye(4)
    assert torch.allclose(contrastive(x, x, 3.0), contrastive(x, x, 3.0, torch.eye(4, dtype=torch.bool)))
