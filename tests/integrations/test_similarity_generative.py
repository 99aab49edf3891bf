"""Likelihoods of captions by generative models of transformers, against the model called directly."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers.models.smolvlm import processing_smolvlm

from svitt.errors import CheckpointError, ConfigError
from svitt.integrations.similarity import open_similarity
from svitt.integrations.similarity_generative import GENERATIVE, GenerativeModel
from tests.integrations.tiny_models import KINDS, TEMPLATE, save_generative

TEXTS = ("a red ring", "a small blue bar moves left on sand", "sand")
CLIPS = np.random.default_rng(0).integers(0, 255, (2, 4, 16, 16, 3), dtype=np.uint8)


def opened(folder: Path) -> GenerativeModel:
    made = open_similarity(str(folder), lambda saved: None, 4)  # type: ignore[arg-type, return-value]
    assert isinstance(made, GenerativeModel)
    return made


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Of every kind. SmolVLM's processor wants a package that spells numbers out: here they are digits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processing_smolvlm, "num2words", str)
        yield opened(save_generative(request.param, tmp_path_factory.mktemp(request.param)))


@torch.no_grad()
def directly(model: GenerativeModel, clip: np.ndarray, text: str) -> float:
    """Prompt, caption and end in one pass without a cache; log-probabilities of caption and end, summed."""
    given = model.inputs(clip)
    prompt = given["input_ids"]
    told = model.processor.tokenizer(text, add_special_tokens=False).input_ids
    told = torch.tensor([[*told, model.processor.tokenizer.eos_token_id]])
    given["input_ids"] = torch.cat([prompt, told], dim=1)
    given["attention_mask"] = torch.ones_like(given["input_ids"])
    if "mm_token_type_ids" in given:
        kinds = given["mm_token_type_ids"]
        given["mm_token_type_ids"] = torch.cat([kinds, torch.zeros_like(told)], dim=1)
    logits = model.model(**given).logits[0, prompt.shape[1] - 1 : -1]
    return float(logits.log_softmax(dim=-1).gather(1, told[0][:, None]).sum())


def test_all_supported_types_are_tested() -> None:
    assert set(KINDS) == set(GENERATIVE)


def test_a_likelihood_is_that_of_the_model_called_directly(model: GenerativeModel) -> None:
    found = model.similarity(CLIPS, TEXTS)
    assert found.shape == (2, 3) and found.dtype == np.float32
    for row, clip in enumerate(CLIPS):
        for column, text in enumerate(TEXTS):
            assert found[row, column] == pytest.approx(directly(model, clip, text), abs=1e-3, rel=1e-5)
    assert np.abs(found[0] - found[1]).max() > 0.01  # the clip matters


def test_other_captions_of_a_batch_change_nothing(model: GenerativeModel) -> None:
    together = model.similarity(CLIPS[:1], TEXTS)
    for column, text in enumerate(TEXTS):
        assert model.similarity(CLIPS[:1], [text])[0, 0] == pytest.approx(together[0, column], abs=1e-4)
    small = GenerativeModel(model.model, model.processor, 4, batch=1)
    assert small.similarity(CLIPS[:1], TEXTS) == pytest.approx(together, abs=1e-4)


def test_frames_are_read_in_the_order_in_which_they_are_shown(model: GenerativeModel) -> None:
    forward, backward = (model.inputs(clip) for clip in (CLIPS[0], CLIPS[0, ::-1]))
    name = next(name for name in forward if name.startswith("pixel_values"))
    assert forward[name].shape == backward[name].shape and not torch.equal(forward[name], backward[name])
    if forward[name].dim() > 2:  # frames apart, not patches of all: the same frames, turned round
        frames = -4  # (..., T, 3, H, W)
        assert torch.allclose(forward[name].flip(frames), backward[name])
    assert torch.equal(forward["input_ids"], backward["input_ids"])
    scores = [model.similarity(clips, TEXTS) for clips in (CLIPS[:1], CLIPS[:1, ::-1])]
    assert np.abs(scores[0] - scores[1]).max() > 1e-3


def test_a_clip_read_before_another_one_is_scored_with_its_own_positions(model: GenerativeModel) -> None:
    captions = [model.caption_tokens(TEXTS[0])]
    with torch.no_grad():
        first = model.read(CLIPS[0])
        alone = model.likelihoods(first, captions)
        model.read(CLIPS[0, :2])
        assert torch.equal(model.likelihoods(first, captions), alone)


def test_captions_begin_where_the_answer_begins(model: GenerativeModel) -> None:
    tokenizer = model.processor.tokenizer
    expected = [*tokenizer("a red ring", add_special_tokens=False).input_ids, tokenizer.eos_token_id]
    assert model.caption_tokens("a red ring") == expected
    assert model.question.split()[0] in model.prompt and model.image_size in (16, 336)
    with pytest.raises(ConfigError, match="batch = 0"):
        GenerativeModel(model.model, model.processor, batch=0)


def test_a_model_saved_in_half_precision_is_used_in_it(model: GenerativeModel, tmp_path: Path) -> None:
    half = copy.deepcopy(model.model).to(torch.bfloat16)
    half.save_pretrained(tmp_path)
    model.processor.save_pretrained(tmp_path)
    made = opened(tmp_path)
    assert made.model.dtype == torch.bfloat16
    assert made.similarity(CLIPS, TEXTS) == pytest.approx(model.similarity(CLIPS, TEXTS), rel=0.02)


def test_models_that_cannot_be_probed_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mllama"}')
    with pytest.raises(CheckpointError, match=r"'mllama'; supported: svitt, .*siglip2.*qwen2_5_vl.*smolvlm"):
        opened(tmp_path)
    made = save_generative("llava_onevision", tmp_path / "made")
    template = made / "chat_template.jinja"
    assert template.read_text() == TEMPLATE
    template.write_text(TEMPLATE.replace("<video>", ""))
    with pytest.raises(CheckpointError, match="puts no '<video>'"):
        opened(made).similarity(CLIPS, TEXTS)
    template.unlink()
    with pytest.raises(CheckpointError, match="has no chat_template"):
        opened(made)
    monkeypatch.setattr(processing_smolvlm, "num2words", str)
    small = save_generative("smolvlm", tmp_path / "small")
    monkeypatch.setattr(processing_smolvlm, "num2words", None)
    with pytest.raises(CheckpointError, match="pip install num2words"):
        opened(small)
    (small / "processor_config.json").unlink()
    with pytest.raises(CheckpointError, match="no model that can be read"):
        opened(small)
