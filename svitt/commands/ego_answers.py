"""The answers of anyone's model to the questions of EgoMCQ, kept one by one so that a long run can go on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from svitt.data.annotations.egomcq import CHOICES, EgoQuestion
from svitt.data.video.chunks import ChunkedVideos
from svitt.data.video.readers import Frames
from svitt.data.video.sampling import Sampling
from svitt.errors import ConfigError, VideoDecodeError
from svitt.integrations.similarity import Similarity

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """scores: of every question that could be asked, by id, (5,), higher fits better. failed: of the others
    why a clip could not be read; these are in no denominator, and are said."""

    scores: dict[str, Scores]
    failed: dict[str, str]


class Journal:
    """Answers as lines of JSON behind a first line that says whose they are.

    path: None keeps nothing. about: what the answers depend on. Errors: ConfigError for a file of answers to
    something else, or one that is none.
    """

    def __init__(self, path: Path | None, about: dict[str, Any]) -> None:
        self.path, self.answers = path, Answers({}, {})
        if path is None:
            return
        if path.exists():
            self._read(path, about)
        else:
            path.write_text(json.dumps(about) + "\n", encoding="utf-8")

    def _read(self, path: Path, about: dict[str, Any]) -> None:
        head, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True) or [""]
        try:
            found = json.loads(head)
        except ValueError:
            found = None
        if found != about:
            keys = [k for k in about if not isinstance(found, dict) or found.get(k) != about[k]]
            raise ConfigError(
                f"{path}: holds other answers (different: {', '.join(keys)}); give another --out, or delete "
                "the file"
            )
        whole = [line for line in lines if line.endswith("\n")]
        for line in whole:
            self._take(json.loads(line))
        if len(whole) < len(lines):  # interrupted while a line was written
            path.write_text(head + "".join(whole), encoding="utf-8")

    def _take(self, line: dict[str, Any]) -> None:
        if "failed" in line:
            self.answers.failed[line["question"]] = line["failed"]
        else:
            self.answers.scores[line["question"]] = np.array(line["scores"])

    def add(self, line: dict[str, Any]) -> None:
        """One answer: ``question`` and ``scores`` or ``failed``."""
        self._take(line)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def read_choices(question: EgoQuestion, videos: ChunkedVideos, num_frames: int) -> list[Frames]:
    """The five clips of a question, (T, H, W, 3) each. Errors: VideoDecodeError."""
    return [videos.of_clip(clip, Sampling(num_frames)) for clip in question.choices]


def answer(
    model: Similarity, questions: Sequence[EgoQuestion], videos: ChunkedVideos, journal: Journal
) -> Answers:
    """Scores of the five clips of every question that the journal has no answer to.

    A question is one call of ``similarity``, five clips and one text. Says after the first how long all take.
    """
    known = journal.answers.scores.keys() | journal.answers.failed.keys()
    left = [question for question in questions if question.question_id not in known]
    with tqdm(total=len(left), desc="asking", unit="question", disable=None) as bar:
        for number, question in enumerate(left):
            began = time.perf_counter()
            try:
                clips = read_choices(question, videos, model.num_frames)
            except VideoDecodeError as error:
                journal.add({"question": question.question_id, "failed": str(error)})
            else:
                scores = [float(s) for s in _scores(model, clips, question.query.clip_text)]
                journal.add({"question": question.question_id, "scores": scores})
            if number == 0 and len(left) > 1:
                seconds = (time.perf_counter() - began) * len(left)
                tqdm.write(f"{len(left)} questions to ask: about {seconds:.0f} s")
            bar.update()
    return journal.answers


def _scores(model: Similarity, clips: Sequence[Frames], text: str) -> Iterator[float]:
    """One per clip; clips of one size go through the model together."""
    if len({clip.shape for clip in clips}) == 1:
        yield from model.similarity(np.stack(clips), [text])[:, 0]
        return
    for clip in clips:
        yield float(model.similarity(clip[None], [text])[0, 0])


def margins(questions: Sequence[EgoQuestion], answers: Answers) -> dict[str, float]:
    """By id, the score of the right clip minus that of the best other: below 0 is wrong, worst first."""
    found = {}
    for question in questions:
        if question.question_id in answers.scores:
            scores = answers.scores[question.question_id]
            others = np.delete(scores, question.answer)
            assert len(others) == CHOICES - 1
            found[question.question_id] = float(scores[question.answer] - others.max())
    return dict(sorted(found.items(), key=lambda item: item[1]))
