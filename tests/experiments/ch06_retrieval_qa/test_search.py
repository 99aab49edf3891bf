"""The committed checkpoint finds clips of a world that it never saw."""

from __future__ import annotations

import numpy as np

from svitt.experiments.ch06_retrieval_qa.search import caption_of, searched


def test_a_caption_finds_its_clip_among_sixty() -> None:
    captions = [caption_of(index) for index in range(10)]
    found = searched(captions, top=5, count=60)
    first = [hits[0].caption == caption for caption, hits in found.items()]
    among = [caption in {hit.caption for hit in hits} for caption, hits in found.items()]
    assert np.mean(first) >= 0.5 and np.mean(among) >= 0.8  # chance: 1 in 60, 1 in 12
    for hits in found.values():
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True) and hits[0].frames.shape == (4, 32, 32, 3)
