"""Chapter 4 once more: merge tokens instead of dropping them. Exploratory: no rule reads these outcomes.

Chapter 1's model of the ``mixed`` captions, as in ``experiment``, with as many tokens left after the same
layers; what differs is what becomes of the rest. Dropped tokens are gone; merged ones are averaged into the
most similar that stays, and weigh as much as they hold (ToMe, arXiv 2210.09461). Raw outcomes, a variant
named as in ``experiment``: ``<variant>/rank``, ``/verb`` and ``/flip``, (draws, clips); values:
``<variant>/flops`` of a clip, counted while it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from svitt.config import require
from svitt.data.transforms import normalise
from svitt.experiments.base import Measurement
from svitt.experiments.ch04_node_sparsity.clips import Frames
from svitt.experiments.ch04_node_sparsity.experiment import VARIANT, variant_name
from svitt.experiments.ch04_node_sparsity.harness import Bench, Encoded, keep_scored, pruned, tokens_left
from svitt.experiments.shared import frame_sampling, one_object_model
from svitt.experiments.shared.result_collector import Found
from svitt.experiments.shared.tiny_models import world_data
from svitt.layers.attention import SelfAttention, dense_attention
from svitt.layers.block import Block
from svitt.layers.token_merging import match_tokens, merge_tokens
from svitt.layers.token_pruning import MERGE, num_kept
from svitt.models.video_encoder import VideoEncoder
from svitt.records.workspace import Workspace

CHAPTER = "04_node_sparsity_merging"
TIMED: tuple[str, ...] = ()
SELECTIONS: tuple[str, ...] = ("cls", "random", MERGE)


@dataclass(frozen=True)
class Settings:
    """A scale. Fields as in ``experiment.Settings``; a merge leaves at least half of the tokens."""

    seeds: tuple[int, ...]
    model: one_object_model.Settings
    prune_layers: tuple[int, ...] = (0, 1)
    keep_rates: tuple[float, ...] = (0.9, 0.8, 0.7, 0.6, 0.5)
    draws: int = 4

    def __post_init__(self) -> None:
        low = [rate for rate in self.keep_rates if not 0.5 <= rate < 1]
        require(not low, "keep_rates", low, "0.5 <= rate < 1: tokens are merged in pairs")


SCALES: Mapping[str, Settings] = {
    "smoke": Settings((0,), one_object_model.SCALES["smoke"], keep_rates=(0.7, 0.5), draws=2),
    "cpu": Settings((0, 1, 2, 3, 4), one_object_model.SCALES["cpu"]),
    "gpu": Settings(tuple(range(8)), one_object_model.SCALES["gpu"], prune_layers=(2, 4, 6)),
}


def proportional_attention(attention: SelfAttention, x: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """softmax(q k^T / sqrt(d) + log size of the key) v (ToMe section 3), and what tokens are matched by.

    x (B, 1+K, D), CLS first; sizes (B, K), patches in each token. Returns (B, 1+K, D) and the patch tokens'
    keys, mean over heads, (B, K, d).
    """
    bias = torch.cat([attention.q_bias, attention.k_bias, attention.v_bias])
    qkv = F.linear(x, attention.qkv.weight, bias).unflatten(2, (3, attention.num_heads, -1))
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (B, h, 1+K, d) each
    weights = F.pad(sizes, (1, 0), value=1.0).log()[:, None, None, :].expand(-1, -1, x.shape[1], -1)
    out = dense_attention(q, k, v, weights).transpose(1, 2).flatten(2)
    return attention.proj(out), k.mean(dim=1)[:, 1:]


def merging_encoder(
    encoder: VideoEncoder, clips: Tensor, keep_rate: float, layers: tuple[int, ...]
) -> Tensor:
    """The pooled features (B, D) of clips (B, T, C, H, W), tokens merged after ``layers``; at keep rate 1
    those of the encoder.

    Errors: ConfigError for an encoder that a merged token has no place in: with a bias by position, edges,
    pruning, LayerScale, or pooling by mean.
    """
    c = encoder.config
    plain = (c.position, c.edges, c.nodes, c.layer_scale, c.pooling) == ("absolute", None, None, None, "cls")
    require(plain, "encoder", c, "dense, absolute positions, no LayerScale, pooled by CLS")
    patches = encoder.patch_embed(clips)  # (B, K, D)
    assert encoder.pos_embed is not None
    patches = patches + encoder.pos_embed[:, : patches.shape[1]]
    x = torch.cat([encoder.cls_token.expand(len(clips), -1, -1), patches], dim=1)
    sizes = torch.ones_like(patches[:, :, 0])
    for number, layer in enumerate(encoder.blocks):
        block = cast(Block, layer)
        out, keys = proportional_attention(block.attn, block.norm1(x), sizes)
        x = x + out
        x = x + block.mlp(block.norm2(x))
        if number in layers:
            matching = match_tokens(keys, keys.shape[1] - num_kept(keys.shape[1], keep_rate))
            patches, sizes = merge_tokens(x[:, 1:], sizes, matching)
            x = torch.cat([x[:, :1], patches], dim=1)
    return encoder.norm(x)[:, 0]


@torch.no_grad()
def encode_merged(bench: Bench, keep_rate: float, clips: Frames, batch_size: int = 250) -> Encoded:
    """Embeds clips (N, T, H, W, C) uint8 with merged tokens; no token is kept or dropped."""
    model, embedded = bench.model, []
    for start in range(0, len(clips), batch_size):
        shown = normalise(clips[start : start + batch_size]).to(bench.device)
        pooled = merging_encoder(model.video_encoder, shown, keep_rate, bench.prune_layers)
        embedded.append(F.normalize(model.video_projection(pooled), dim=-1).float().cpu().numpy())
    return Encoded(np.concatenate(embedded), [])


def measure(settings: Settings, seed: int, device: str, workspace: Workspace) -> Measurement:
    """Prunes and merges the tokens of chapter 1's model of this seed, trained now if it is not there."""
    shared = settings.model
    data = world_data(one_object_model.world_spec(shared, seed), workspace, shared.image_size)
    model = one_object_model.trained_variant(VARIANT, shared, data, seed, device, workspace).eval()
    split, whole = data.world.split("test"), data.clips("test")
    shown = frame_sampling.shown_indices(len(whole), whole.shape[1], shared.num_frames, seed)
    clips = whole[np.arange(len(whole))[:, None], shown]
    dial = one_object_model.VARIANTS[VARIANT].dial
    texts = one_object_model.probe_texts(model, data, split, dial, shared.pool_size, device)
    bench, found = Bench(model, settings.prune_layers, settings.draws, seed, device), Found()
    nothing = np.zeros((len(clips), int(np.prod(bench.grid))), np.float32)  # no selection here asks for it
    keep_scored(found, "dense", bench.run(None, 1.0, clips, nothing), texts)
    found.values |= {"test_clips": len(split), "dense/flops": _flops(bench, None, 1.0, clips)}
    for rate in settings.keep_rates:
        for selection in SELECTIONS:
            name = variant_name(selection, rate)
            if selection == MERGE:
                encoded = [encode_merged(bench, rate, clips)]
            else:
                encoded = bench.run(selection, rate, clips, nothing)
            keep_scored(found, name, encoded, texts)
            found.values[f"{name}/flops"] = _flops(bench, selection, rate, clips)
        left = tokens_left(nothing.shape[1], rate, len(settings.prune_layers))
        found.values[variant_name("tokens_left", rate)] = left[-1]
    return Measurement(found.values, found.outcomes)


def _flops(bench: Bench, selection: str | None, keep_rate: float, clips: Frames) -> int:
    """FLOPs of the video encoder on one clip, 2 a multiplication, as counted while it runs."""
    one = normalise(clips[:1]).to(bench.device)
    nodes = None if selection in (None, MERGE) else bench.nodes(str(selection), keep_rate)
    encoder = pruned(bench.model, nodes).to(bench.device).video_encoder
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        if selection == MERGE:
            merging_encoder(encoder, one, keep_rate, bench.prune_layers)
        else:
            encoder(one)
    return int(counter.get_total_flops())
