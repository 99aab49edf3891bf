"""The frame-order probe of chapter 1 on anyone's model and videos: what ``svitt probe`` runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor
from tqdm import tqdm

from svitt.data.annotations.retrieval import RetrievalSet, load_retrieval, split_by_file
from svitt.data.text import clean_caption, encode
from svitt.data.video.decode import read_clip
from svitt.data.video.sampling import Sampling
from svitt.errors import AnnotationError, VideoDecodeError
from svitt.evaluation.frame_order import ORDERS, reorder
from svitt.evaluation.metrics import best_rank
from svitt.integrations.similarity import Similarity, open_similarity
from svitt.models.checkpoints.io import SavedModel

Frames = npt.NDArray[np.uint8]
_BATCH = 8  # clips shown at once


@dataclass(frozen=True)
class Probed:
    """ranks: order -> (draws, V), best rank of a right text for every video. failed: video -> why it could
    not be read; these are in no denominator, and are said."""

    ranks: dict[str, npt.NDArray[np.int64]]
    failed: dict[str, str]


def read_clips(
    names: Sequence[str], root: Path, num_frames: int, size: int
) -> tuple[Frames, list[str], dict[str, str]]:
    """Clips (V, T, size, size, 3) of the videos that can be read, their names, and why others cannot."""
    clips, present, failed = [], [], {}
    for name in tqdm(names, desc="reading", unit="video", leave=False):
        try:
            frames = read_clip(root / name, Sampling(num_frames))
        except VideoDecodeError as error:
            failed[name] = str(error)
            continue
        clips.append(_square(frames, size))
        present.append(name)
    if not clips:
        raise AnnotationError(
            f"{root}: none of the {len(names)} videos could be read; first: {next(iter(failed.items()))}"
        )
    return np.stack(clips), present, failed


def _square(frames: Frames, size: int) -> Frames:
    import torch
    import torch.nn.functional as F

    if frames.shape[1:3] == (size, size):
        return frames
    x = torch.from_numpy(frames).movedim(-1, 1).float()
    x = F.interpolate(x, (size, size), mode="bicubic", antialias=True).clamp(0, 255).round()
    return np.asarray(x.movedim(1, -1).to(torch.uint8).numpy())


def probe(model: Similarity, clips: Frames, data: RetrievalSet, draws: int, seed: int) -> dict[str, Any]:
    """Ranks of every order, (draws, V); data: of exactly these clips."""
    ranks: dict[str, Any] = {}
    for number, order in enumerate(ORDERS):
        repeats = draws if order in ("shuffle", "freeze") else 1
        found = []
        for draw in range(repeats):
            shown = reorder(clips, order, np.random.default_rng([seed, number, draw]))
            starts = range(0, len(shown), _BATCH)
            scores = [
                model.similarity(np.asarray(shown[i : i + _BATCH], np.uint8), data.texts)
                for i in tqdm(starts, desc=f"{order} {draw + 1}/{repeats}", leave=False)
            ]
            found.append(best_rank(np.concatenate(scores), data.video_to_text))
        ranks[order] = np.stack(found)
    return ranks


def restricted(data: RetrievalSet, present: Sequence[str]) -> RetrievalSet:
    """The part of a set that is about these videos: their texts, and the texts' other videos left out."""
    rows = [data.videos.index(name) for name in present]
    columns = np.flatnonzero(data.video_to_text[rows].any(axis=0))
    texts = tuple(data.texts[column] for column in columns)
    return RetrievalSet(tuple(present), texts, data.video_to_text[rows][:, columns])


def own_encode(saved: SavedModel) -> Callable[[Sequence[str]], tuple[Tensor, Tensor]]:
    """Captions as this package's models read them: cleaned, one token a word."""
    assert saved.tokenizer is not None
    tokenizer, length = saved.tokenizer, saved.model.config.text.max_length
    return lambda texts: encode(tokenizer, [clean_caption(text) for text in texts], length)


def probe_files(
    model: str, annotations: Path, videos: Path, *, num_frames: int, draws: int, seed: int, device: str
) -> Probed:
    """Reads the videos of a retrieval set, shows them to a model in every order, ranks the texts.

    model: a folder of a saved model, or a CLIP or X-CLIP of transformers. num_frames: for models that take
    any number. Errors: AnnotationError where no video of the set can be read.
    """
    data = load_retrieval(annotations)
    present, missing = split_by_file(data.videos, videos)
    if not present:
        raise AnnotationError(f"{videos}: holds none of the {len(data.videos)} videos of {annotations}")
    opened = open_similarity(model, own_encode, num_frames, device)
    clips, readable, failed = read_clips(present, videos, opened.num_frames, opened.image_size)
    failed |= dict.fromkeys(missing, "no such file")
    return Probed(probe(opened, clips, restricted(data, readable), draws, seed), failed)
