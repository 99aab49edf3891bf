"""Padded texts, place by place, against the release's formulas written out (``plain_text``).

The release computes states for padded positions as for words, gives padded keys 10000 less, and with its
strategy "avg_attn" averages the attention of padded positions too. Ours masks with the least number there is
and averages over words, unless it is told to do as the release does. Padded video tokens: ``plain_release``.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.models.bert.modeling_bert import BertOnlyMLMHead

from svitt.models.heads import AnswerDecoder
from svitt.models.multimodal_encoder import Fused, MultimodalEncoder, bert_config, text_row
from svitt.models.svitt_config import CrossModalPruning, FusionTextConfig
from tests.models.plain_text import CONFIG, Plain, inputs, random_weights

TEXT = FusionTextConfig(30, 24, 3, 1, 3, 40 / 24, 12)
LENGTHS = (7, 4, 1)


class Case:
    """Both sides with the same weights on texts of 7, 4 and 1 tokens; the longest needs no padding."""

    def __init__(self, seed: int = 0, **changes: Any) -> None:
        c = {**CONFIG, **changes}
        g = torch.Generator().manual_seed(seed)
        weights, given = random_weights(c, g), inputs(c, g, LENGTHS)
        self.ids, self.mask, self.video = given.values()
        self.plain = Plain(c, weights)
        self.ours = MultimodalEncoder(TEXT, c["video_dim"]).eval()
        self.ours.load_state_dict(self.part("bert."))

    def part(self, prefix: str) -> dict[str, Tensor]:
        w = self.plain.w
        return {name.removeprefix(prefix): value for name, value in w.items() if name.startswith(prefix)}

    def release(self) -> list[tuple[Tensor, dict[int, Tensor], list[Tensor]]]:
        """States, kept tokens, attention of every text, padded positions included."""
        return [
            self.plain.fuse(self.plain.text(ids, mask), video, mask)
            for ids, mask, video in zip(self.ids, self.mask, self.video, strict=True)
        ]

    @torch.no_grad()
    def fused(self, pruning: CrossModalPruning | None = None) -> Fused:
        text = self.ours.encode_text(self.ids, self.mask)
        return self.ours.fuse(text, self.mask, self.video, pruning=pruning, return_attention=True)


def test_text_states_positions_and_the_mask_are_the_releases_at_every_position() -> None:
    case = Case(1)
    found = case.ours.encode_text(case.ids, case.mask)
    for state, ids, mask in zip(found, case.ids, case.mask, strict=True):
        assert torch.allclose(state, case.plain.text(ids, mask), atol=1e-5)


def test_fused_states_attention_and_words_are_the_releases_at_every_position() -> None:
    case = Case(2)
    found = case.fused()
    head = BertOnlyMLMHead(bert_config(TEXT)).eval()
    head.load_state_dict(case.part("cls."))
    assert found.attention is not None
    for i, (states, _, rows) in enumerate(case.release()):
        assert torch.allclose(found.states[i], states, atol=1e-5)
        assert torch.allclose(head(found.states[i]), case.plain.words(states), atol=1e-5)
        for ours, theirs in zip(found.attention, rows, strict=True):
            assert torch.allclose(ours[i], theirs, atol=1e-5)


@pytest.mark.parametrize("strategy, selection", [("cls_attn", "text_cls"), ("avg_attn", "text_mean_padded")])
@pytest.mark.parametrize("layers", [[1], [1, 2]])
def test_pruned_as_the_release_prunes(strategy: str, selection: str, layers: list[int]) -> None:
    case = Case(3, strategy=strategy, prune_layers=layers, keep_rate=0.45)
    found = case.fused(CrossModalPruning(0.45, tuple(n - 1 for n in layers), selection))
    for i, (states, kept, _) in enumerate(case.release()):
        assert [index[i].tolist() for index in found.kept] == [index.tolist() for index in kept.values()]
        assert torch.allclose(found.states[i], states, atol=1e-5)


def test_the_mean_over_words_leaves_padding_out_and_the_releases_does_not() -> None:
    """The one place where we differ by choice: on padded texts alone, and there in what is kept."""
    words, padded = (CrossModalPruning(0.3, (0,), name) for name in ("text_mean", "text_mean_padded"))
    kept_otherwise = 0
    for seed in range(8):
        case = Case(seed)
        attention = case.fused().attention
        assert attention is not None
        ours, theirs = (text_row(attention[0], case.mask, rule) for rule in (words, padded))
        for i, length in enumerate(LENGTHS):
            mean = attention[0][i].mean(dim=0)
            assert torch.allclose(ours[i], mean[:length, 1:].mean(dim=0), atol=1e-6)
            assert torch.allclose(theirs[i], mean[:, 1:].mean(dim=0), atol=1e-6)
        a, b = case.fused(words).kept[0], case.fused(padded).kept[0]
        assert torch.equal(a[0], b[0])
        kept_otherwise += int((a[1:] != b[1:]).any())
    assert kept_otherwise > 0


def test_answers_to_padded_questions_and_padded_answers_are_scored_as_in_the_release() -> None:
    g = torch.Generator().manual_seed(5)
    c = {**CONFIG, "layers": 2, "fusion_layer": 0, "video_dim": 24}
    weights = random_weights(c, g)
    weights["cls.predictions.decoder.weight"] = weights["bert.embeddings.word_embeddings.weight"]  # one table
    decoder = AnswerDecoder(TEXT, 2).eval()
    decoder.bert.load_state_dict(weights, strict=True)
    plain = Plain(c, weights)
    questions = torch.randn(3, 7, 24, generator=g)
    question_mask = inputs(c, g, LENGTHS)["attention_mask"]
    ids, mask, _ = inputs(c, g, (2, 5, 4)).values()
    with torch.no_grad():
        found = decoder.token_scores(questions, question_mask, ids, mask)
    for i in range(3):
        x = plain.text(ids[i])  # no layer reads the text alone: these are the embeddings
        seen = torch.ones(len(x), len(x)).tril() * mask[i]
        for layer in range(2):
            name = f"bert.encoder.layer.{layer}"
            x = plain.attend(x, x, f"{name}.attention", seen)[0]
            x = plain.attend(x, questions[i], f"{name}.crossattention", question_mask[i])[0]
            x = plain.mlp(x, layer)
        # The release's loss skips padded targets, the first token is given.
        scores = plain.words(x)[:-1].log_softmax(dim=-1).gather(1, ids[i, 1:, None])[:, 0]
        real = mask[i, 1:].bool()
        assert torch.allclose(found[i][real], scores[real], atol=1e-5)
        assert bool((found[i][~real] == 0).all())
