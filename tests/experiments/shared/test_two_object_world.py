"""Worlds of two objects: captions that fit, wrong ones that do not, fair variants, scores that can be low."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from svitt.data.worlds.shapes.relations import REVERSED_RELATION, relation_caption
from svitt.experiments.shared.edge_patterns import named_patterns
from svitt.experiments.shared.two_object_scores import TwoObjectTexts, embed, score
from svitt.experiments.shared.two_object_world import (
    TwoObjectData,
    TwoObjectSettings,
    captioned,
    relations,
    trained_two_object_model,
    two_object_data,
    video_config,
    with_pattern,
    wrong_verbs,
)
from svitt.models.masked_attention import masked_parameters
from svitt.records.workspace import Workspace

TINY = TwoObjectSettings(40, 20, 20, 3, batch_size=8, warmup_steps=1)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace.open(str(tmp_path_factory.mktemp("workspace")))


@pytest.fixture(scope="module")
def data(workspace: Workspace) -> TwoObjectData:
    return two_object_data(TINY, 0, workspace)


def test_wrong_captions_are_never_right(data: TwoObjectData) -> None:
    rng = np.random.default_rng(0)
    for record in data.two.world.split("train"):
        for _ in range(5):
            assert record.caption("mixed") not in wrong_verbs(record.scene, rng)
    for record in data.one.world.split("train"):
        assert record.caption("mixed") not in wrong_verbs(record.scene, rng)


def test_every_second_clear_relation_is_told_with_its_opposite_as_wrong(data: TwoObjectData) -> None:
    made = captioned(data.two, "train", 0, True)
    split = data.two.world.split("train")
    told = relations(data.two.world.spec, split)
    seen = 0
    for record, what, caption, wrong in zip(split, told, made.captions, made.wrong, strict=True):
        if what is not None and caption == relation_caption(record.scene, what):
            seen += 1
            opposite = relation_caption(record.scene, REVERSED_RELATION[what])
            assert all(option[0] == opposite for option in wrong)
        else:
            assert caption == record.caption("mixed")
    clear = sum(what is not None for what in told)
    assert 0.2 * clear < seen < 0.8 * clear
    assert set(captioned(data.one, "train", 0, False).captions) == {
        record.caption("mixed") for record in data.one.world.split("train")
    }


def test_variants_start_alike_and_keep_their_edges(data: TwoObjectData, workspace: Workspace) -> None:
    patterns = named_patterns(video_config(TINY).grid, 4, 0)
    dense = trained_two_object_model(TINY, data, 0, "cpu", workspace)
    sparse = trained_two_object_model(TINY, data, 0, "cpu", workspace, patterns["full"])
    masks = masked_parameters(sparse.video_encoder)
    assert len(masks) == TINY.depth and not bool(masks[0].all())
    assert dense.state_dict().keys() == sparse.state_dict().keys()
    differ = [
        bool((a != b).any())
        for a, b in zip(dense.state_dict().values(), sparse.state_dict().values(), strict=True)
    ]
    assert any(differ)
    assert len(list(Path(workspace.runs).glob("two_objects-*"))) == 2
    again = trained_two_object_model(TINY, data, 0, "cpu", workspace, patterns["full"])  # found, not trained
    assert all(torch.equal(a, b) for a, b in zip(sparse.parameters(), again.parameters(), strict=True))


def test_all_edges_change_nothing(data: TwoObjectData, workspace: Workspace) -> None:
    dense = trained_two_object_model(TINY, data, 0, "cpu", workspace)
    same = with_pattern(dense, named_patterns(video_config(TINY).grid, 4, 0)["dense"])
    clips = torch.randn(2, 4, 3, 32, 32)
    assert torch.allclose(dense.encode_video(clips), same.encode_video(clips), atol=1e-6)


def test_scores_are_perfect_for_the_captions_own_embeddings_and_low_for_others(
    data: TwoObjectData, workspace: Workspace
) -> None:
    model = trained_two_object_model(TINY, data, 0, "cpu", workspace)
    texts = TwoObjectTexts(data.two.world.spec, data.two.world.split("test"), 10)
    embedded = embed(model, texts, data.tokenizer, "cpu")
    own = embedded.pool[[embedded.distinct.index(caption) for caption in texts.captions]]
    right = score(own, embedded)
    assert right.rank.tolist() == [1] * len(own)
    assert right.verb.all() and right.flip.all() and right.swap.all()
    wrong = score(-own, embedded)
    assert wrong.rank.min() > 1 and not wrong.flip.any() and not wrong.swap.any()
    assert len(right.relation) == len(texts.told) > 0
    assert {name: array.shape for name, array in right.arrays().items()} == {
        "rank": (20,),
        "verb": (40,),
        "flip": (40,),
        "swap": (len(texts.swappable),),
        "relation": (len(texts.told),),
    }


def test_ties_are_wrong(data: TwoObjectData, workspace: Workspace) -> None:
    model = trained_two_object_model(TINY, data, 0, "cpu", workspace)
    texts = TwoObjectTexts(data.two.world.spec, data.two.world.split("test"), 10)
    nothing = score(np.zeros((20, 64), np.float32), embed(model, texts, data.tokenizer, "cpu"))
    assert nothing.rank.min() == 10
    for choices in (nothing.verb, nothing.flip, nothing.swap, nothing.relation):
        assert not choices.any()
