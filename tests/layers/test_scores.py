"""One registry of token scores: each does the same in the video encoder, in sparsify and in fusion layers."""

from __future__ import annotations

from collections.abc import Iterator
from unittest import mock

import pytest
import timm
import torch
from torch import Tensor, nn

import svitt
from svitt.errors import ConfigError
from svitt.layers.block import Block
from svitt.layers.token_pruning import SCORES, Clues, NodeSparsity, find_score, token_score
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


def in_sparsify(name: str) -> list[Tensor]:
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=8, patch_size=2, embed_dim=16, depth=2, num_heads=2, num_classes=0
    )
    given = GIVEN if "given" in find_score(name).needs else None
    svitt.sparsify(model.eval(), 0.5, (0, 1), name, token_scores=given)
    pruning = model.token_pruning

    def attend(attention: nn.Module, *args: object) -> None:
        layer = [block.attn for block in model.blocks].index(attention)
        numbers = pruning.kept[-1] if pruning.kept else torch.arange(TOKENS).expand(BATCH, -1)
        pruning.row = ROWS[layer].gather(1, numbers)

    for block in model.blocks:
        block.attn.register_forward_hook(attend)
    model(torch.zeros(BATCH, 3, 8, 8))
    kept: list[Tensor] = pruning.kept
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


def test_given_scores_are_floats_and_rank() -> None:
    config = VideoEncoderConfig(8, 2, 1, 16, 2, 2, nodes=NodeSparsity(0.25, (0,), "given"))
    scores = torch.arange(16.0).flip(0)[None] / 7
    assert VideoEncoder(config).eval()(torch.zeros(1, 3, 8, 8), token_scores=scores).kept[0].tolist() == [
        [0, 1, 2, 3]
    ]
