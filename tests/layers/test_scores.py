"""One registry of token scores: each does the same in the video encoder, in sparsify and in fusion layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import timm
import torch
from torch import Tensor

import svitt
from svitt.errors import ConfigError
from svitt.integrations.watched_attention import Seen, View
from svitt.layers.block import Block
from svitt.layers.token_pruning import SCORES, Clues, NodeSparsity, TokenScore, find_score, token_score
from svitt.models import multimodal_encoder
from svitt.models.multimodal_encoder import MultimodalEncoder
from svitt.models.svitt_config import CrossModalPruning, FusionTextConfig
from svitt.models.video_encoder import VideoEncoder, VideoEncoderConfig
from svitt.profiling.cost import encoder_cost

BATCH, TOKENS = 2, 16


# A new score: one function, one name.
@token_score("test_middle", "cls_row", "given")
def nearest_to_given(clues: Clues) -> Tensor:
    assert clues.cls_row is not None and clues.given is not None
    return -(clues.cls_row - clues.given).abs()


@pytest.fixture(scope="module", autouse=True)
def the_new_score_goes_again() -> Iterator[None]:
    yield
    del SCORES["test_middle"]


ROWS = torch.rand(2, BATCH, TOKENS, generator=torch.Generator().manual_seed(3)).softmax(-1)
GIVEN = torch.rand(BATCH, TOKENS, generator=torch.Generator().manual_seed(4))


def expected(name: str, rates: int = 2) -> list[list[list[int]]]:
    """The kept tokens, one pass written out: the same CLS rows, given scores and draws for every model."""
    generator = torch.Generator().manual_seed(0)
    numbers = torch.arange(TOKENS).expand(BATCH, -1)
    kept = []
    for layer in range(rates):
        row, given = ROWS[layer].gather(1, numbers), GIVEN.gather(1, numbers)
        scores = find_score(name)(Clues(numbers, row, given, generator))
        count = -(-numbers.shape[1] // 2)
        order = scores.sort(dim=1, descending=True, stable=True).indices[:, :count].sort(dim=1).values
        numbers = numbers.gather(1, order)
        kept.append(numbers.tolist())
    return kept


def in_encoder(name: str) -> list[Tensor]:
    config = VideoEncoderConfig(8, 2, 1, 16, 2, 2, nodes=NodeSparsity(0.5, (0, 1), name))
    model = VideoEncoder(config).eval()
    taken = Block.forward

    def forward(self: Block, x: Tensor, *args: object, **kwargs: object) -> tuple[Tensor, Tensor | None]:
        out, row = taken(self, x, *args, **kwargs)  # type: ignore[arg-type]
        layer = list(model.blocks).index(self)
        if row is not None:  # the attention of a trained model, put in the place of this one's
            numbers = torch.arange(TOKENS).expand(BATCH, -1) if layer == 0 else seen[layer - 1]
            fixed = ROWS[layer].gather(1, numbers)[:, None].expand(-1, row.shape[1], -1)
            row = torch.cat([row[:, :, :1], fixed], dim=2)
        return out, row

    seen = [torch.tensor(kept) for kept in expected(name)]
    with mock.patch.object(Block, "forward", forward):
        return model(torch.zeros(BATCH, 3, 8, 8), token_scores=GIVEN).kept


def small_model() -> Any:
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=8, patch_size=2, embed_dim=16, depth=2, num_heads=2, num_classes=0
    ).eval()


def in_sparsify(name: str) -> list[Tensor]:
    given = GIVEN if "given" in find_score(name).needs else None
    sparse = svitt.sparsify(small_model(), 0.5, (0, 1), name, token_scores=given)
    layers = iter(range(2))

    def row(self: Seen, view: View) -> Tensor:
        numbers = torch.arange(TOKENS).expand(BATCH, -1) if view.numbers is None else view.numbers
        return ROWS[next(layers)].gather(1, numbers)

    with mock.patch.object(Seen, "cls_row", row):
        sparse(torch.zeros(BATCH, 3, 8, 8))
    kept: list[Tensor] = sparse.token_pruning.kept
    return kept


def in_fusion(name: str) -> list[Tensor]:
    model = MultimodalEncoder(
        FusionTextConfig(vocab_size=20, width=16, depth=2, num_heads=2, fusion_layer=0), 16
    ).eval()
    pruning = CrossModalPruning(0.5, (0, 1), name)
    layers = iter(range(2))
    numbers = torch.arange(TOKENS).expand(BATCH, -1)

    def row(probabilities: Tensor, mask: Tensor, how: CrossModalPruning) -> Tensor:
        layer = next(layers)
        at = numbers if layer == 0 else torch.tensor(expected(name)[0])
        return ROWS[layer].gather(1, at)

    text, mask = torch.zeros(BATCH, 3, 16), torch.ones(BATCH, 3, dtype=torch.long)
    with mock.patch.object(multimodal_encoder, "text_row", row):
        fused = model.fuse(
            text, mask, torch.zeros(BATCH, 1 + TOKENS, 16), pruning=pruning, token_scores=GIVEN
        )
    return fused.numbers(TOKENS)


@pytest.mark.parametrize("name", ["cls", "lowest", "random", "given", "test_middle"])
@pytest.mark.parametrize("kept", [in_encoder, in_sparsify, in_fusion])
def test_every_score_keeps_the_same_tokens_everywhere(name: str, kept: object) -> None:
    assert callable(kept)
    assert [tokens.tolist() for tokens in kept(name)] == expected(name)


def test_the_list_above_is_the_registry() -> None:
    assert set(SCORES) == {"cls", "lowest", "random", "given", "test_middle"}


def test_draws_go_on_from_layer_to_layer() -> None:
    """Without a generator of the caller's, the layers of one pass share one; another pass repeats it."""
    config = VideoEncoderConfig(8, 2, 1, 16, 2, 2, nodes=NodeSparsity(0.9, (0, 1), "random"))
    model = VideoEncoder(config).eval()
    first, second = (model(torch.zeros(1, 3, 8, 8)).kept for _ in range(2))
    assert [a.tolist() for a in first] == [b.tolist() for b in second]
    draws = torch.Generator().manual_seed(0)
    one, two = torch.rand(1, 16, generator=draws), torch.rand(1, 15, generator=draws)
    assert int(one.argmin()) not in first[0][0].tolist()
    assert first[1][0].tolist() == [t for i, t in enumerate(first[0][0].tolist()) if i != int(two.argmin())]


