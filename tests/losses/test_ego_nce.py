"""EgoNCE: cases by hand, InfoNCE as its special case, the released formula, gradients by finite
differences."""

import math

import pytest
import torch
import torch.nn.functional as F

from svitt.errors import ConfigError
from svitt.losses.contrastive import contrastive
from svitt.losses.ego_nce import SharedTags, ego_nce, tag_positives


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def as_released(similarity: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
    """Written out: softmax of rows and of columns, mass on the positives, both directions added."""
    rows, columns = similarity.softmax(dim=1), similarity.T.softmax(dim=1)
    return -sum((part * positives).sum(dim=1).log().mean() for part in (rows, columns))


# Six narrations: verbs take, put, open; nouns ball, box, key.
VERBS = torch.tensor([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 0]])
NOUNS = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 1, 1], [0, 0, 1], [0, 0, 1]])


@pytest.mark.parametrize(
    ("shared", "pairs"),
    [
        ("verb_and_noun", {(0, 1), (3, 4)}),
        ("verb", {(0, 1), (0, 5), (1, 5), (2, 3), (3, 4)}),
        ("noun", {(0, 1), (0, 2), (1, 2), (1, 3), (3, 4), (3, 5), (4, 5)}),
    ],
)
def test_positives_by_hand(shared: SharedTags, pairs: set[tuple[int, int]]) -> None:
    found = tag_positives(VERBS, NOUNS, shared)
    wanted = torch.eye(6, dtype=torch.bool)
    for i, j in pairs:
        wanted[i, j] = wanted[j, i] = True
    assert torch.equal(found, wanted)


def test_a_narration_without_tags_has_itself() -> None:
    nothing = torch.zeros(3, 4)
    assert torch.equal(tag_positives(nothing, nothing), torch.eye(3, dtype=torch.bool))


def test_two_clips_by_hand() -> None:
    video = torch.eye(2, dtype=torch.float64)
    text = torch.tensor([[0.6, 0.8], [0.0, 1.0]], dtype=torch.float64)
    # Similarities times 2: [[1.2, 0], [1.6, 2]].
    own = torch.eye(2, dtype=torch.bool)
    rows = (math.log(1 + math.exp(-1.2)) + math.log(1 + math.exp(-0.4))) / 2
    columns = (math.log(1 + math.exp(0.4)) + math.log(1 + math.exp(-2.0))) / 2
    assert float(ego_nce(video, text, 2.0, own)) == pytest.approx((rows + columns) / 2, rel=1e-12)
    # All are right: there is nothing to learn.
    assert float(ego_nce(video, text, 2.0, torch.ones(2, 2, dtype=torch.bool))) == pytest.approx(0, abs=1e-12)


def test_without_shared_tags_it_is_infonce() -> None:
    video, text = unit(7, 5), unit(7, 5, seed=1)
    own = tag_positives(torch.eye(7), torch.eye(7))
    torch.testing.assert_close(ego_nce(video, text, 11.0, own), contrastive(video, text, 11.0))


def test_it_is_half_of_the_released_sum() -> None:
    video, text = unit(6, 5), unit(6, 5, seed=1)
    positives = tag_positives(VERBS, NOUNS)
    released = as_released(20 * video @ text.T, positives)
    torch.testing.assert_close(ego_nce(video, text, 20.0, positives), released / 2)


def test_it_is_content_with_one_positive() -> None:
    """Where ``contrastive`` is not: the mass may lie on any of the right texts."""
    video = torch.eye(3, dtype=torch.float64)
    text = torch.eye(3, dtype=torch.float64)
    positives = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    assert float(ego_nce(video, text, 40.0, positives)) < 1e-12
    assert float(contrastive(video, text, 40.0, positives)) > 1


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_batch_does_not_matter(seed: int) -> None:
    video, text, positives = unit(6, 5), unit(6, 5, seed=1), tag_positives(VERBS, NOUNS)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    shuffled = ego_nce(video[order], text[order], 9.0, positives[order][:, order])
    torch.testing.assert_close(shuffled, ego_nce(video, text, 9.0, positives))


@pytest.mark.parametrize("anchors", [None, 2])
def test_gradients_are_the_finite_differences(anchors: int | None) -> None:
    video = unit(6, 4).requires_grad_()
    text = unit(6, 4, seed=1).requires_grad_()
    scale = torch.tensor(7.0, dtype=torch.float64, requires_grad=True)
    positives = tag_positives(VERBS, NOUNS)
    assert torch.autograd.gradcheck(
        lambda v, t, s: ego_nce(v, t, s, positives, anchors), (video, text, scale)
    )


def test_negatives_that_do_not_ask() -> None:
    video, text = unit(4, 5), unit(4, 5, seed=1)
    own = torch.eye(4, dtype=torch.bool)
    logits = 5 * video @ text.T
    target = torch.arange(2)
    wanted = (F.cross_entropy(logits[:2], target) + F.cross_entropy(logits.T[:2], target)) / 2
    torch.testing.assert_close(ego_nce(video, text, 5.0, own, anchors=2), wanted)


def test_large_scales_stay_finite_in_half_precision_inputs() -> None:
    video, text = unit(8, 16).float(), unit(8, 16, seed=1).float()
    loss = ego_nce(video.requires_grad_(), text, 1000.0, torch.eye(8, dtype=torch.bool))
    loss.backward()
    assert torch.isfinite(loss) and video.grad is not None and torch.isfinite(video.grad).all()


def test_wrong_calls_are_told() -> None:
    video, own = unit(4, 5), torch.eye(4, dtype=torch.bool)
    with pytest.raises(ConfigError, match="shared = 'nouns'"):
        tag_positives(VERBS, NOUNS, "nouns")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"\(B, V\) and \(B, W\)"):
        tag_positives(VERBS, NOUNS[:3])
    with pytest.raises(ConfigError, match="anchors = 5"):
        ego_nce(video, video, 1.0, own, anchors=5)
    with pytest.raises(ConfigError, match=r"bool \(4, 4\)"):
        ego_nce(video, video, 1.0, own.float())
