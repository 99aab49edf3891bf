"""The whole model: shapes, heads, answers, saving, and the release's names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

from svitt.data.text import build_tokenizer, encode
from svitt.errors import CheckpointError, ConfigError
from svitt.layers.edges import EdgeSparsity
from svitt.layers.token_pruning import NodeSparsity
from svitt.models.checkpoints.bert import from_release, load_bert, load_release, to_release
from svitt.models.checkpoints.io import load_model, save_model
from svitt.models.dual_encoder import DualEncoder, DualEncoderConfig
from svitt.models.heads import matching_score
from svitt.models.svitt import SViTT
from svitt.models.svitt_config import CrossModalPruning, FusionTextConfig, SViTTConfig
from svitt.models.text_encoder import TextConfig
from svitt.models.video_encoder import VideoEncoderConfig

VIDEO = VideoEncoderConfig(
    image_size=16, patch_size=8, num_frames=2, width=16, depth=2, num_heads=2, mlp_ratio=2.0, norm_eps=1e-6,
    edges=EdgeSparsity(1, 1, 2), nodes=NodeSparsity(0.7, (0,)),
)  # fmt: skip
TEXT = FusionTextConfig(20, 24, 3, 1, 3, 2.0, 10)
CONFIG = SViTTConfig(VIDEO, TEXT, embed_dim=8, pruning=CrossModalPruning(0.5, (0,)), answer_layers=1)
IDS = torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]])
MASK = (IDS != 0).long()


def clips(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 2, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def model() -> SViTT:
    return SViTT(CONFIG, seed=3).eval()


def test_shapes_from_clip_to_heads(model: SViTT) -> None:
    features, text = model.encode_video(clips()), model.encode_text(IDS, MASK)
    fused = model.fuse(text, MASK, features.tokens)
    assert features.tokens.shape == (2, 1 + 6, 16) and fused.kept[0].shape == (2, 3)
    assert model.match(fused).shape == (2, 2) and matching_score(model.match(fused)).shape == (2,)
    assert model.predict_words(fused).shape == (2, 4, 20)
    video, words, scale = model(clips(), IDS, MASK)
    assert torch.allclose(video.norm(dim=1), torch.ones(2)) and words.shape == (2, 8)
    assert float(scale.detach()) == pytest.approx(1 / 0.07)


def test_pruning_is_the_configurations_unless_another_is_given(model: SViTT) -> None:
    features, text = model.encode_video(clips()), model.encode_text(IDS, MASK)
    dense = model.fuse(text, MASK, features.tokens, pruning=None)
    assert dense.kept == []
    assert not torch.allclose(dense.states, model.fuse(text, MASK, features.tokens).states)
    fewer = model.fuse(text, MASK, features.tokens, pruning=CrossModalPruning(0.2, (1,)))
    assert fewer.kept[0].shape == (2, 2)
    with pytest.raises(ConfigError, match="CrossModalPruning"):
        model.fuse(text, MASK, features.tokens, pruning="none")


def test_the_temperature_stays_in_its_bounds(model: SViTT) -> None:
    other = SViTT(CONFIG)
    for value, scale in ((1e-6, 1000.0), (3.0, 2.0)):
        other.temperature.data.fill_(value)
        assert float(other.scale.detach()) == pytest.approx(scale)


def test_weights_follow_the_seed_and_leave_the_global_state(model: SViTT) -> None:
    state = torch.random.get_rng_state()
    same, other = SViTT(CONFIG, seed=3), SViTT(CONFIG, seed=4)
    assert torch.equal(torch.random.get_rng_state(), state)
    pairs = list(zip(model.parameters(), same.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    changed = {
        n for (n, a), b in zip(model.named_parameters(), other.parameters(), strict=True) if (a != b).any()
    }
    assert {n for n, p in model.named_parameters() if p.ndim > 1 and "gamma" not in n} <= changed


def test_words_are_predicted_with_the_table_they_are_read_from(model: SViTT) -> None:
    table = model.multimodal_encoder.embeddings.word_embeddings.weight
    assert model.mlm_head.predictions.decoder.weight is table


def test_words_of_any_number() -> None:
    tokenizer = build_tokenizer(["ring"])
    model = SViTT(CONFIG).eval()
    for text in ("", "ring " * 10_000, "unknown"):
        ids, mask = encode(tokenizer, [text], TEXT.max_length)
        embedding = model.text_embedding(ids, mask)
        assert bool(embedding.isfinite().all())
    cut, _ = encode(tokenizer, ["ring " * 10_000], 10)
    assert cut[0].tolist() == [2, *[5] * 8, 3]  # cut, and still ended


# Answers


def answers(*words: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    length = max(len(w) for w in words) + 2
    ids = torch.tensor([[2, *w, 3] + [0] * (length - 2 - len(w)) for w in words])
    return ids, (ids != 0).long()


def test_ranking_all_answers_is_scoring_each(model: SViTT) -> None:
    ids, mask = answers([5], [6, 7], [8, 9, 10], [11])
    states = torch.randn(2, 4, 24, generator=torch.Generator().manual_seed(0))
    decoder = model.answers().requires_grad_(False)
    ranked = decoder.rank(states, MASK, ids, mask)
    for row in range(2):
        scores = [
            float(
                decoder.token_scores(
                    states[row : row + 1], MASK[row : row + 1], ids[i : i + 1], mask[i : i + 1]
                ).sum()
            )
            for i in range(4)
        ]
        best = sorted(range(4), key=lambda i: -scores[i])
        assert ranked.indices[row].tolist() == best
        assert ranked.scores[row].tolist() == pytest.approx([scores[i] for i in best], abs=1e-5)
    first = decoder.rank(states, MASK, ids, mask, k=2)
    assert first.indices.shape == (2, 2)


def test_answer_lists_of_any_kind(model: SViTT) -> None:
    states = torch.randn(1, 4, 24, generator=torch.Generator().manual_seed(1))
    one = model.answers().rank(states, MASK[:1], *answers([5]))
    assert one.indices.tolist() == [[0]]
    twice = model.answers().rank(states, MASK[:1], *answers([5], [6], [5]))
    assert (
        twice.scores[0, twice.indices[0].tolist().index(0)]
        == twice.scores[0, twice.indices[0].tolist().index(2)]
    )
    order = twice.indices[0].tolist()
    assert order.index(0) < order.index(2)
    with pytest.raises(ConfigError, match="empty"):
        model.answers().rank(states, MASK[:1], torch.zeros(0, 3, dtype=torch.int64), torch.zeros(0, 3))
    with pytest.raises(ConfigError, match="answer_layers"):
        SViTT(replace(CONFIG, answer_layers=0)).answers()


def test_the_decoder_does_not_look_ahead(model: SViTT) -> None:
    states = torch.randn(1, 4, 24, generator=torch.Generator().manual_seed(2))
    one, mask = answers([5, 6, 7])
    other = one.clone()
    other[0, 3] = 9
    a, b = (model.answers().token_scores(states, MASK[:1], ids, mask) for ids in (one, other))
    assert torch.allclose(a[0, :2], b[0, :2]) and not torch.allclose(a[0, 2:], b[0, 2:])


# Saving


def test_saved_and_loaded_it_is_the_same(model: SViTT, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "m")
    again = SViTT.from_pretrained(tmp_path / "m")
    assert again.config == CONFIG
    assert torch.equal(again.video_embedding(clips()), model.video_embedding(clips()))
    features, text = again.encode_video(clips()), again.encode_text(IDS, MASK)
    words = again.predict_words(again.fuse(text, MASK, features.tokens))
    other = model.predict_words(
        model.fuse(model.encode_text(IDS, MASK), MASK, model.encode_video(clips()).tokens)
    )
    assert torch.equal(words, other)
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["config.json", "model.safetensors"]


def test_a_subclass_is_loaded_as_such(model: SViTT, tmp_path: Path) -> None:
    class Other(SViTT):
        pass

    again = Other.from_pretrained(model.save_pretrained(tmp_path / "m"))
    assert type(again) is Other and torch.equal(again.temperature, model.temperature)


def test_a_dual_encoder_with_its_tokenizer_and_card(tmp_path: Path) -> None:
    config = DualEncoderConfig(replace(VIDEO, pooling="cls"), TextConfig(20, 16, 1, 2), embed_dim=8)
    made = DualEncoder(config, 1).eval()
    save_model(made, tmp_path / "d", build_tokenizer(["ring"]), {"frames": 4})
    saved = load_model(tmp_path / "d")
    assert isinstance(saved.model, DualEncoder) and saved.card == {"frames": 4} and not saved.model.training
    assert torch.equal(saved.model.encode_video(clips()), made.encode_video(clips()))
    assert saved.tokenizer is not None and saved.tokenizer.token_to_id("ring") == 5
    with pytest.raises(CheckpointError, match="'dual_encoder'; known: svitt"):
        SViTT.from_pretrained(tmp_path / "d")
    with pytest.raises(ConfigError, match="Linear"):
        save_model(torch.nn.Linear(1, 1), tmp_path / "x")  # type: ignore[arg-type]


def test_what_is_wrong_with_a_folder_is_said(model: SViTT, tmp_path: Path) -> None:
    folder = model.save_pretrained(tmp_path / "m")
    with pytest.raises(CheckpointError, match="no such file"):
        load_model(tmp_path / "none")
    head: dict[str, Any] = json.loads((folder / "config.json").read_text())
    del head["sha256"]  # as an earlier version saved it
    weights = load_file(folder / "model.safetensors")

    def rejected(match: str) -> None:
        with pytest.raises(CheckpointError, match=match):
            load_model(folder)

    for change, match in (
        ({"model_type": "svit"}, "did you mean 'svitt'"),
        ({"format": 9}, "format 9"),
        ({"config": {}}, "not a configuration"),
        ({"config": {**head["config"], "embed_dims": 3}}, "embed_dim"),
    ):
        (folder / "config.json").write_text(json.dumps(head | change))
        rejected(match)
    wider = {**head["config"], "embed_dim": 9}
    (folder / "config.json").write_text(json.dumps(head | {"config": wider}))
    rejected(r"'video_projection.weight' has shape \(8, 16\), the model \(9, 16\)")
    (folder / "config.json").write_text(json.dumps(head))
    save_file({k: v for k, v in weights.items() if k != "temperature"}, folder / "model.safetensors")
    rejected("no tensor for 'temperature'")
    (folder / "model.safetensors").write_bytes(b"no weights")
    rejected("cannot be read")
    (folder / "config.json").write_text("{")
    rejected("not a readable JSON")


# Other people's names


def test_the_release_names_go_both_ways(model: SViTT, tmp_path: Path) -> None:
    released = to_release(model.state_dict())
    for name in (
        "vision_encoder.encoder.layer.1.attention.attention.key.weight",
        "vision_encoder.encoder.layer.0.attention.attention.relative_position_bias.relative_position_bias_table",
        "vision_encoder.encoder.layer.0.lambda_2",
        "vision_encoder.pooler.layernorm.weight",
        "vision_layernorm.bias",
        "text_encoder.bert.encoder.layer.1.crossattention.self.key.weight",
        "text_encoder.cls.predictions.decoder.weight",
        "vision_proj.weight",
        "itm_head.bias",
        "temp",
    ):
        assert name in released, name
    assert not [name for name in released if name.endswith("key.bias") and "vision" in name]
    back = from_release(released)
    assert back.keys() == model.state_dict().keys()
    assert all(torch.equal(back[name], value) for name, value in model.state_dict().items())
    path = tmp_path / "release.pth"
    torch.save({"model": released}, path)
    other = SViTT(CONFIG, seed=8).eval()
    load_release(other, path)
    assert torch.equal(other.video_embedding(clips()), model.video_embedding(clips()))


def test_what_the_release_does_not_have_is_refused() -> None:
    absolute = SViTT(replace(CONFIG, video=replace(VIDEO, position="absolute")))
    with pytest.raises(CheckpointError, match=r"video_encoder\.pos_embed"):
        to_release(absolute.state_dict())


def bert(folder: Path, **changes: Any) -> BertModel:
    settings = {
        "vocab_size": 20, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3,
        "intermediate_size": 48, "max_position_embeddings": 10,
    }  # fmt: skip
    made = BertModel(BertConfig(**{**settings, **changes}), add_pooling_layer=False).eval()
    made.save_pretrained(folder)
    return made


def test_bert_weights_from_a_folder(tmp_path: Path) -> None:
    source = bert(tmp_path / "bert")
    model = SViTT(replace(CONFIG, text=replace(TEXT, fusion_layer=2)))
    cross = model.multimodal_encoder.fusion_layers[0].crossattention.self.key.weight.clone()
    report = load_bert(model.multimodal_encoder, tmp_path / "bert")
    assert report.fresh and all(".crossattention." in name for name in report.fresh)
    assert torch.equal(model.multimodal_encoder.fusion_layers[0].crossattention.self.key.weight, cross)
    with torch.no_grad():
        states = source(input_ids=IDS, attention_mask=MASK, output_hidden_states=True).hidden_states[2]
        ours = model.encode_text(IDS, MASK)
    assert torch.allclose(ours[MASK.bool()], states[MASK.bool()], atol=1e-5)


def test_missing_or_other_bert_weights_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    encoder = SViTT(CONFIG).multimodal_encoder
    with pytest.raises(CheckpointError, match=r"fetch config\.json, model\.safetensors"):
        load_bert(encoder, tmp_path / "none")
    bert(tmp_path / "shallow", num_hidden_layers=2)
    with pytest.raises(CheckpointError, match=r"encoder\.layer\.2"):
        load_bert(encoder, tmp_path / "shallow")
    bert(tmp_path / "deep", num_hidden_layers=4)
    with pytest.raises(CheckpointError, match="layers"):
        load_bert(encoder, tmp_path / "deep")
    bert(tmp_path / "wide", vocab_size=30)
    with pytest.raises(CheckpointError, match=r"\(30, 24\), the model \(20, 24\)"):
        load_bert(encoder, tmp_path / "wide")
