"""Chapter 4's merging: at keep rate 1 it is the encoder, and a merged pair of equals changes nothing."""

import dataclasses

import numpy as np
import pytest
import torch

from svitt.errors import ConfigError
from svitt.experiments import base
from svitt.experiments.ch01_frame_shuffle import experiment as frame_shuffle
from svitt.experiments.ch04_node_sparsity import merging
from svitt.experiments.ch04_node_sparsity import page_merging as report
from svitt.experiments.ch04_node_sparsity.merging import (
    Settings,
    merging_encoder,
    proportional_attention,
)
from svitt.experiments.shared.tiny_models import tiny_video_config
from svitt.layers.edges import EdgeSparsity
from svitt.layers.token_pruning import MERGE, NodeSparsity
from svitt.models.video_encoder import VideoEncoder
from tests.experiments.tiny import measured

SHARED = frame_shuffle.Settings((0,), 40, 20, 3, 3, 3, batch_size=8, warmup_steps=1, pool_size=10, draws=2)
TINY = Settings((0,), SHARED, keep_rates=(0.7, 0.5), draws=2)


@pytest.fixture(scope="module")
def encoder() -> VideoEncoder:
    return VideoEncoder(tiny_video_config(4), torch.Generator().manual_seed(1)).double().eval()


@pytest.fixture(scope="module")
def run(out_dir: str) -> base.Recorded:
    return measured(merging, TINY, out_dir)


def _clips(count: int = 3) -> torch.Tensor:
    return torch.randn(count, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_keeping_all_is_the_encoder(encoder: VideoEncoder) -> None:
    clips = _clips()
    with torch.no_grad():
        torch.testing.assert_close(merging_encoder(encoder, clips, 1.0, (0, 1)), encoder(clips).pooled)


def test_a_token_of_size_two_is_two_equal_tokens(encoder: VideoEncoder) -> None:
    attention = encoder.blocks[0].attn
    x = torch.randn(2, 1 + 5, 64, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    twice = torch.cat([x, x[:, 2:3]], dim=1)
    sizes = torch.ones(2, 5, dtype=torch.float64)
    sizes[:, 1] = 2
    with torch.no_grad():
        merged, keys = proportional_attention(attention, x, sizes)
        apart, _ = proportional_attention(attention, twice, torch.ones(2, 6, dtype=torch.float64))
        weights = attention.qkv.weight.view(3, 2, 32, 64)[1].mean(dim=0)  # the key map, mean over heads
    torch.testing.assert_close(merged, apart[:, :-1])
    torch.testing.assert_close(keys, x[:, 1:] @ weights.T)


def test_merging_looks_at_the_clip_and_leaves_another_result(encoder: VideoEncoder) -> None:
    with torch.no_grad():
        dense = encoder(_clips()).pooled
        merged = [merging_encoder(encoder, _clips(), rate, (0, 1)) for rate in (0.9, 0.5)]
    errors = [float((m - dense).norm() / dense.norm()) for m in merged]
    assert 0 < errors[0] < errors[1]


@pytest.mark.parametrize(
    "changes",
    [
        {"edges": EdgeSparsity(1, 1, 4)},
        {"nodes": NodeSparsity(0.5, (0,))},
        {"position": "relative_3d"},
        {"layer_scale": 0.1},
        {"pooling": "mean"},
    ],
)
def test_what_a_merged_token_has_no_place_in_is_refused(changes: dict[str, object]) -> None:
    made = VideoEncoder(dataclasses.replace(tiny_video_config(4), **changes))
    with pytest.raises(ConfigError, match="absolute positions"):
        merging_encoder(made, _clips().float(), 0.5, (0, 1))


def test_merging_in_pairs_leaves_half() -> None:
    with pytest.raises(ConfigError, match=r"keep_rates = \[0.3\]"):
        dataclasses.replace(TINY, keep_rates=(0.5, 0.3))


def test_outcomes_at_equal_tokens(run: base.Recorded) -> None:
    names = {name.rpartition("/")[0] for name in run.outcomes}
    assert names == {"dense"} | {f"{s}{rate}" for s in merging.SELECTIONS for rate in ("", "@0.7")}
    assert run.outcomes["random/rank"].shape == (2, 20)
    assert run.outcomes["merge/rank"].shape == (1, 20)
    values = run.record.values
    assert values["tokens_left"] == 16  # 64 -> 32 -> 16
    # Matching costs FLOPs of its own: half a percent here, and both are well below the dense encoder.
    for rate in ("", "@0.7"):
        cls, merged = float(values[f"cls{rate}/flops"]), float(values[f"{MERGE}{rate}/flops"])
        assert cls <= merged < 1.02 * cls < 0.98 * float(values["dense/flops"])


def test_the_table_of_the_page(run: base.Recorded) -> None:
    table = report.at_equal_cost([run])
    assert list(table.index) == [1.0, 0.7, 0.5]
    assert table.loc[1.0, "merge - cls"] == "0.0"
    r1 = 100 * float(np.mean(run.outcomes["merge/rank"] == 1))
    assert table.loc[0.5, "merge"] == f"{r1:.1f}"
