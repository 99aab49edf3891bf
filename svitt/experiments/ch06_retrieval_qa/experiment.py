"""Chapter 6: the whole SViTT. Claims ``crossmodal-selection`` and ``sparse-equals-dense``.

Raw outcomes of a seed; the variants are ``dense``, ``edges``, ``nodes`` and ``sparse`` (edges and nodes):

- ``<variant>/rank``, ``/verb``, ``/flip``, ``/swap``, ``/relation``: the dual encoders on the test clips, in
  pools (``two_object_scores``); ``<variant>/curve/...``, ``/train_flops``, ``/last_gain`` (``dual``);
  ``<variant>/heldout/rank`` and ``/finetuned/rank`` on combinations never seen in training.
- ``<variant>/answer_correct`` (Q,) for dense, sparse, ``text_only`` and ``single_frame``; ``question_kind``
  (Q,), a number in ``KINDS``.
- ``<variant>/first/rank``, ``/unpruned/rank`` and ``/<selection>_<keep rate>/rank`` for dense and sparse:
  retrieval in larger pools, text to video, before and after the second look. ``unpruned/rank`` and
  ``guided/rank``, which the claim names, are those of the dense encoder at the released keep rate.
- ``shown/...``: for the first test clips what the page draws (``retrieval_shown``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from svitt.config import to_dict
from svitt.data.worlds.shapes.questions import KINDS, TEMPORAL
from svitt.experiments.base import Measurement
from svitt.experiments.ch06_retrieval_qa.dual import (
    Bench,
    along_training,
    bench_of,
    fine_tuned,
    held_out,
    part_of,
)
from svitt.experiments.ch06_retrieval_qa.fusion_models import FusionBatches, MatchingTexts, trained_fusion
from svitt.experiments.ch06_retrieval_qa.fusion_scores import Pool, answered, second_look
from svitt.experiments.ch06_retrieval_qa.fusion_tokens import (
    Asked,
    Shown,
    asked,
    frames_shown,
    fusion_tokenizer,
    single_objects,
    tokens,
    views,
)
from svitt.experiments.ch06_retrieval_qa.page_shown import shown_captions, shown_clips
from svitt.experiments.ch06_retrieval_qa.settings import SCALES, Settings
from svitt.experiments.ch06_retrieval_qa.training import VARIANTS, TrainedVariant, trained_variant
from svitt.experiments.shared.result_collector import Found
from svitt.experiments.shared.tiny_models import embed_clips, embed_texts
from svitt.experiments.shared.two_object_world import TwoObjectData, captioned, two_object_data
from svitt.models.dual_encoder import DualEncoder
from svitt.models.svitt import SViTT
from svitt.records.workspace import Workspace

__all__ = ["CHAPTER", "SCALES", "TIMED", "Settings", "measure"]

CHAPTER = "06_retrieval_qa"
TIMED: tuple[str, ...] = ()
# The variant that is sparse in both ways is the one the claims call sparse.
NAMES: Mapping[str, str] = {variant: "sparse" if variant == "both" else variant for variant in VARIANTS}
FUSED = ("dense", "both")
SELECTIONS = ("text_cls", "text_mean", "random", "lowest")
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Seed:
    """What a seed's measurements share."""

    settings: Settings
    seed: int
    device: str
    workspace: Workspace
    data: TwoObjectData
    train: Asked
    test: Asked


def measure(settings: Settings, seed: int, device: str, workspace: Workspace) -> Measurement:
    """Trains the four dual encoders, and two fusion models with two blind ones beside them."""
    data = two_object_data(settings.model, seed, workspace)
    single = single_objects(settings.model, seed, workspace)
    train, test = asked(data.two, data.one, "train", seed), asked(data.two, single, "test", seed)
    s = Seed(settings, seed, device, workspace, data, train, test)
    found = Found()
    variants = _dual_encoders(s, found)
    kinds = [KINDS.index(question.kind) for question in test.questions]
    found.outcomes["question_kind"] = np.array(kinds, dtype=np.int8)
    models: dict[str, tuple[SViTT, torch.Tensor]] = {}
    for variant in FUSED:
        models[variant] = _fusion(s, variants[variant], variant, "clip")
        name = NAMES[variant]
        found.keep_all(name, _answers(s, *models[variant]))
        _two_looks(s, name, variants[variant].model, *models[variant], found)
    for what in ("unpruned", "guided"):
        found.keep(f"{what}/rank", found.outcomes[f"dense/{what}/rank"])
    for name, shown in {"text_only": None, "single_frame": "single_frame"}.items():
        model, seen = _fusion(s, variants["dense"], name, shown)  # type: ignore[arg-type]
        found.keep(f"{name}/answer_correct", answered(model, seen, test, fusion_tokenizer()))
    for name in ("dense", "sparse", "text_only", "single_frame"):
        _by_kind(name, found)
    found.outcomes |= shown_clips(models["both"][0], variants["both"].model, s.test, data.two, settings.shown,
                                  settings.pruning("text_cls", settings.keep_rate), seed)  # fmt: skip
    for i, caption in enumerate(shown_captions(data.two, settings.shown)):
        found.values[f"shown/{i}/caption"] = caption
    found.values["test_clips"] = len(data.two.world.split("test"))
    found.values["questions"] = len(test.questions)
    return Measurement(found.values, found.outcomes)


