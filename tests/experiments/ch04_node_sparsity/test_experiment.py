"""Chapter 4's experiment: its clips, its variants, and that it takes chapter 1's model as it is."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from svitt.data.worlds.shapes.render import render
from svitt.data.worlds.shapes.scene import Body, clip_parameters
from svitt.data.worlds.shapes.world import WorldSpec, render_clip
from svitt.errors import AnnotationError, ConfigError
from svitt.experiments import base
from svitt.experiments.ch01_frame_shuffle import experiment as frame_shuffle
from svitt.experiments.ch04_node_sparsity import experiment as node_sparsity
from svitt.experiments.ch04_node_sparsity import page as report
from svitt.experiments.ch04_node_sparsity.clips import (
    NAMED,
    TWIN,
    cluttered,
    made_clips,
    overlap,
    patch_contrast,
    perfect_scores,
    share_on,
    static_twin,
    token_coverage,
    top_tokens,
    twin_clips,
)
from svitt.experiments.ch04_node_sparsity.experiment import SCALES, SELECTIONS, Settings, variant_name
from svitt.experiments.ch04_node_sparsity.harness import RULE_RATE, encode, pruned, tokens_left
from svitt.experiments.shared.tiny_models import tiny_video_config
from svitt.layers.token_pruning import NodeSparsity
from svitt.models.dual_encoder import DualEncoder, DualEncoderConfig
from svitt.models.text_encoder import TextConfig
from svitt.records.workspace import Workspace
from tests.experiments.tiny import assert_rules_read, measured, with_scale

SHARED = frame_shuffle.Settings((0,), 40, 20, 3, 3, 3, batch_size=8, warmup_steps=1, pool_size=10, draws=2)
TINY = Settings(
    (0,), SHARED, keep_rates=(0.5, 0.2), draws=2, clutter=(2, 5), num_clutter=10, num_twin=4, num_worst=2
)
SPEC = WorldSpec(3, num_test=30)
GRID = (4, 4, 4)


@pytest.fixture(scope="module")
def run(out_dir: str) -> base.Recorded:
    return measured(node_sparsity, TINY, out_dir)


# The clips


def test_coverage_is_the_share_of_a_patch_that_shows_the_label() -> None:
    masks = np.zeros((1, 2, 4, 4), np.uint8)
    masks[0, 1, :2, 2:] = [[1, 1], [1, 3]]  # frame 1, first row, second column: token 5
    masks[0, 0, 3, 0] = 2  # frame 0, second row, first column: token 2
    assert token_coverage(masks, (2, 2, 2), 1)[0].tolist() == [0, 0, 0, 0, 0, 0.75, 0, 0]
    assert token_coverage(masks, (2, 2, 2), 2, 255)[0].tolist() == [0, 0, 0.25, 0, 0, 0.25, 0, 0]


@pytest.mark.parametrize("grid", [(3, 2, 2), (2, 3, 2)])
def test_a_grid_that_does_not_fit_is_named(grid: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigError, match="grid"):
        token_coverage(np.zeros((1, 2, 4, 4), np.uint8), grid, 1)


def test_contrast_is_the_spread_within_a_patch() -> None:
    clips = np.full((1, 1, 4, 4, 3), 100, np.uint8)
    clips[0, 0, :2, :2] += np.array([[0, 20], [20, 0]], np.uint8)[..., None]  # spread 10
    clips[0, 0, 2:, 2:, 0] = [[60, 60], [100, 100]]  # spread 20 in one of three colours
    clips[0, 0, :2, 2:] = 200  # bright, but even
    assert np.allclose(patch_contrast(clips, (1, 2, 2)), [[10, 0, 0, 20 / math.sqrt(3)]])


def test_top_tokens_share_and_overlap() -> None:
    scores = np.array([[0.1, 0.9, 0.5, 0.5]], np.float32)
    assert top_tokens(scores, 2).tolist() == [[1, 2]]
    assert top_tokens(scores, 3).tolist() == [[1, 2, 3]]
    coverage = np.array([[0, 1, 0.5, 0]], np.float32)
    assert share_on(np.array([[1, 2]]), coverage).tolist() == [0.75]
    assert overlap(np.array([[0, 1], [0, 1]]), np.array([[1, 2], [2, 3]])).tolist() == [0.5, 0.0]


def test_the_perfect_choice_takes_every_frame_in_turn() -> None:
    coverage = np.array([[0.2, 0.9, 0, 0.4, 0.8, 0, 0.3, 0]], np.float32)  # two frames of four patches
    order = np.argsort(-perfect_scores(coverage, (2, 2, 2))[0])
    assert order[:5].tolist() == [1, 4, 3, 6, 0]  # best of each frame, second best, third
    assert set(order[5:]) == {2, 5, 7}  # without the object


def test_a_twin_stands_still_apart_and_is_as_large_on_average() -> None:
    numbers, parameters = twin_clips(SPEC, 12)
    assert numbers == sorted(set(numbers)) and len(parameters) == 12
    assert twin_clips(SPEC, 5)[0] == numbers[:5]
    areas = []
    for clip in parameters:
        named, twin = clip.movers
        assert (twin.shape, twin.rgb) == (named.shape, named.rgb)
        assert (twin.dx, twin.dy, twin.log_growth) == (0, 0, 0)
        masks = render(clip, SPEC.num_frames, SPEC.size)[1].masks
        alone = render(dataclasses.replace(clip, movers=(named,)), SPEC.num_frames, SPEC.size)[1].masks
        assert np.array_equal(masks == NAMED, alone == NAMED)  # never hidden by the twin
        area = (masks == TWIN).sum(axis=(1, 2))
        assert area.min() == area.max() > 0  # nor the twin by anything
        areas.append(((masks == NAMED).sum(axis=(1, 2)).mean(), area.mean()))
    named_area, twin_area = np.array(areas).T
    assert np.allclose(twin_area, named_area, rtol=0.15) and math.isclose(
        twin_area.sum(), named_area.sum(), rel_tol=0.05
    )


def test_no_room_for_a_twin_is_said() -> None:
    wall = Body("square", (1, 2, 3), 0.5, 0.5, 0.6)
    assert static_twin(wall, np.random.default_rng(0)) is None
    with pytest.raises(AnnotationError, match="of 30 test clips"):
        twin_clips(SPEC, 31)


def test_clutter_leaves_the_named_object_as_it_is() -> None:
    few, many = cluttered(SPEC, 4, 0), cluttered(SPEC, 4, 7)
    for i, (bare, full) in enumerate(zip(few, many, strict=True)):
        assert bare.movers == full.movers == clip_parameters(SPEC, "test", i).movers
        assert bare.scene == full.scene
        assert (len(bare.distractors), len(full.distractors)) == (0, 7)
    assert cluttered(SPEC, 4, SPEC.clutter) == [clip_parameters(SPEC, "test", i) for i in range(4)]


def test_made_clips_are_decoded_not_drawn() -> None:
    shown = np.array([[0, 5, 9, 15]])
    made = made_clips(cluttered(SPEC, 1, 2), shown, SPEC, 64, "clips")
    drawn, truth = render_clip(SPEC, "test", 0)
    difference = np.abs(made.frames[0].astype(int) - drawn[shown[0]])
    assert 0 < difference.mean() < 12  # H.264 leaves its traces, and the right frames
    assert np.array_equal(made.masks[0], truth.masks[shown[0]])


# The encoder


def tiny_model(seed: int = 0) -> DualEncoder:
    return DualEncoder(DualEncoderConfig(tiny_video_config(4), TextConfig(32)), seed).eval()


CLIPS = np.random.default_rng(1).integers(0, 256, (5, 4, 32, 32, 3), dtype=np.uint8)


def test_tokens_left_multiply() -> None:
    assert tokens_left(64, 0.5, 2) == [32, 16] and tokens_left(64, 0.1, 2) == [7, 1]


def test_pruning_keeps_the_weights_and_all_tokens_at_rate_1() -> None:
    model = tiny_model()
    dense = encode(model, CLIPS, "cpu")
    same = pruned(model, NodeSparsity(1.0, (0, 1), "cls"))
    assert np.allclose(encode(same, CLIPS, "cpu").embeddings, dense.embeddings, atol=1e-6)
    assert dense.kept == []
    less = encode(pruned(model, NodeSparsity(0.5, (0, 1), "cls")), CLIPS, "cpu")
    assert [kept.shape for kept in less.kept] == [(5, 32), (5, 16)]
    assert np.abs(less.embeddings - dense.embeddings).max() > 1e-3
    with torch.no_grad():
        expected = model.encode_video(torch.from_numpy(CLIPS).movedim(-1, -3).float() / 127.5 - 1)
    assert np.allclose(dense.embeddings, expected, atol=1e-6)


def test_random_tokens_follow_the_seed_not_the_batch() -> None:
    model = pruned(tiny_model(), NodeSparsity(0.5, (0, 1), "random"))
    first, again = (encode(model, CLIPS, "cpu", seed=(0, 50, 0)).kept[-1] for _ in range(2))
    other = encode(model, CLIPS, "cpu", seed=(0, 50, 1)).kept[-1]
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert not np.array_equal(first[0], first[1])
    split = encode(model, CLIPS, "cpu", seed=(0, 50, 0), batch_size=2).kept[-1]
    assert not np.array_equal(split[0], split[2])  # batches do not repeat the draw


def test_a_given_selection_keeps_what_its_scores_say() -> None:
    scores = np.random.default_rng(2).random((5, 64)).astype(np.float32)
    model = pruned(tiny_model(), NodeSparsity(0.3, (0, 1), "given"))
    kept = encode(model, CLIPS, "cpu", scores=scores, batch_size=2).kept
    assert np.array_equal(kept[-1], top_tokens(scores, 6))


# The experiment


def test_it_takes_the_model_and_clips_of_chapter_1(
    run: base.Recorded, out_dir: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = Workspace.open(out_dir).runs
    trained = {path.name for path in runs.glob("frame_order_*")}
    assert len(trained) == 1 and next(iter(trained)).startswith("frame_order_mixed-")
    base.ensure(with_scale(frame_shuffle, SHARED), "smoke", 0, "cpu", out_dir)
    assert trained < {path.name for path in runs.glob("frame_order_*")}
    assert len(list(runs.glob("frame_order_mixed-*"))) == 1
    first = base.recorded(with_scale(frame_shuffle, SHARED), "smoke", out_dir)[0].outcomes
    for kind in ("rank", "verb", "flip"):
        assert np.array_equal(run.outcomes[f"dense/{kind}"], first[f"mixed/none/{kind}"]), kind


def test_two_replays_give_identical_outcomes(run: base.Recorded, out_dir: str, tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to(Workspace.open(out_dir).runs)
    (tmp_path / "worlds").symlink_to(Workspace.open(out_dir).worlds)
    tiny = with_scale(node_sparsity, TINY)
    assert base.ensure(tiny, "smoke", 0, "cpu", str(tmp_path))[1]
    again = base.recorded(tiny, "smoke", str(tmp_path))[0].outcomes
    assert again.keys() == run.outcomes.keys()
    for name, array in run.outcomes.items():
        assert np.array_equal(array, again[name]), name
    assert base.ensure(tiny, "smoke", 0, "cpu", str(tmp_path))[1] is False


def test_the_rules_read_what_is_recorded(run: base.Recorded, out_dir: str) -> None:
    assert_rules_read(run, out_dir, "node-inference", "foreground")


def test_selections_keep_different_tokens(run: base.Recorded) -> None:
    for first, second in (("cls", "random"), ("cls", "lowest"), ("random", "oracle"), ("lowest", "oracle")):
        shared = run.outcomes[f"overlap/{first}_{second}"]
        assert shared.shape[-1] == 20 and shared.mean() < 0.6, (first, second)
    assert run.outcomes["overlap/cls_lowest"].max() == 0  # upper and lower half
    assert run.outcomes["random/rank"].shape == (2, 20) and run.outcomes["cls@0.2/rank"].shape == (1, 20)


def test_who_knows_the_object_keeps_it_and_random_tokens_the_clips_share(run: base.Recorded) -> None:
    values = run.record.values
    assert values["oracle/named_share"] > 3 * values["clip/named_share"]
    assert abs(values["random/named_share"] - values["clip/named_share"]) < 0.01
    assert values["cls/named_share"] == pytest.approx(values["kept/named_share"], abs=1e-6)
    assert values["pixel_contrast/named_share"] > 2 * values["clip/named_share"]
    assert 0.02 < values["with_twin/clip/twin_share"] < 0.15


def test_as_much_clutter_as_in_the_world_is_the_world(run: base.Recorded) -> None:
    """Clips made for the purpose go the same way as the world's files: equal outcomes, clip by clip."""
    for kind in ("rank", "verb", "flip"):
        made, own = run.outcomes[f"clutter2/cls/{kind}"], run.outcomes[f"cls/{kind}"][:, :10]
        assert np.array_equal(made, own), kind
    assert "clutter5/random/rank" in run.outcomes and run.outcomes["clutter5/random/rank"].shape == (2, 10)


