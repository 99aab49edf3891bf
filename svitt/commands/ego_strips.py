"""A question of EgoMCQ as a picture: the narration, five film strips, what is right and what was chosen."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from svitt.data.annotations.egomcq import EgoQuestion
from svitt.data.video.readers import Frames
from svitt.viz.plots import film_strips


def question_strips(
    question: EgoQuestion, clips: Sequence[Frames], scores: npt.NDArray[np.float64]
) -> Figure:
    """One row per clip (T, H, W, 3), under its score; the narration, cut after 200 characters, on top."""
    chosen = int(scores.argmax())
    strips = {}
    for place, (choice, clip) in enumerate(zip(question.choices, clips, strict=True)):
        marks = [name for name, at in (("right", question.answer), ("chosen", chosen)) if at == place]
        title = f"{place + 1}: {scores[place]:+.3f}  {choice.clip_start:.1f} to {choice.clip_end:.1f} s"
        strips[f"{title}  {' and '.join(marks)}".rstrip()] = (clip, range(1, len(clip) + 1))
    figure = film_strips(strips)
    text = textwrap.shorten(question.query.clip_text, 200, placeholder=" ...")
    figure.suptitle("\n".join(textwrap.wrap(f"{question.kind}: {text}", 80)), x=0.01, ha="left")
    return figure
