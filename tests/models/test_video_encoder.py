"""The video encoder: shapes, seeds, token selection, edges, and equality with an image model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from svitt.config import from_dict, to_dict
from svitt.errors import ConfigError
from svitt.layers.edges import EdgeSparsity, full_edges
from svitt.layers.token_pruning import NodeSparsity
from svitt.models.video_encoder import VideoEncoder, VideoEncoderConfig

TINY = VideoEncoderConfig(
    image_size=16, patch_size=4, num_frames=3, width=16, depth=3, num_heads=2, mlp_ratio=2, init_std=0.3
)
EDGES = EdgeSparsity(num_local_blocks=1, num_random_blocks=1, block_size=7)
NODES = NodeSparsity(keep_rate=0.5, prune_layers=(0, 1))


def clips(batch: int = 2, frames: int = 3, seed: int = 0) -> Tensor:
    return torch.randn(batch, frames, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def encoder(seed: int = 0, **changes: Any) -> VideoEncoder:
    return VideoEncoder(replace(TINY, **changes), torch.Generator().manual_seed(seed)).eval()


@pytest.mark.parametrize("stem", ["patch", "conv"])
@pytest.mark.parametrize("position", ["relative_3d", "absolute"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("edges", [None, EDGES])
def test_shapes_and_gradients_of_all_settings(stem: str, position: str, pooling: str, edges: Any) -> None:
    model = encoder(stem=stem, position=position, pooling=pooling, edges=edges, nodes=NODES).train()
    features = model(clips(), return_attention=True, return_hidden_states=True)
    assert features.tokens.shape == (2, 13, 16)
    assert features.pooled.shape == (2, 16)
    assert [x.shape[1] for x in features.kept] == [24, 12]
    assert [x.shape for x in features.attention] == [(2, 2, 49), (2, 2, 25), (2, 2, 13)]
    assert [x.shape[1] for x in features.hidden_states] == [49, 25, 13, 13]
    assert set(features.kept[1][0].tolist()) < set(features.kept[0][0].tolist())
    (features.pooled.sum() + features.tokens.square().sum()).backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in model.parameters())


def test_same_seed_same_weights_whatever_the_global_state() -> None:
    torch.manual_seed(1)
    first = encoder(seed=3).state_dict()
    torch.manual_seed(2)
    again, other = encoder(seed=3).state_dict(), encoder(seed=4).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["cls_token"], other["cls_token"])


@pytest.mark.parametrize("stem", ["patch", "conv"])
def test_an_image_is_a_clip_of_one_frame(stem: str) -> None:
    model = encoder(stem=stem)
    one = clips(frames=1)
    assert torch.equal(model(one).pooled, model(one[:, 0]).pooled)


@pytest.mark.parametrize("position", ["relative_3d", "absolute"])
def test_all_edges_equal_dense(position: str) -> None:
    model = encoder(position=position)
    sparse = encoder(position=position, edges=EDGES)
    full = [full_edges(48, 7)] * 3
    made, dense = sparse(clips(), patterns=full), model(clips())
    assert torch.allclose(made.tokens, dense.tokens, atol=1e-5)
    assert not torch.allclose(sparse(clips()).tokens, dense.tokens, atol=1e-3)


def test_keep_rate_1_is_the_identity() -> None:
    plain, model = encoder(), encoder(nodes=NodeSparsity(1.0, (0, 1)))
    assert torch.equal(plain(clips()).tokens, model(clips()).tokens)


def test_kernel_and_oracle_backends_agree_with_pruned_tokens() -> None:
    config = replace(TINY, edges=EDGES, nodes=NODES)
    fast, oracle = (VideoEncoder(config, backend=b).eval()(clips()) for b in ("chunked", "oracle"))
    assert torch.allclose(fast.tokens, oracle.tokens, atol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(fast.kept, oracle.kept, strict=True))


def test_different_selections_keep_different_tokens() -> None:
    mask = torch.zeros(2, 48, dtype=torch.bool)
    mask[:, 10:34] = True
    kept = {}
    for selection in ("cls", "lowest", "random", "given"):
        model = encoder(nodes=NodeSparsity(0.5, (0,), selection))  # type: ignore[arg-type]
        kept[selection] = model(clips(), token_scores=mask.float()).kept[0]
    assert kept["given"].tolist() == [list(range(10, 34))] * 2
    for sample in range(2):
        best, worst = (set(kept[s][sample].tolist()) for s in ("cls", "lowest"))
        assert best.isdisjoint(worst)
    assert len({str(x.tolist()) for x in kept.values()}) == 4


def test_cls_selection_follows_the_attention_it_reports() -> None:
    features = encoder(nodes=NodeSparsity(0.25, (0,)))(clips(), return_attention=True)
    scores = features.attention[0][:, :, 1:].mean(1)
    assert features.kept[0].tolist() == scores.topk(12).indices.sort().values.tolist()


def test_random_selection_is_drawn_from_the_generator() -> None:
    model = encoder(nodes=NodeSparsity(0.5, (0,), "random"))

    def kept(generator: torch.Generator | None) -> list[list[int]]:
        return model(clips(), generator=generator).kept[0].tolist()

    assert kept(torch.Generator().manual_seed(1)) == kept(torch.Generator().manual_seed(1))
    assert kept(torch.Generator().manual_seed(1)) != kept(torch.Generator().manual_seed(2))
    assert kept(None) == kept(None)
    assert kept(None)[0] != kept(None)[1]
    with pytest.raises(ConfigError, match=r"'random' needs forward\(..., generator"):
        model.train()(clips())


def test_edges_are_fixed_in_evaluation_and_redrawn_in_training() -> None:
    model = encoder(edges=replace(EDGES, redraw=True))
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(model(clips()).tokens, model(clips(), generator=generator).tokens)
    model.train()
    with pytest.raises(ConfigError, match=r"redraw = True needs forward\(..., generator"):
        model(clips())
    drawn = [model(clips(), generator=generator).tokens for _ in range(2)]
    assert not torch.allclose(*drawn, atol=1e-4)
    again = model(clips(), generator=torch.Generator().manual_seed(0)).tokens
    assert torch.equal(again, drawn[0])


def test_neighbourhood_blocks_only_regroup_the_tokens() -> None:
    """Without edges left out, the order of the blocks changes nothing; with local edges it does."""
    near = replace(EDGES, block_size=8, num_random_blocks=0, neighbourhood=(2, 2, 2))
    model = encoder(edges=near, nodes=NODES)
    every, dense = encoder(edges=replace(near, num_random_blocks=9), nodes=NODES), encoder(nodes=NODES)
    made, want = (m(clips(), return_attention=True, return_hidden_states=True) for m in (every, dense))
    assert torch.allclose(made.tokens, want.tokens, atol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(made.kept, want.kept, strict=True))
    for name in ("attention", "hidden_states"):
        for a, b in zip(getattr(made, name), getattr(want, name), strict=True):
            assert torch.allclose(a, b, atol=1e-5)
    assert not torch.allclose(model(clips()).pooled, want.pooled, atol=1e-3)


def test_local_neighbourhoods_see_only_their_box() -> None:
    edges = EdgeSparsity(num_local_blocks=1, num_random_blocks=0, block_size=12, neighbourhood=(3, 2, 2))
    model = encoder(edges=edges, depth=1)
    changed = clips()
    changed[:, :, :, :8, :8] += 1  # the box of rows and columns 0, 1 in all frames
    before, after = (model(x).tokens[:, 1:].view(2, 3, 4, 4, 16) for x in (clips(), changed))
    differs = (before - after).abs().amax(dim=(0, 1, 4)) > 1e-6
    assert differs[:2, :2].all()
    assert not differs[2:].any()
    assert not differs[:, 2:].any()


def test_one_frame_equals_transformers_beit() -> None:
    transformers = pytest.importorskip("transformers")
    from svitt.models.checkpoints.image_models import encoder_like

    config = transformers.BeitConfig(
        hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=40, image_size=16,
        patch_size=4, use_relative_position_bias=True, layer_scale_init_value=0.1, use_mean_pooling=True,
    )  # fmt: skip
    beit = transformers.BeitModel(config).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in beit.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    image = clips(frames=1)[:, 0]
    with torch.no_grad():
        expected = beit(image)
        for frames in (1, 3):
            made = encoder_like(beit, num_frames=frames).eval()(image, return_hidden_states=True)
            assert torch.allclose(made.pooled, expected.pooler_output, atol=1e-5)
            assert torch.allclose(made.hidden_states[-1], expected.last_hidden_state, atol=1e-5)


def test_tiny_keep_rates_and_bfloat16() -> None:
    model = encoder(edges=EDGES, nodes=NodeSparsity(0.01, (0, 1)))
    features = model(clips(batch=1))
    assert features.tokens.shape == (1, 2, 16)
    assert torch.isfinite(features.tokens).all()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = encoder(edges=EDGES)(clips())
    exact = encoder(edges=EDGES)(clips())
    assert float((half.pooled - exact.pooled).detach().abs().max()) < 0.2


def test_clips_of_another_shape_are_refused() -> None:
    model = encoder()
    for shape in ((2, 4, 3, 16, 16), (2, 3, 1, 16, 16), (2, 3, 3, 8, 16), (3, 16)):
        with pytest.raises(ConfigError, match=r"expected \(B, T, 3, 16, 16\) with 1 <= T <= num_frames = 3"):
            model(torch.zeros(shape))
    with pytest.raises(ConfigError, match="needs token_scores"):
        encoder(nodes=NodeSparsity(0.5, (0,), "given"))(clips())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 30, "num_heads": 4}, "width = 30 .*multiples of num_heads = 4"),
        ({"image_size": 30}, "image_size = 30 .*multiples of patch_size = 16"),
        ({"patch_size": 14, "image_size": 28, "stem": "conv"}, "patch_size = 14 .*powers of 2"),
        ({"stem": "lineal"}, "stem = 'lineal' .*conv, patch"),
        ({"nodes": {"prune_layers": [3, 12]}}, "prune_layers = .*below depth = 12"),
        ({"edges": {"num_random_block": 3}}, "did you mean 'num_random_blocks'"),
        ({"depht": 3}, "did you mean 'depth'"),
    ],
)
def test_settings_out_of_range_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(VideoEncoderConfig, values)


def test_the_configuration_survives_plain_data() -> None:
    config = replace(TINY, edges=replace(EDGES, block_size=8, neighbourhood=(2, 2, 2)), nodes=NODES)
    assert from_dict(VideoEncoderConfig, to_dict(config)) == config


@pytest.mark.slow
def test_survives_torch_compile() -> None:
    model = encoder(edges=EDGES, nodes=NodeSparsity(0.5, (0,)), depth=2)
    expected = model(clips())
    compiled = torch.compile(model, backend="aot_eager")
    made = compiled(clips())
    assert torch.allclose(made.pooled, expected.pooled, atol=1e-5)
    made.pooled.square().sum().backward()
    grads = [p.grad.clone() for p in model.blocks.parameters() if p.grad is not None]
    model.zero_grad()
    model(clips()).pooled.square().sum().backward()
    own = [p.grad for p in model.blocks.parameters() if p.grad is not None]
    assert len(grads) == len(own) > 0
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(grads, own, strict=True))
