"""``svitt probe --choices``: of a few captions of a video one is right, say that with the right direction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from svitt.data.annotations.retrieval import Choice, load_choices, split_by_file
from svitt.errors import AnnotationError
from svitt.evaluation.frame_order import ORDERS, reorder
from svitt.evaluation.metrics import best_rank
from svitt.experiments.ch01_frame_shuffle.real_models import Probed, own_encode, read_clips
from svitt.integrations.similarity import Similarity, open_similarity
from svitt.integrations.similarity_pixels import Frames


def choose(
    model: Similarity, clips: Frames, rows: Sequence[int], questions: Sequence[Choice], draws: int, seed: int
) -> dict[str, npt.NDArray[np.int64]]:
    """Order -> (draws, Q), the rank of the right option among its question's; 1 is right, a tie is wrong.

    clips (V, T, H, W, 3); rows: of every question the number of its clip.
    """
    orders = [(order, draws if order in ("shuffle", "freeze") else 1) for order in ORDERS]
    ranks: dict[str, npt.NDArray[np.int64]] = {}
    total = len(questions) * sum(repeats for _, repeats in orders)
    with tqdm(total=total, unit="question", leave=False, disable=None) as bar:
        for number, (order, repeats) in enumerate(orders):
            ranks[order] = np.empty((repeats, len(questions)), np.int64)
            for draw in range(repeats):
                shown = reorder(clips, order, np.random.default_rng([seed, number, draw]))
                bar.set_description(f"{order} {draw + 1}/{repeats}")
                for place, (row, question) in enumerate(zip(rows, questions, strict=True)):
                    scores = model.similarity(np.asarray(shown[row : row + 1], np.uint8), question.captions)
                    right = np.arange(len(question.captions))[None] == question.answer
                    ranks[order][draw, place] = best_rank(scores, right)[0]
                    bar.update()
    return ranks


def probe_choices(
    model: str, annotations: Path, videos: Path, *, num_frames: int, draws: int, seed: int, device: str
) -> Probed:
    """Shows the videos of a multiple-choice file to a model in every order, and ranks the options.

    Questions about videos that cannot be read are in no denominator. Arguments as ``probe_files``.
    Errors: AnnotationError where no video of the file can be read.
    """
    asked = load_choices(annotations)
    present, missing = split_by_file([question.video for question in asked], videos)
    if not present:
        raise AnnotationError(f"{videos}: holds no video of the {len(asked)} questions in {annotations}")
    opened = open_similarity(model, own_encode, num_frames, device)
    clips, readable, failed = read_clips(present, videos, opened.num_frames, opened.image_size)
    failed |= dict.fromkeys(missing, "no such file")
    row = {name: number for number, name in enumerate(readable)}
    questions = [question for question in asked if question.video in row]
    rows = [row[question.video] for question in questions]
    return Probed(choose(opened, clips, rows, questions, draws, seed), failed)