def test_tables_of_the_chapter(run: base.Recorded) -> None:
    table = report.tidy([run])
    assert len(table) == len(SELECTIONS) * 3 * 4 and table.value.between(0, 1).all()
    dense = table[(table.keep_rate == 1) & (table.measure == "R@1")].value
    assert len(dense) == 4 and dense.nunique() == 1
    assert list(report.summary([run]).index) == [1, 0.5, 0.2]
    assert "±" in report.summary([run, run]).iloc[0, 0]
    assert report.token_table(TINY).loc["0.5"].tolist() == [64, 32, 16, "25.0%"]
    assert report.overlaps([run]).loc[0.5, "cls and lowest"] == "0.0"
    shares = report.shares([run])
    assert len(shares) == 12 and shares.share.between(0, 1).all()
    assert set(report.twins([run]).object) == {"named object (moves)", "twin (stands still)"}
    assert len(report.twin_cost([run])) == 2
    clutter = report.clutter([run])
    assert set(clutter.distractors) == {2, 5} and len(clutter) == 2 * (5 * 3 + 1)


def test_the_explorer_shows_the_first_clips_and_those_that_lose_most(run: base.Recorded) -> None:
    clips = run.outcomes["explorer/clips"]
    assert clips[:3].tolist() == [0, 1, 2] and len(set(clips.tolist())) == 5
    shown = dict(report.shown_tokens(run, ["cls", "lowest"], [0.5, 0.2]))
    labels = report.explorer_labels(run)
    assert list(shown) == [(c, r, s) for c in labels for r in ("0.5", "0.2") for s in ("cls", "lowest")]
    one = shown[labels[0], "0.5", "cls"]
    assert one.frames.shape == (4, 32, 32, 3) and one.patch_size == 8
    after, end = one.kept["after layer 0"], one.kept["after layer 1"]
    assert (len(after), len(end)) == (32, 16) and set(end) < set(after)
    assert not set(end) & set(shown[labels[0], "0.5", "lowest"].kept["after layer 1"])


