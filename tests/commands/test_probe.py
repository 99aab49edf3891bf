"""``svitt probe``: this package's model, and random CLIP and X-CLIP, on real MP4 files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoTokenizer,
    CLIPConfig,
    CLIPModel,
    Siglip2Config,
    Siglip2ImageProcessor,
    Siglip2Model,
    Siglip2Tokenizer,
    SiglipConfig,
    SiglipModel,
    XCLIPConfig,
    XCLIPModel,
)
from transformers.models.smolvlm import processing_smolvlm

from svitt.cli import main
from svitt.commands import probe_record
from svitt.commands.probe_choices import choose
from svitt.commands.search import default_checkpoint
from svitt.data.annotations.retrieval import Choice, RetrievalSet
from svitt.data.worlds.shapes.files import encode_mp4
from svitt.data.worlds.shapes.scene import clip_parameters
from svitt.data.worlds.shapes.world import WorldSpec, render_clip
from svitt.errors import CheckpointError
from svitt.experiments.ch01_frame_shuffle.real_models import probe, restricted
from svitt.integrations.similarity import open_similarity
from svitt.integrations.similarity_contrastive import ClipModel, SiglipFrames, XClipModel
from svitt.integrations.similarity_pixels import to_pixels
from svitt.ledger.check import staleness
from svitt.ledger.tables import judged
from svitt.records.record import read_outcomes, read_record
from tests.integrations.tiny_models import fast_tokenizer, save_generative, spread

SPEC = WorldSpec(78, 0, 0, 24, 0)
TEXT = {
    "vocab_size": 60, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
    "num_attention_heads": 2, "max_position_embeddings": 20,
    "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0,
}  # fmt: skip
VISION = {
    "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "image_size": 16, "patch_size": 8,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("set")
    records = []
    for index in range(24):
        (made / f"{index}.mp4").write_bytes(encode_mp4(render_clip(SPEC, "test", index)[0], SPEC.fps))
        caption = clip_parameters(SPEC, "test", index).scene.caption("mixed")
        records.append({"video": f"{index}.mp4", "caption": caption})
    (made / "test.json").write_text(json.dumps(records))
    return made


def save_other(kind: str, target: Path) -> Path:
    """A random model of another kind in a folder, with a tokenizer of the world's words."""
    if kind in ("qwen2_5_vl", "llava_onevision", "smolvlm"):
        return save_generative(kind, target)
    many = VISION | {
        "num_frames": 4, "mit_hidden_size": 16, "mit_intermediate_size": 16, "mit_num_hidden_layers": 1,
        "mit_num_attention_heads": 2,
    }  # fmt: skip
    prompts = {"prompt_layers": 1, "prompt_num_attention_heads": 2}
    text = TEXT | {"projection_size": 16}
    models = {
        "clip": lambda: CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=16)),
        "xclip": lambda: XCLIPModel(
            XCLIPConfig(text_config=TEXT, vision_config=many, projection_dim=16, **prompts)
        ),
        "siglip": lambda: SiglipModel(SiglipConfig(text_config=text, vision_config=VISION)),
        "siglip2": lambda: Siglip2Model(
            Siglip2Config(text_config=text, vision_config=VISION | {"num_patches": 4})
        ),
    }
    spread(models[kind](), target)
    letters = {letter: 5 + number for number, letter in enumerate("▁abcdefghijklmnopqrstuvwxyz")}
    special = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "<mask>": 4}
    made = Siglip2Tokenizer(special | letters) if kind == "siglip2" else fast_tokenizer(model_max_length=20)
    made.save_pretrained(target)
    return target


def run(folder: Path, model: str, *more: str) -> int:
    files = ["--annotations", str(folder / "test.json"), "--videos", str(folder)]
    return main(["probe", "--model", model, *files, "--draws", "2", *more])


