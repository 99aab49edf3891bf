"""Two-look retrieval: the known answers, ties, clip ensembles, and features that are encoded once."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from svitt.errors import CheckpointError, ConfigError
from svitt.evaluation.feature_cache import FeatureCache, digest
from svitt.evaluation.metrics import best_rank, retrieval_metrics
from svitt.evaluation.retrieval import NOT_RERANKED, dual_scores, pool_clips, rerank

SCORES = np.array([[0.9, 0.1, 0.3], [0.8, 0.7, 0.2], [0.1, 0.6, 0.5]])
EYE = np.eye(3, dtype=bool)


def looked_up(table: np.ndarray) -> object:
    return lambda videos, texts: table[videos, texts]


def test_the_same_scores_again_change_nothing() -> None:
    again = rerank(SCORES, looked_up(SCORES), k=3, progress=False)  # type: ignore[arg-type]
    assert again.metrics(EYE) == retrieval_metrics(SCORES)
    assert again.metrics(EYE)["video_to_text/R@1"] == pytest.approx(100 / 3)
    assert again.metrics(EYE)["mean_recall"] == pytest.approx(88.888889)
    assert again.pairs == 9


def test_several_correct_texts() -> None:
    scores = np.array([[0.9, 0.2, 0.8, 0.1], [0.3, 0.7, 0.6, 0.65]])
    correct = np.array([[1, 1, 0, 0], [0, 0, 1, 1]], bool)
    found = rerank(scores, looked_up(scores), progress=False).metrics(correct)  # type: ignore[arg-type]
    assert [found[f"{d}/R@1"] for d in ("video_to_text", "text_to_video")] == [50, 50]
    assert found["mean_recall"] == pytest.approx(83.333333)


def test_only_the_best_k_are_looked_at_each_pair_once() -> None:
    asked: list[tuple[int, int]] = []

    def match(videos: np.ndarray, texts: np.ndarray) -> np.ndarray:
        asked.extend(zip(videos.tolist(), texts.tolist(), strict=True))
        return -SCORES[videos, texts]

    found = rerank(SCORES, match, k=2, batch_size=2, progress=False)
    assert len(asked) == len(set(asked)) == found.pairs
    assert found.video_to_text[0].tolist() == [-0.9, NOT_RERANKED, -0.3]
    assert found.text_to_video[:, 0].tolist() == [-0.9, -0.8, NOT_RERANKED]
    ranks = found.ranks(EYE)
    # Video 1's own text is the better of its two; text 0's own video the worse.
    assert ranks["video_to_text"][1] == 1 and ranks["text_to_video"][0] == 2


def test_what_is_not_among_the_best_k_is_last_and_ties_are_not_optimistic() -> None:
    scores = np.array([[0.1, 0.9, 0.8, 0.7]])
    correct = np.array([[True, False, False, False]])
    found = rerank(scores, looked_up(scores), k=2, progress=False)  # type: ignore[arg-type]
    assert best_rank(found.video_to_text, correct).tolist() == [4]
    equal = np.zeros((20, 20))
    metrics = rerank(equal, looked_up(equal), k=20, progress=False).metrics(np.eye(20, dtype=bool))  # type: ignore[arg-type]
    assert [metrics[f"text_to_video/R@{k}"] for k in (1, 5, 10)] == [0, 0, 0]


def test_ensembles_of_clips() -> None:
    scores = np.array([[0.0, 2.0], [1.0, 1.0]])
    assert pool_clips(scores, "mean").tolist() == [1, 1] and pool_clips(scores, "max").tolist() == [2, 1]
    expected = [math.log(1 + math.exp(2)), 1 + math.log(2)]
    assert pool_clips(scores, "lse") == pytest.approx(expected)
    assert pool_clips(np.array([[1000.0, 1000.0]]), "lse") == pytest.approx([1000 + math.log(2)])
    with pytest.raises(ConfigError, match="mean, max, lse"):
        pool_clips(scores, "sum")  # type: ignore[arg-type]
    video = np.array([[[1.0, 0.0], [0.0, 1.0]]])
    assert dual_scores(video, np.eye(2), "max").tolist() == [[1, 1]]
    assert dual_scores(video[:, 0], np.eye(2)).tolist() == [[1, 0]]

    def match(videos: np.ndarray, texts: np.ndarray) -> np.ndarray:
        return np.stack([SCORES[videos, texts], SCORES[videos, texts] + 2], axis=1)

    assert rerank(SCORES, match, how="max", progress=False).video_to_text == pytest.approx(SCORES + 2)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ConfigError, match="k = 0"):
        rerank(SCORES, looked_up(SCORES), k=0)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="NaN"):
        rerank(np.full((2, 2), np.nan), looked_up(SCORES))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"shape \(1,\)"):
        rerank(SCORES, lambda v, t: np.zeros(1), progress=False)
    with pytest.raises(ConfigError, match="match returned NaN"):
        rerank(SCORES, lambda v, t: np.full(len(v), np.nan), progress=False)


# Features


def test_features_are_made_once_for_equal_content(tmp_path: Path) -> None:
    calls: list[str] = []
    cache = FeatureCache(tmp_path / "features")

    def features(clip: np.ndarray, weights: bytes, frames: int) -> dict[str, np.ndarray]:
        key = digest(clip, weights, {"frames": frames})

        def make() -> dict[str, np.ndarray]:
            calls.append(key)
            return {"tokens": clip.mean(axis=0, keepdims=True).astype(np.float32), "pooled": clip[0]}

        return cache.get(key, make)

    clip = np.arange(12, dtype=np.uint8).reshape(3, 4)
    first, again = features(clip, b"w", 4), features(clip.copy(), b"w", 4)
    assert len(calls) == 1
    assert all(
        np.array_equal(first[name], again[name]) and first[name].dtype == again[name].dtype for name in first
    )
    features(clip + 1, b"w", 4)
    features(clip, b"v", 4)
    features(clip, b"w", 8)
    features(clip.reshape(4, 3), b"w", 4)
    assert len(calls) == len(set(calls)) == 5


def test_files_count_by_content_and_kinds_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"same")
    (tmp_path / "b").write_bytes(b"same")
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(b"same")
    assert digest("ab", "c") != digest("a", "bc")


def test_a_damaged_file_is_said(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.get("k", lambda: {"x": np.ones(100)})
    content = cache.path("k").read_bytes()
    for damaged in (content[:50], b"", b"nothing of the kind"):
        cache.path("k").write_bytes(damaged)
        with pytest.raises(CheckpointError, match="delete it"):
            cache.get("k", lambda: {"x": np.ones(1)})
    assert [path.name for path in tmp_path.iterdir()] == ["k.npz"]