def test_every_scale_is_sound() -> None:
    for name, settings in SCALES.items():
        assert RULE_RATE in settings.keep_rates, name
        assert settings.num_clutter % settings.model.pool_size == 0, name
        assert settings.num_clutter <= settings.model.num_test >= settings.num_twin, name
        assert max(settings.prune_layers) < settings.model.depth - 1, name  # a layer works on what is left
        assert settings.model is frame_shuffle.SCALES[name]  # so that the trained models are shared
    assert SCALES["cpu"].seeds == (0, 1, 2, 3, 4)
    assert variant_name("cls", RULE_RATE) == "cls" and variant_name("cls", 0.3) == "cls@0.3"


def test_the_gpu_preset_prunes_what_its_model_sees() -> None:
    """Its sizes with random weights: 1024 patches, an eighth of them left at keep rate .5."""
    settings = SCALES["gpu"]
    shared = settings.model
    video = tiny_video_config(
        shared.num_frames, image_size=shared.image_size, width=shared.width, depth=shared.depth,
        num_heads=shared.num_heads, nodes=NodeSparsity(RULE_RATE, settings.prune_layers),
    )  # fmt: skip
    model = DualEncoder(DualEncoderConfig(video, TextConfig(32, shared.width), embed_dim=8)).eval()
    clips = np.zeros((1, 16, 64, 64, 3), np.uint8)
    kept = encode(model, clips, "cpu").kept
    assert [k.shape[1] for k in kept] == [512, 256, 128] == tokens_left(1024, RULE_RATE, 3)
