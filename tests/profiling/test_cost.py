"""The counts on paper agree with PyTorch's counter, part by part, for every kind of encoder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from svitt.errors import ConfigError
from svitt.layers.edges import EdgeSparsity, fixed_edges
from svitt.layers.token_pruning import NodeSparsity
from svitt.models.video_encoder import VideoEncoder, VideoEncoderConfig
from svitt.profiling.cost import attention_cost, computed_keys, encoder_cost

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = VideoEncoderConfig(
    image_size=16, patch_size=4, num_frames=4, width=16, depth=3, num_heads=2, position="absolute"
)
EDGES = EdgeSparsity(1, 1, 7)
NODES = NodeSparsity(0.6, (0, 1))
BASE = VideoEncoderConfig()
PAPER_EDGES, PAPER_NODES = EdgeSparsity(), NodeSparsity()


def counted(config: VideoEncoderConfig, frames: int, batch: int, training: bool) -> int:
    model = VideoEncoder(config).train(training)
    side = config.image_size
    clips = torch.randn(batch, frames, config.in_channels, side, side)
    with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(training):
        features = model(clips, generator=torch.Generator().manual_seed(0))
        if training:
            (features.pooled.sum() + features.tokens.sum()).backward()
    return int(counter.get_total_flops())


@pytest.mark.parametrize("edges", [None, EDGES, EdgeSparsity(3, 1, 5), EdgeSparsity(0, 2, 8)])
@pytest.mark.parametrize("nodes", [None, NODES, NodeSparsity(0.5, (1,), "random")])
@pytest.mark.parametrize("changes", [{}, {"stem": "conv", "mlp_ratio": 2.5}, {"patch_size": 8, "depth": 2}])
def test_counts_equal_those_of_torch(edges: Any, nodes: Any, changes: dict[str, Any]) -> None:
    config = replace(TINY, edges=edges, nodes=nodes, **changes)
    for frames, batch in ((4, 1), (3, 2)):
        cost = encoder_cost(config, frames, batch)
        assert cost.total == counted(config, frames, batch, training=False)
        assert cost.training == counted(config, frames, batch, training=True)
        assert sum(cost.parts().values()) == cost.total == cost.linear + cost.attention


@pytest.mark.parametrize("edges", [None, EDGES])
def test_a_bias_adds_no_products(edges: EdgeSparsity | None) -> None:
    config = replace(TINY, edges=edges, nodes=NODES, position="relative_3d")
    assert encoder_cost(config).total == counted(config, 4, 1, training=False)
    cost = encoder_cost(replace(config, nodes=None))
    kept_scores = 0 if edges else cost.attention // 2  # dense: four products in the backward, not five
    assert cost.training - kept_scores == counted(replace(config, nodes=None), 4, 1, training=True)


@pytest.mark.parametrize("local", [0, 1, 3, 5])
@pytest.mark.parametrize("random", [0, 1, 4])
def test_keys_are_those_of_the_drawn_tables(local: int, random: int) -> None:
    for tokens in (1, 4, 9, 10, 23, 41):
        edges = EdgeSparsity(local, random, 4)
        table = fixed_edges(edges, 0, tokens).blocks
        assert computed_keys(edges, tokens) == 1 + table.shape[1] * 4


def test_vit_b_16_at_one_frame_is_what_everybody_quotes() -> None:
    """ViT-B/16 at 224 pixels: 17.6 billion multiply-adds with the classifier; a frame without it."""
    cost = encoder_cost(BASE, 1)
    assert cost.total / 2 == pytest.approx(17.56e9, rel=0.01)
    assert cost.layers[0].tokens == 197 and cost.layers[0].keys == 197


def test_attention_overtakes_the_linear_maps_at_six_widths() -> None:
    """4 n^2 D against 24 n D^2 (mlp_ratio 4): equal at n = 6 D tokens."""
    config = replace(BASE, num_frames=96)
    for frames in (4, 23, 24, 96):
        layer = encoder_cost(config, frames).layers[0]
        assert layer.attention / layer.linear == pytest.approx(layer.tokens / (6 * 768))
    assert encoder_cost(config, 23).layers[0].attention < encoder_cost(config, 23).layers[0].linear
    assert encoder_cost(config, 24).layers[0].attention > encoder_cost(config, 24).layers[0].linear


def test_sparser_is_cheaper_and_tokens_follow_the_keep_rate() -> None:
    config = replace(BASE, num_frames=16)
    dense, edges, nodes, both = (
        encoder_cost(replace(config, edges=e, nodes=n))
        for e, n in ((None, None), (PAPER_EDGES, None), (None, PAPER_NODES), (PAPER_EDGES, PAPER_NODES))
    )
    assert dense.total > edges.total > both.total and dense.total > nodes.total > both.total
    assert dense.linear == edges.linear
    tokens = [layer.tokens - 1 for layer in both.layers]
    assert tokens == [3136] * 4 + [2196] * 3 + [1538] * 3 + [1077] * 2
    assert edges.layers[0].attention == attention_cost(3136, 768, PAPER_EDGES)
    assert computed_keys(PAPER_EDGES, 3136) == 1 + 4 * 56


def test_impossible_clips_are_refused() -> None:
    for frames in (0, 5):
        with pytest.raises(ConfigError, match=f"num_frames = {frames} .*1 to num_frames = 4"):
            encoder_cost(TINY, frames)
    with pytest.raises(ConfigError, match="batch = 0"):
        encoder_cost(TINY, batch=0)
    with pytest.raises(ConfigError, match="tokens = 0"):
        attention_cost(0, 8)