@pytest.mark.parametrize("name", sorted(SCORES))
def test_the_cost_model_asks_the_score_what_it_needs(name: str) -> None:
    config = VideoEncoderConfig(8, 2, 1, 16, 2, 2, nodes=NodeSparsity(0.5, (0,), name))
    extra = encoder_cost(config).layers[0].cls_row
    assert (extra > 0) == ("cls_row" in find_score(name).needs)


def test_what_a_score_lacks_is_named() -> None:
    with pytest.raises(ConfigError, match="selection = 'given' needs token_scores"):
        find_score("given")(Clues(torch.zeros(1, 4, dtype=torch.long)))
    with pytest.raises(ConfigError, match="selection = 'cls' needs the attention of a CLS token"):
        find_score("cls")(Clues(torch.zeros(1, 4, dtype=torch.long)))
    with pytest.raises(ConfigError, match="'lowst' is unknown; did you mean 'lowest'"):
        NodeSparsity(0.5, (0,), "lowst")
    with pytest.raises(ConfigError, match="'text_cl"):
        CrossModalPruning(0.5, (0,), "text_cl")


def test_a_name_is_taken_once() -> None:
    before = dict(SCORES)
    for name in ("cls", "test_middle", "merge"):
        with pytest.raises(ConfigError, match=f"{name!r} is registered already"):
            token_score(name)(lambda clues: clues.tokens.float())
    assert before == SCORES


