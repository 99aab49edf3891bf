"""How well a model of two-object clips does: retrieval, and choices about a named object or a relation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from svitt.data.worlds.shapes.grammar import REVERSED_VERB, VERBS
from svitt.data.worlds.shapes.relations import REVERSED_RELATION, relation_caption, swapped_clauses
from svitt.data.worlds.shapes.world import Split, WorldSpec
from svitt.evaluation.metrics import best_rank, choose
from svitt.experiments.shared.tiny_models import embed_texts
from svitt.experiments.shared.two_object_world import relations
from svitt.models.dual_encoder import DualEncoder

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class TwoObjectTexts:
    """The captions that the clips of a split are compared with. pool_size: clips a retrieval pool."""

    spec: WorldSpec
    split: Split
    pool_size: int

    @cached_property
    def captions(self) -> npt.NDArray[np.str_]:
        """(N,): what both objects do."""
        return np.array([record.caption("mixed") for record in self.split])

    @cached_property
    def verbs(self) -> npt.NDArray[np.int64]:
        """(N, 2): the verb of each object, by its number."""
        return np.array([[VERBS.index(m.verb) for m in record.scene.movers[:2]] for record in self.split])

    @cached_property
    def swappable(self) -> npt.NDArray[np.int64]:
        """Clips whose two objects do different things."""
        return np.flatnonzero(self.verbs[:, 0] != self.verbs[:, 1])

    @cached_property
    def told(self) -> list[tuple[int, str]]:
        """(clip, relation) where the relation is clear."""
        found = enumerate(relations(self.spec, self.split))
        return [(clip, what) for clip, what in found if what is not None]


@dataclass(frozen=True)
class TwoObjectOutcome:
    """rank: (N,) of the caption in the clip's pool. verb, flip: (2N,) for both objects, the right verb
    among six and against its reversal. swap: the right caption against the one with swapped clauses.
    relation: the right relation against the other. All but rank are bool."""

    rank: npt.NDArray[np.int64]
    verb: npt.NDArray[np.bool_]
    flip: npt.NDArray[np.bool_]
    swap: npt.NDArray[np.bool_]
    relation: npt.NDArray[np.bool_]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """By name, in small types."""
        choices = {name: getattr(self, name).astype(np.int8) for name in ("verb", "flip", "swap", "relation")}
        return {"rank": self.rank.astype(np.int16), **choices}


@dataclass(frozen=True)
class EmbeddedTexts:
    """All texts of ``TwoObjectTexts`` embedded by one model."""

    texts: TwoObjectTexts
    distinct: list[str]
    pool: Floats
    verb: Floats  # (2, N, 6, D)
    swap: Floats  # (S, 2, D), the right one first
    relation: Floats  # (R, 2, D), the right one first


def embed(model: DualEncoder, texts: TwoObjectTexts, tokenizer: Any, device: str) -> EmbeddedTexts:
    """Embeds the captions, the verb choices, the swapped clauses and the relations."""
    distinct = sorted(set(texts.captions.tolist()))

    def embedded(captions: list[str], *shape: int) -> Floats:
        return embed_texts(model, captions, tokenizer, device).reshape(*shape, -1)

    verbs = [text for mover in (0, 1) for r in texts.split for text in r.scene.verb_choices("mixed", mover)]
    swaps: list[str] = []
    for clip in texts.swappable:
        scene = texts.split[int(clip)].scene
        other = swapped_clauses(scene)
        assert other is not None
        swaps += [scene.caption("mixed"), other.caption("mixed")]
    told = [
        relation_caption(texts.split[clip].scene, shown)
        for clip, what in texts.told
        for shown in (what, REVERSED_RELATION[what])
    ]
    return EmbeddedTexts(
        texts,
        distinct,
        embedded(distinct, len(distinct)),
        embedded(verbs, 2, len(texts.split), len(VERBS)),
        embedded(swaps, len(texts.swappable), 2),
        embedded(told, len(texts.told), 2),
    )


def score(video: Floats, e: EmbeddedTexts) -> TwoObjectOutcome:
    """Scores clips (N, D) against the texts; a tie is wrong."""
    texts, rows = e.texts, np.arange(len(video))
    ranks = []
    for start in range(0, len(video), texts.pool_size):
        part = texts.captions[start : start + texts.pool_size]
        columns = np.flatnonzero(np.isin(e.distinct, part))
        right = part[:, None] == np.array(e.distinct)[columns]
        ranks.append(best_rank(video[start : start + len(part)] @ e.pool[columns].T, right))
    verb, flip = [], []
    for mover in (0, 1):
        scores, true = np.einsum("nd,nvd->nv", video, e.verb[mover]), texts.verbs[:, mover]
        backwards = np.array([VERBS.index(REVERSED_VERB[VERBS[v]]) for v in true])
        verb.append(choose(scores, true))
        flip.append(scores[rows, true] > scores[rows, backwards])
    clips = np.array([clip for clip, _ in texts.told], dtype=np.int64)
    swap = np.einsum("nd,nkd->nk", video[texts.swappable], e.swap)
    told = np.einsum("nd,nkd->nk", video[clips], e.relation)
    return TwoObjectOutcome(
        np.concatenate(ranks),
        np.concatenate(verb),
        np.concatenate(flip),
        swap[:, 0] > swap[:, 1],
        told[:, 0] > told[:, 1],
    )
