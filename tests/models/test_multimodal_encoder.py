"""Text and fusion layers against the plain second implementation, and what pruning must not change."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from svitt.errors import ConfigError
from svitt.models.multimodal_encoder import MultimodalEncoder, cross_attention
from svitt.models.svitt_config import CrossModalPruning, FusionTextConfig
from tests.models.plain_text import CONFIG, Plain, inputs, random_weights

TEXT = FusionTextConfig(30, 24, 3, 1, 3, 40 / 24, 12)


def made(seed: int = 0, **changes: Any) -> tuple[MultimodalEncoder, Plain, dict[str, torch.Tensor]]:
    """Ours and the plain one with the same weights, and inputs."""
    c = {**CONFIG, **changes}
    g = torch.Generator().manual_seed(seed)
    weights, given = random_weights(c, g), inputs(c, g)
    encoder = MultimodalEncoder(TEXT, c["video_dim"]).eval()
    encoder.load_state_dict({k.removeprefix("bert."): v for k, v in weights.items() if k.startswith("bert.")})
    return encoder, Plain(c, weights), given


@pytest.mark.parametrize("strategy, selection", [("cls_attn", "text_cls"), ("avg_attn", "text_mean")])
@pytest.mark.parametrize("layers", [[], [1], [1, 2]])
def test_states_and_kept_tokens_are_the_plain_ones(strategy: str, selection: Any, layers: list[int]) -> None:
    encoder, plain, given = made(3, strategy=strategy, prune_layers=layers, keep_rate=0.45)
    mask = given["attention_mask"]
    pruning = CrossModalPruning(0.45, tuple(n - 1 for n in layers), selection) if layers else None
    text = encoder.encode_text(given["input_ids"], mask)
    fused = encoder.fuse(text, mask, given["video_tokens"], pruning=pruning, return_attention=True)
    assert fused.attention is not None
    for i, count in enumerate(mask.sum(1).tolist()):
        state = plain.text(given["input_ids"][i, :count])
        out, kept, rows = plain.fuse(state, given["video_tokens"][i])
        assert torch.allclose(text[i, :count], state, atol=1e-5)
        assert torch.allclose(fused.states[i, :count], out, atol=1e-5)
        for ours, theirs in zip(fused.kept, kept.values(), strict=True):
            assert ours[i].tolist() == theirs.tolist()
        for p, q in zip(fused.attention, rows, strict=True):
            assert torch.allclose(p[i, :, :count], q, atol=1e-5)


def test_gradients_are_the_plain_ones() -> None:
    encoder, plain, given = made(1, prune_layers=[1], keep_rate=0.5)
    for weight in plain.w.values():
        weight.requires_grad_()
    plain.fuse(plain.text(given["input_ids"][0]), given["video_tokens"][0])[0].square().sum().backward()
    one, mask = given["input_ids"][:1], given["attention_mask"][:1]
    fused = encoder.fuse(
        encoder.encode_text(one, mask), mask, given["video_tokens"][:1], pruning=CrossModalPruning(0.5, (0,))
    )
    fused.states.square().sum().backward()
    for name, parameter in encoder.named_parameters():
        expected = plain.w[f"bert.{name}"].grad
        got = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        expected = torch.zeros_like(got) if expected is None else expected
        assert torch.allclose(got, expected, atol=2e-4, rtol=1e-3), name


def test_padding_changes_nothing_and_a_text_of_one_token_works() -> None:
    encoder, _, given = made(2)
    mask, ids = given["attention_mask"], given["input_ids"]
    other = ids.masked_fill(mask == 0, 7)
    pruning = CrossModalPruning(0.3, (0,), "text_mean")

    def run(tokens: torch.Tensor) -> torch.Tensor:
        text = encoder.encode_text(tokens, mask)
        return encoder.fuse(text, mask, given["video_tokens"], pruning=pruning).states

    real = mask.bool()
    assert torch.allclose(run(ids)[real], run(other)[real], atol=1e-6)
    alone = encoder.encode_text(ids[2:, :1], mask[2:, :1])
    assert torch.allclose(alone, encoder.encode_text(ids, mask)[2:, :1], atol=1e-5)


def test_keeping_all_is_no_pruning_and_kept_tokens_are_counted_through() -> None:
    encoder, _, given = made(4)
    mask, video = given["attention_mask"], given["video_tokens"]
    text = encoder.encode_text(given["input_ids"], mask)
    whole = encoder.fuse(text, mask, video)
    same = encoder.fuse(text, mask, video, pruning=CrossModalPruning(1.0, (0, 1)))
    assert torch.equal(whole.states, same.states) and whole.kept == []
    twice = encoder.fuse(text, mask, video, pruning=CrossModalPruning(0.5, (0, 1)))
    assert [k.shape[1] for k in twice.kept] == [5, 3] and twice.tokens.shape[1] == 4
    numbers = twice.numbers(10)[-1]
    assert bool((numbers.diff(dim=1) > 0).all())
    rows = numbers[:, :, None].expand(-1, -1, video.shape[2])
    assert torch.equal(twice.tokens[:, 1:], video[:, 1:].gather(1, rows))
    assert torch.equal(twice.tokens[:, 0], video[:, 0])


def test_selections_keep_different_tokens_and_random_ones_follow_the_generator() -> None:
    encoder, _, given = made(5)
    mask, video = given["attention_mask"], given["video_tokens"]
    text = encoder.encode_text(given["input_ids"], mask)

    def kept(selection: Any, seed: int | None = None) -> list[list[int]]:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        pruning = CrossModalPruning(0.5, (0,), selection)
        found = encoder.fuse(text, mask, video, pruning=pruning, generator=generator).kept[0]
        return [list(map(int, row)) for row in found]

    best, worst = kept("text_cls"), kept("lowest")
    assert all(not set(a) & set(b) for a, b in zip(best, worst, strict=True))
    assert kept("random") == kept("random") and kept("random", 1) != kept("random", 2)


def test_weights_follow_the_seed_and_leave_the_global_state() -> None:
    state = torch.random.get_rng_state()
    first, second = (MultimodalEncoder(TEXT, 16, torch.Generator().manual_seed(9)) for _ in "12")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    other = MultimodalEncoder(TEXT, 16)
    assert not torch.equal(first.embeddings.word_embeddings.weight, other.embeddings.word_embeddings.weight)


def test_the_written_out_probabilities_are_the_kernels() -> None:
    encoder, _, given = made(6)
    layer = encoder.fusion_layers[0]
    text = torch.randn(3, 7, 24, generator=torch.Generator().manual_seed(1))
    p = cross_attention(layer, text, given["video_tokens"])
    v = layer.crossattention.self.value(given["video_tokens"]).unflatten(-1, (3, -1)).transpose(1, 2)
    context = (p @ v).transpose(1, 2).flatten(2)
    expected = layer.crossattention.output(context, text)
    assert torch.allclose(layer.crossattention(text, None, given["video_tokens"])[0], expected, atol=1e-5)


def test_bad_input_is_refused() -> None:
    encoder, _, given = made()
    mask, video = given["attention_mask"], given["video_tokens"]
    text = encoder.encode_text(given["input_ids"], mask)
    with pytest.raises(ConfigError, match="fusion layers 0 to 1"):
        encoder.fuse(text, mask, video, pruning=CrossModalPruning(0.5, (2,)))
    with pytest.raises(ConfigError, match="3 texts and 2 videos"):
        encoder.fuse(text, mask, video[:2])
    with pytest.raises(ConfigError, match="at most max_length = 12"):
        encoder.encode_text(torch.ones(1, 13, dtype=torch.int64), torch.ones(1, 13, dtype=torch.int64))
    with pytest.raises(ConfigError, match="fusion_layer"):
        FusionTextConfig(30, 24, 3, 3, 3)
    with pytest.raises(ConfigError, match="selection"):
        CrossModalPruning(selection="best")  # type: ignore[arg-type]
