"""Chapter 6's experiment at the size of seconds."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from svitt.data.text import encode
from svitt.data.worlds.shapes.questions import KINDS, answers
from svitt.evaluation.metrics import best_rank
from svitt.experiments import base
from svitt.experiments.ch06_retrieval_qa import experiment as retrieval_qa
from svitt.experiments.ch06_retrieval_qa import page as report
from svitt.experiments.ch06_retrieval_qa import page_clips as pages
from svitt.experiments.ch06_retrieval_qa.dual import TuneSettings, held_out_spec
from svitt.experiments.ch06_retrieval_qa.experiment import NAMES, SCALES
from svitt.experiments.ch06_retrieval_qa.fusion_models import (
    FusionBatches,
    FusionSettings,
    MatchingTexts,
    around,
    encoded_answers,
    fusion_loss,
)
from svitt.experiments.ch06_retrieval_qa.fusion_scores import Pool, answered, second_look
from svitt.experiments.ch06_retrieval_qa.fusion_tokens import (
    asked,
    frames_shown,
    fusion_tokenizer,
    single_objects,
    tokens,
)
from svitt.experiments.ch06_retrieval_qa.settings import Settings
from svitt.experiments.ch06_retrieval_qa.training import (
    VARIANTS,
    SparseSettings,
    TrainedVariant,
    trained_variant,
    training_flops,
)
from svitt.experiments.shared.two_object_world import (
    TwoObjectData,
    TwoObjectSettings,
    captioned,
    two_object_data,
)
from svitt.records.workspace import Workspace
from tests.experiments.tiny import assert_rules_read, measured

MODEL = TwoObjectSettings(40, 20, 20, 4, batch_size=8, warmup_steps=1)
TINY = Settings(
    (0,),
    MODEL,
    fusion=FusionSettings(steps=3, batch_size=4, questions=2, views=1, warmup_steps=1),
    tune=TuneSettings(16, 8, 2, 8, warmup_steps=1),
    pool_size=10,
    look_pool=10,
    k=3,
    keep_rates=(0.5, 0.1),
    shown=2,
)


@pytest.fixture(scope="module")
def run(out_dir: str) -> base.Recorded:
    return measured(retrieval_qa, TINY, out_dir)


@pytest.fixture(scope="module")
def data(out_dir: str) -> TwoObjectData:
    return two_object_data(MODEL, 0, Workspace.open(out_dir))


@pytest.fixture(scope="module")
def dense(out_dir: str, data: TwoObjectData) -> TrainedVariant:
    return trained_variant("dense", MODEL, TINY.sparse, data, 0, "cpu", Workspace.open(out_dir))


def test_the_rules_read_what_is_recorded(run: base.Recorded, out_dir: str) -> None:
    assert_rules_read(run, out_dir, "crossmodal-selection", "sparse-equals-dense")


def test_every_variant_is_measured_alike(run: base.Recorded) -> None:
    o = run.outcomes
    for variant in NAMES.values():
        assert o[f"{variant}/rank"].shape == (20,) and o[f"{variant}/heldout/rank"].shape == (8,)
        assert o[f"{variant}/curve/rank"].shape == (len(o[f"{variant}/curve/steps"]), 20)
        assert (
            o[f"{variant}/curve/steps"][-1] == 4
            and (o[f"{variant}/curve/rank"][-1] == o[f"{variant}/rank"]).all()
        )
    for name in ("dense", "sparse", "text_only", "single_frame"):
        assert o[f"{name}/answer_correct"].shape == o["question_kind"].shape
    assert (o["guided/rank"] == o["dense/text_cls_0.1/rank"]).all()
    assert (o["unpruned/rank"] == o["dense/unpruned/rank"]).all()


def test_sparse_training_costs_less(run: base.Recorded) -> None:
    flops = {variant: float(run.outcomes[f"{variant}/train_flops"]) for variant in NAMES.values()}
    assert flops["sparse"] < min(flops["edges"], flops["nodes"]) < flops["dense"]


def test_weights_on_the_way(dense: TrainedVariant) -> None:
    assert dense.steps() == [1, 2, 3, 4]
    weights = [dense.after(step).state_dict()["video_projection.weight"] for step in dense.steps()]
    assert all(not torch.equal(a, b) for a, b in pairwise(weights))
    with pytest.raises(FileNotFoundError):
        dense.after(7)


def test_variants_differ_in_nothing_but_what_is_sparse() -> None:
    for variant, (edges, nodes) in VARIANTS.items():
        changes = SparseSettings().of(variant, 3)
        assert ("edges" in changes) == edges and ("nodes" in changes) == nodes


def test_flops_grow_with_the_steps(dense: TrainedVariant) -> None:
    assert training_flops(dense.model, MODEL, 6) == 3 * training_flops(dense.model, MODEL, 2) > 0


def test_held_out_clips_are_of_the_held_out_split_alone() -> None:
    spec = held_out_spec(MODEL, TINY.tune, 0)
    assert (spec.num_train, spec.num_validation, spec.num_test, spec.num_heldout) == (0, 0, 0, 24)


def test_questions_belong_to_their_clips(out_dir: str, data: TwoObjectData) -> None:
    single = single_objects(MODEL, 0, Workspace.open(out_dir))
    found = asked(data.two, single, "test", 0)
    records = data.two.world.split("test")
    for question, clip in zip(found.questions, found.clip, strict=True):
        if clip < len(records):
            assert any(mover.colour in question.text for mover in records[int(clip)].scene.movers) or (
                question.answer == "two"
            )
        elif question.kind == "how many":
            assert question.answer == "one"
        else:
            assert question.kind == "what came first" and clip >= len(records) + 10
    counts = [len(found.of_kind(kind)) for kind in KINDS]
    assert counts[0] == counts[1] == 20 and counts[3] == 20 and counts[4] > 0


def test_a_single_frame_is_one_of_the_clip(data: TwoObjectData) -> None:
    clips = data.two.clips("test")[:3]
    shown = frames_shown(clips, 4, np.random.default_rng(0), "single_frame")
    assert shown.shape == (3, 4, 32, 32, 3) and (shown == shown[:, :1]).all()
    assert all((clips[i] == shown[i, 0]).all(axis=(1, 2, 3)).any() for i in range(3))


@pytest.fixture(scope="module")
def batches(data: TwoObjectData, dense: TrainedVariant) -> FusionBatches:
    told = captioned(data.two, "train", 0, True)
    found = asked(data.two, data.one, "train", 0)
    frames = frames_shown(found.clips, 4, np.random.default_rng(0), "clip")
    seen = tokens(dense.model, frames, "cpu")[None]
    draw = np.random.default_rng(1)
    video, text = (draw.normal(size=(40, 8)).astype(np.float32) for _ in range(2))
    matching = MatchingTexts(told.captions, told.wrong, video, text, 1.0)
    return FusionBatches(seen, found, matching, fusion_tokenizer(), 8, 3, 0)


def test_a_batch_is_a_function_of_the_step(batches: FusionBatches) -> None:
    one, again, other = batches(5), batches(5), batches(6)
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert not torch.equal(one["tokens"][:8], other["tokens"][:8])
    right, wrong, questions = one["counts"].tolist()
    assert right == 8 and 2 * right <= wrong <= 3 * right and questions == 3 * len(KINDS)
    assert len(one["ids"]) == right + wrong + questions == len(one["tokens"])


def test_wrong_pairs_are_wrong(batches: FusionBatches) -> None:
    matching = batches.matching
    assert matching is not None
    for step in range(5):
        right, wrong = batches._pairs(matching, np.random.default_rng(step), step)
        assert all(matching.captions[clip] == text for text, clip in right)
        assert all(matching.captions[clip] != text for text, clip in wrong)


def test_the_model_begins_with_what_the_encoders_learnt(data: TwoObjectData, dense: TrainedVariant) -> None:
    settings = FusionSettings(text_layers=2)
    model = around(dense.model, data.tokenizer, settings, fusion_tokenizer(), 0)
    texts = ["a red ring moves left and a blue bar grows on sand", "a white pole shrinks on grass"]
    ids, mask = encode(fusion_tokenizer(), texts, 16)
    old_ids, old_mask = encode(data.tokenizer, texts, 16)
    with torch.no_grad():
        states = model.encode_text(ids, mask)
        learnt = dense.model.text_encoder(old_ids, old_mask)
    assert torch.allclose(states * mask[..., None], learnt * mask[..., None], atol=1e-5)
    assert not any(p.requires_grad for p in model.video_encoder.parameters())
    with pytest.raises(Exception, match="text_layers"):
        around(dense.model, data.tokenizer, FusionSettings(text_layers=3), fusion_tokenizer(), 0)


def test_training_fits_a_few_pairs_and_answers(
    data: TwoObjectData, dense: TrainedVariant, batches: FusionBatches
) -> None:
    model = around(dense.model, data.tokenizer, FusionSettings(), fusion_tokenizer(), 0)
    batch = batches(0)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    losses = []
    for _ in range(60):
        loss = fusion_loss(model, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.4 * losses[0]
    frozen = dense.model.video_encoder.state_dict()
    assert all(torch.equal(v, frozen[k]) for k, v in model.video_encoder.state_dict().items())


def test_answers_are_those_of_the_whole_list(
    data: TwoObjectData, dense: TrainedVariant, batches: FusionBatches
) -> None:
    """Against scoring every answer of the list whole, one question at a time."""
    token = fusion_tokenizer()
    model = around(dense.model, data.tokenizer, FusionSettings(), token, 0).eval()
    part = replace(batches.asked, questions=batches.asked.questions[:12], clip=batches.asked.clip[:12])
    found = answered(model, batches.tokens[0], part, token, batch_size=5)
    ids, mask = encoded_answers(token)
    for i, question in enumerate(part.questions):
        q_ids, q_mask = encode(token, [question.text], 16)
        with torch.no_grad():
            text = model.encode_text(q_ids, q_mask)
            video = batches.tokens[0][int(part.clip[i])][None].float()
            states = model.fuse(text, q_mask, video).states.expand(len(ids), -1, -1)
            scores = model.answers().token_scores(states, q_mask.expand(len(ids), -1), ids, mask).sum(1)
        best = answers()[int(scores.argmax())]
        first = ids[:, 1]
        # The eight likeliest first words are scored whole; the best answer has one of them here.
        assert len(first) == len(answers())
        assert found[i] == (best == question.answer)


def test_the_second_look_orders_by_the_matching_head(data: TwoObjectData, dense: TrainedVariant) -> None:
    token = fusion_tokenizer()
    model = around(dense.model, data.tokenizer, FusionSettings(), token, 0).eval()
    captions = np.array([record.caption("mixed") for record in data.two.world.split("test")[:6]])
    draw = np.random.default_rng(2)
    distinct = sorted(set(captions.tolist()))
    video, text = draw.normal(size=(6, 4)), draw.normal(size=(len(distinct), 4))
    seen = tokens(dense.model, frames_shown(data.two.clips("test")[:6], 4, draw, "clip"), "cpu")
    pool = Pool(captions, video, text, seen)
    (ranks,) = second_look(model, pool, token, 6, [None])
    ids, mask = encode(token, distinct, 16)
    scores = np.zeros((6, len(distinct)))
    for t in range(len(distinct)):
        with torch.no_grad():
            states = model.encode_text(ids[t : t + 1], mask[t : t + 1]).expand(6, -1, -1)
            fused = model.fuse(states, mask[t : t + 1].expand(6, -1), seen.float())
            scores[:, t] = model.match(fused)[:, 1].numpy()
    assert (ranks == best_rank(scores.T, pool.correct.T)).all()
    guided, random = second_look(
        model, pool, token, 6, [TINY.pruning("text_cls", 0.1), TINY.pruning("random", 0.1)]
    )
    assert guided.shape == random.shape == ranks.shape


def test_tables_of_the_chapter(run: base.Recorded) -> None:
    assert list(report.trained_table([run]).index) == list(report.ARMS.values())
    assert report.trained_table([run]).loc["dense", "training FLOPs"] == "1.00"
    assert list(report.against_dense([run, run]).index) == list(report.ARMS.values())[1:]
    assert set(report.curves([run]).trained) == set(report.ARMS.values())
    assert set(report.questions([run]).kind) == set(KINDS) == set(report.chances())
    assert list(report.question_table([run]).index)[-1] == "chance"
    looks = report.looks([run])
    assert set(looks.keep_rate) == {1.0, 0.5, 0.1} and set(looks.selection) == set(report.BY.values())
    assert list(report.guided_minus_random([run]).index) == ["0.5", "0.1"]
    for table in (report.held_out, report.question_gaps, report.guided_answers, report.look_table):
        assert "±" not in str(table([run]).to_numpy()) and len(table([run, run])) > 1


def test_shown_clips_are_the_first_of_the_test_split(run: base.Recorded, data: TwoObjectData) -> None:
    clips = pages.shown(run)
    assert [clip.caption for clip in clips] == [
        record.caption("mixed") for record in data.two.world.split("test")[:2]
    ]
    for clip in clips:
        stages = clip.stages()
        assert [len(stages[name]) for name in stages] == [64, 32, 4]
        assert set(stages["text"].tolist()) <= set(stages["video encoder"].tolist())
        for part, places in clip.places().items():
            weights = clip.looked_at(part)
            assert weights.shape == (64,) and (weights[stages["video encoder"]] > 0).all(), part
            assert weights.sum() < 1 and clip.marked(part).count("<b>") == len(places)
        assert [clip.words[i] for i in clip.places()["background"]] == [clip.caption.split()[-1]]


def test_examples_of_questions() -> None:
    (title, frames, whole), (_, cut, one) = pages.example_questions(0)
    assert frames.shape == cut.shape == (4, 32, 32, 3) and list(whole.kind) == list(KINDS[:-1])
    assert len(one) == 1 and " on " in title
    assert set(whole.answer) | set(one.answer) <= set(answers())


def test_the_gpu_preset_trains_a_step(out_dir: str, data: TwoObjectData) -> None:
    """Its sizes, a step of two clips for the variant that is sparse in both ways."""
    preset = replace(
        SCALES["gpu"].model, num_train=8, num_easy=4, num_test=4, steps=1, easy_share=0.0, batch_size=2,
        warmup_steps=1, mixed_precision="no",
    )  # fmt: skip
    workspace = Workspace.open(out_dir)
    made = two_object_data(preset, 0, workspace)
    variant = trained_variant("both", preset, SCALES["gpu"].sparse, made, 0, "cpu", workspace)
    assert variant.model.config.video.grid == (8, 8, 8) and variant.model.config.video.edges is not None
    seen = tokens(variant.model, made.two.clips("train")[:2, :8], "cpu")
    assert seen.shape[1] < 1 + 512 // 2


def test_every_scale_is_sound() -> None:
    for name, settings in SCALES.items():
        assert max(settings.sparse.prune_layers) < settings.model.depth - 1, name
        assert settings.prune_layer < settings.fusion.fusion_layers - 1, name
        assert settings.keep_rate in settings.keep_rates, name
        assert settings.fusion.text_layers <= settings.model.text_depth, name
        assert settings.model.num_test % settings.pool_size == 0, name
        assert settings.model.num_test % settings.look_pool == 0, name