def test_the_books_model_uses_time(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "probe.json"
    assert run(folder, str(default_checkpoint()), "--json", str(out)) == 0
    assert "24 videos" in capsys.readouterr().out
    outcomes = json.loads(out.read_text())["outcomes"]
    ranks = {
        order: np.array(outcomes[f"real/{order}/rank"]) for order in ("none", "reverse", "shuffle", "freeze")
    }
    assert ranks["none"].shape == (1, 24) and ranks["shuffle"].shape == (2, 24)
    assert (ranks["none"] == 1).mean() > 0.6
    assert (ranks["none"] == 1).mean() - (ranks["reverse"] == 1).mean() > 0.2


@pytest.mark.parametrize("kind", ["clip", "xclip", "siglip", "siglip2", "qwen2_5_vl", "llava_onevision"])
def test_models_of_transformers(kind: str, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "probe.json"
    assert run(folder, str(save_other(kind, tmp_path / kind)), "--frames", "4", "--json", str(out)) == 0
    outcomes = json.loads(out.read_text())["outcomes"]
    assert np.array(outcomes["real/shuffle/rank"]).shape == (2, 24)
    if kind in ("clip", "siglip", "siglip2"):  # averaged frames have no order
        assert outcomes["real/reverse/rank"] == outcomes["real/none/rank"]
    else:
        assert outcomes["real/reverse/rank"] != outcomes["real/none/rank"]


def test_similarity_of_clip_is_the_mean_of_frames(tmp_path: Path) -> None:
    adapter = open_similarity(str(save_other("clip", tmp_path)), lambda saved: None, 2)  # type: ignore[arg-type, return-value]
    assert isinstance(adapter, ClipModel) and adapter.image_size == 16 and adapter.num_frames == 2
    clips = np.random.default_rng(0).integers(0, 255, (3, 2, 16, 16, 3), dtype=np.uint8)
    found = adapter.similarity(clips, ["a red ring", "a blue bar on sand"])
    assert found.shape == (3, 2) and np.abs(found).max() <= 1
    assert found == pytest.approx(
        adapter.similarity(clips[:, ::-1], ["a red ring", "a blue bar on sand"]), abs=1e-5
    )


@pytest.mark.parametrize("kind", ["siglip", "siglip2"])
def test_similarity_of_siglip_is_the_cosine_of_the_models_own_logits(kind: str, tmp_path: Path) -> None:
    """One frame a clip, so that the model's logits of images and texts are scale x cosine + bias."""
    adapter = open_similarity(str(save_other(kind, tmp_path)), lambda saved: None, 1)  # type: ignore[arg-type, return-value]
    assert isinstance(adapter, SiglipFrames) and adapter.image_size == 16
    clips = np.random.default_rng(0).integers(0, 255, (3, 1, 16, 16, 3), dtype=np.uint8)
    texts = ["A red ring", "a blue bar on sand"]
    pixels = torch.from_numpy(clips[:, 0]).movedim(-1, 1).float() / 127.5 - 1
    given: dict[str, torch.Tensor] = {"pixel_values": pixels}
    if kind == "siglip2":
        processor = Siglip2ImageProcessor(patch_size=8, max_num_patches=4, do_resize=False)
        given = dict(processor(list(clips[:, 0]), return_tensors="pt"))
        for name, value in adapter.inputs(pixels).items():
            assert torch.allclose(value.float(), given[name].float(), atol=1e-6), name
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    ids = [tokenizer(text.lower())["input_ids"] for text in texts]
    ids = torch.tensor([row + [tokenizer.pad_token_id] * (20 - len(row)) for row in ids])
    assert not torch.equal(ids[0], ids[1])
    model = adapter.model
    with torch.no_grad():
        logits = model(input_ids=ids, **given).logits_per_image
        expected = (logits - model.logit_bias) / model.logit_scale.exp()
    assert adapter.similarity(clips, texts) == pytest.approx(expected.numpy(), abs=1e-5)
    assert adapter.similarity(clips, texts[:1]) == pytest.approx(expected.numpy()[:, :1], abs=1e-5)


def test_x_clip_says_how_many_frames_it_takes(tmp_path: Path) -> None:
    adapter = open_similarity(str(save_other("xclip", tmp_path)), lambda saved: None)  # type: ignore[arg-type, return-value]
    assert isinstance(adapter, XClipModel) and adapter.num_frames == 4
    clips = np.random.default_rng(0).integers(0, 255, (2, 4, 16, 16, 3), dtype=np.uint8)
    found, backwards = (adapter.similarity(c, ["a red ring", "sand"]) for c in (clips, clips[:, ::-1]))
    assert found.shape == (2, 2) and np.abs(found - backwards).max() > 1e-4


def test_unreadable_and_missing_videos_are_in_no_denominator(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = tmp_path / "some"
    some.mkdir()
    for index in range(4):
        (some / f"{index}.mp4").write_bytes((folder / f"{index}.mp4").read_bytes())
    (some / "3.mp4").write_text("no video")
    records = json.loads((folder / "test.json").read_text())[:5]
    (some / "test.json").write_text(json.dumps(records))
    assert run(some, str(default_checkpoint())) == 1
    shown = capsys.readouterr()
    assert "3 videos, video to text; 2 could not be read" in shown.out
    assert "4.mp4: no such file" in shown.err and "3.mp4" in shown.err


def test_a_part_of_a_set_keeps_its_own_texts() -> None:
    whole = RetrievalSet(("a", "b"), ("x", "y", "z"), np.array([[1, 0, 1], [0, 1, 1]], bool))
    part = restricted(whole, ["b"])
    assert part.texts == ("y", "z") and part.video_to_text.tolist() == [[True, True]]


def test_anything_with_similarity_can_be_probed() -> None:
    clips = np.zeros((2, 4, 2, 2, 3), np.uint8)
    clips[0, :2], clips[1, 2:] = 255, 255  # bright, then dark; dark, then bright
    data = RetrievalSet(("a", "b"), ("bright first", "dark first"), np.eye(2, dtype=bool))
    ranks = probe(First(), clips, data, draws=3, seed=0)  # type: ignore[arg-type]
    assert ranks["none"].tolist() == [[1, 1]] and ranks["reverse"].tolist() == [[2, 2]]
    assert ranks["freeze"].shape == (3, 2)


class First:
    """Likes a text that says how bright the first frame is."""

    num_frames, image_size = 4, 2

    def similarity(self, clips: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        first = clips[:, 0].mean(axis=(1, 2, 3))
        return np.stack([first if text.startswith("bright") else 255 - first for text in texts], axis=1)


def test_options_that_differ_in_time_alone_are_told_apart_by_a_model_that_sees_it() -> None:
    clips = np.zeros((2, 4, 2, 2, 3), np.uint8)
    clips[0, :2], clips[1, 2:] = 255, 255
    options = ("bright, then dark", "dark, then bright", "dark")
    questions = [Choice("b", options, 1), Choice("a", options, 0), Choice("a", options[:2], 0)]
    ranks = choose(First(), clips, [1, 0, 0], questions, 3, 0)
    assert ranks["none"].tolist() == [[2, 1, 1]]  # "dark" is as good: a tie is wrong
    assert ranks["reverse"].tolist() == [[3, 3, 2]]
    assert ranks["shuffle"].shape == ranks["freeze"].shape == (3, 3)


@pytest.mark.parametrize("kind", ["smolvlm", "clip", ""])
def test_multiple_choice_on_files(
    kind: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(processing_smolvlm, "num2words", str)
    model = save_other(kind, tmp_path / "model") if kind else default_checkpoint()
    records = json.loads((folder / "test.json").read_text())[:6]
    asked = [{**r, "caption": [r["caption"], swapped(r["caption"])], "answer": 0} for r in records]
    questions = tmp_path / "choices.json"
    questions.write_text(json.dumps([*asked, asked[0] | {"video": "none.mp4"}]))
    out = tmp_path / "probe.json"
    arguments = ["probe", "--choices", "--model", str(model), "--annotations", str(questions)]
    arguments += ["--videos", str(folder), "--draws", "2"]
    assert main([*arguments, "--json", str(out)]) == 1
    shown = capsys.readouterr()
    assert "6 questions, options ranked; 1 videos could not be read" in shown.out
    outcomes = json.loads(out.read_text())["outcomes"]
    ranks = {order: np.array(outcomes[f"real/{order}/rank"]) for order in ("none", "reverse", "shuffle")}
    assert ranks["shuffle"].shape == (2, 6) and set(np.unique(ranks["none"])) <= {1, 2}
    if not kind:  # the book's own model knows directions
        assert (ranks["none"] == 1).mean() > (ranks["reverse"] == 1).mean()
    assert main([*arguments, "--record"]) == 2
    assert "leave one out" in capsys.readouterr().err


def swapped(caption: str) -> str:
    """The same caption in the other direction."""
    pairs = {"left": "right", "right": "left", "up": "down", "down": "up"}
    pairs |= {"grows": "shrinks", "shrinks": "grows"}
    return " ".join(pairs.get(word, word) for word in caption.split())


def test_pixels_are_normalised() -> None:
    clips = np.full((1, 2, 8, 4, 3), 255, np.uint8)
    pixels = to_pixels(clips, 4, [0.5] * 3, [0.5] * 3, "cpu")
    assert pixels.shape == (1, 2, 3, 4, 4) and torch.allclose(pixels, torch.ones_like(pixels), atol=1e-5)


def test_bad_models_and_sets(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, str(tmp_path / "none")) == 2
    assert "no model that can be read" in capsys.readouterr().err
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match="'bert'"):
        open_similarity(str(tmp_path / "bert"), lambda saved: None)  # type: ignore[arg-type, return-value]
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "test.json").write_text((folder / "test.json").read_text())
    assert run(empty, str(default_checkpoint())) == 2
    assert "none of the 24 videos" in capsys.readouterr().err


def test_a_recorded_probe_is_judged_as_the_claim_about_real_models(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_record, "require_clean", lambda scale, root: None)
    arguments = ["probe", "--model", str(default_checkpoint()), "--annotations", str(folder / "test.json")]
    arguments += ["--videos", str(folder), "--draws", "2", "--record", "--out", str(tmp_path)]
    assert main(arguments) == 0
    path = tmp_path / "results" / "paper" / "01_frame_shuffle" / "seed0.json"
    assert str(path) in capsys.readouterr().out
    record = read_record(path)
    assert set(record.rule_hashes) == {"shuffle"} and str(folder) not in path.read_text()
    outcomes = read_outcomes(path)
    assert outcomes["real/shuffle/rank"].shape == (2, 24) and outcomes["real/none/rank"].shape == (1, 24)
    assert not staleness([record], tmp_path / "results")
    source = judged("shuffle", "paper", str(tmp_path)).source_setting
    assert source.measurement is not None and source.records == (record,)
    drop = (outcomes["real/shuffle/rank"] <= 1).mean() - (outcomes["real/none/rank"] <= 1).mean()
    interval = source.measurement.parts[0].interval
    assert interval is not None and interval.mean == pytest.approx(drop)
    assert main(arguments) == 2
    assert "recorded already" in capsys.readouterr().err