def _dual_encoders(s: Seed, found: Found) -> dict[str, TrainedVariant]:
    """Trains and scores the four variants."""
    m, token = s.settings.model, s.data.tokenizer
    validation, test = (
        bench_of(s.data.two, split, s.settings.pool_size, m.num_frames, s.seed, token, s.device)
        for split in ("validation", "test")
    )
    held = held_out(m, s.settings.tune, s.seed, s.workspace)
    every = bench_of(held, "heldout", s.settings.pool_size, m.num_frames, s.seed, token, s.device)
    unseen: Bench = part_of(every, s.settings.tune.num_tune, len(every.clips))
    variants = {}
    for variant, name in NAMES.items():
        made = trained_variant(variant, m, s.settings.sparse, s.data, s.seed, s.device, s.workspace)
        variants[variant] = made
        found.keep_all(name, test.arrays(made.model))
        for kind, array in along_training(made, validation, test).items():
            found.keep(f"{name}/{kind}", array, summary=not kind.startswith("curve/"))
        found.keep(f"{name}/heldout/rank", unseen.arrays(made.model)["rank"])
        tuned = fine_tuned(made, held, s.settings.tune, token, s.seed, s.device, s.workspace)
        found.keep(f"{name}/finetuned/rank", unseen.arrays(tuned)["rank"])
    return variants


def _fusion(s: Seed, variant: TrainedVariant, name: str, shown: Shown | None) -> tuple[SViTT, torch.Tensor]:
    """A fusion model over a variant's tokens, and the tokens (N, 1+K, D) of the test clips. shown: None is
    blind: one token of zeros a clip."""
    dual, f, width = variant.model, s.settings.fusion, s.settings.model.width
    rng = np.random.default_rng([s.seed, 2])
    if shown is None:
        train, test = torch.zeros(1, len(s.train.clips), 1, width), torch.zeros(len(s.test.clips), 1, width)
    else:
        train = views(dual, s.train.clips, f.views, s.seed, s.device, shown)
        frames = frames_shown(s.test.clips, dual.config.video.num_frames, rng, shown)
        test = tokens(dual, frames, s.device)
    matching = _matching_texts(s, dual) if shown == "clip" else None
    batches = FusionBatches(
        train, s.train, matching, fusion_tokenizer(), f.batch_size, f.questions, s.seed, s.device
    )
    encoder = {"folder": variant.folder.name, "settings": to_dict(s.settings.model)}
    return trained_fusion(
        name, dual, s.data.tokenizer, batches, f, encoder, shown or "clip", s.workspace
    ), test


def _matching_texts(s: Seed, dual: DualEncoder) -> MatchingTexts:
    """Captions and wrong captions of the clips of two objects, with what the first look makes of them."""
    told = captioned(s.data.two, "train", s.seed, True)
    rng = np.random.default_rng([s.seed, 9])
    shown = frames_shown(told.clips, dual.config.video.num_frames, rng, "clip")
    return MatchingTexts(
        told.captions,
        told.wrong,
        embed_clips(dual, shown, s.device),
        embed_texts(dual, told.captions, s.data.tokenizer, s.device),
        float(dual.scale),
    )


def _answers(s: Seed, model: SViTT, seen: torch.Tensor) -> Arrays:
    """Answers to the test questions, with all tokens and with those that the question keeps."""
    token = fusion_tokenizer()
    keep = s.settings.answer_keep_rate
    return {
        "answer_correct": answered(model, seen, s.test, token),
        "guided_answer_correct": answered(model, seen, s.test, token, s.settings.pruning("text_cls", keep)),
    }


def _two_looks(s: Seed, name: str, dual: DualEncoder, model: SViTT, seen: torch.Tensor, found: Found) -> None:
    """Retrieval among the test clips of two objects."""
    captions = np.array([record.caption("mixed") for record in s.data.two.world.split("test")])
    count = len(captions)  # they come first among the clips that are asked about
    frames = frames_shown(
        s.test.clips, dual.config.video.num_frames, np.random.default_rng([s.seed, 2]), "clip"
    )[:count]
    video = embed_clips(dual, frames, s.device)
    pools = []
    for start in range(0, count, s.settings.look_pool):
        part = slice(start, min(start + s.settings.look_pool, count))
        distinct = sorted(set(captions[part].tolist()))
        texts = embed_texts(dual, distinct, s.data.tokenizer, s.device)
        pools.append(Pool(captions[part], video[part], texts, seen[part]))
    first = np.concatenate([pool.first_ranks() for pool in pools])
    found.keep(f"{name}/first/rank", first.astype(np.int16))
    prunings = {
        f"{selection}_{rate:g}": s.settings.pruning(selection, rate)
        for rate in s.settings.keep_rates
        for selection in SELECTIONS
    }
    prunings |= {"guided": s.settings.pruning("text_cls", s.settings.keep_rate)}
    tried = [None, *prunings.values()]
    ranked = [second_look(model, pool, fusion_tokenizer(), s.settings.k, tried) for pool in pools]
    for what, ranks in zip(["unpruned", *prunings], zip(*ranked, strict=True), strict=True):
        found.keep(f"{name}/{what}/rank", np.concatenate(ranks).astype(np.int16))


def _by_kind(name: str, found: Found) -> None:
    """Accuracy by kind of question, and of those that need time."""
    right, kinds = found.outcomes[f"{name}/answer_correct"], found.outcomes["question_kind"]
    for number, kind in enumerate(KINDS):
        found.values[f"{name}/{kind}"] = float(right[kinds == number].mean())
    temporal = np.isin(kinds, [KINDS.index(kind) for kind in TEMPORAL])
    found.values[f"{name}/temporal"] = float(right[temporal].mean())