def test_clues_and_scores_of_another_shape_are_refused() -> None:
    tokens = torch.zeros(2, 4, dtype=torch.long)
    for clues, message in [
        (Clues(tokens, given=torch.zeros(2, 5)), r"shape of given = \(2, 5\) .*\(2, 4\)"),
        (Clues(tokens, given=torch.zeros(1, 4)), r"shape of given = \(1, 4\)"),
        (Clues(tokens, torch.zeros(2, 3), torch.zeros(2, 4)), r"shape of cls_row = \(2, 3\)"),
        (Clues(tokens, given=torch.zeros(2, 4), keys=torch.zeros(2, 3, 8)), r"shape of keys = \(2, 3\)"),
    ]:
        with pytest.raises(ConfigError, match=message):
            find_score("given")(clues)
    wrong = TokenScore("wrong", frozenset(), lambda clues: torch.zeros(2))
    with pytest.raises(ConfigError, match=r"scores of selection 'wrong' = \(2,\)"):
        wrong(Clues(tokens))


def test_given_scores_of_another_size_are_refused_everywhere() -> None:
    """Too many of them used to pass: the first ones were taken."""
    config = VideoEncoderConfig(8, 2, 1, 16, 2, 2, nodes=NodeSparsity(0.5, (0,), "given"))
    for shape in ((1, 17), (2, 16), (1, 15)):
        scores = torch.zeros(shape)
        with pytest.raises(ConfigError, match="shape of token_scores"):
            VideoEncoder(config).eval()(torch.zeros(1, 3, 8, 8), token_scores=scores)
        with pytest.raises(ConfigError, match="shape of token_scores"):
            svitt.sparsify(small_model(), 0.5, (0,), "given", token_scores=scores)(torch.zeros(1, 3, 8, 8))
        fusion = MultimodalEncoder(
            FusionTextConfig(vocab_size=20, width=16, depth=2, num_heads=2, fusion_layer=0), 16
        )
        text, mask = torch.zeros(1, 3, 16), torch.ones(1, 3, dtype=torch.long)
        with pytest.raises(ConfigError, match="shape of token_scores"):
            fusion.eval().fuse(
                text,
                mask,
                torch.zeros(1, 1 + TOKENS, 16),
                pruning=CrossModalPruning(0.5, (0,), "given"),
                token_scores=scores,
            )


def test_a_score_may_ask_for_keys() -> None:
    """The longest keys stay; in the video encoder, which hands over none, the error says so."""
    seen = []

    @token_score("test_keys", "keys")
    def longest(clues: Clues) -> Tensor:
        assert clues.keys is not None
        seen.append(clues.keys)
        return clues.keys.norm(dim=-1)

    try:
        model = small_model()
        sparse = svitt.sparsify(model, 0.25, (0,), "test_keys")
        x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(5))
        sparse(x)
        tokens = model.blocks[0].norm1(model.norm_pre(model._pos_embed(model.patch_embed(x))))
        keys = model.blocks[0].attn.qkv(tokens)[:, 1:, 16:32].unflatten(-1, (2, 8)).mean(dim=2)
        assert torch.allclose(seen[0], keys, atol=1e-6)
        assert sparse.token_pruning.kept[0].tolist() == [
            keys.norm(dim=-1).topk(4).indices.sort().values[0].tolist()
        ]
        config = VideoEncoderConfig(8, 2, 1, 16, 2, 2, nodes=NodeSparsity(0.5, (0,), "test_keys"))
        with pytest.raises(ConfigError, match=r"'test_keys' needs the keys of attention, .*sparsify"):
            VideoEncoder(config).eval()(torch.zeros(1, 3, 8, 8))
    finally:
        del SCORES["test_keys"]


def test_given_scores_are_floats_and_rank() -> None:
    config = VideoEncoderConfig(8, 2, 1, 16, 2, 2, nodes=NodeSparsity(0.25, (0,), "given"))
    scores = torch.arange(16.0).flip(0)[None] / 7
    assert VideoEncoder(config).eval()(torch.zeros(1, 3, 8, 8), token_scores=scores).kept[0].tolist() == [
        [0, 1, 2, 3]
    ]
