"""EgoMCQ: a narration, and five clips of which one is its own (``egomcq.json`` of EgoVLP).

Two kinds of questions: "inter_video", the clips are of other videos, and "intra_video", all five are of one
video. In the file they are ``types`` 1 and 2; several programs print the two names swapped, and files that
swap the numbers exist. Here the videos decide: intra_video exactly if all five clips share one video.
Source: Lin et al. 2022, arXiv:2206.01670, section 3.3.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from svitt.data.annotations.egoclip import EgoClip, Skipped, WrongRecord, clip_from, clip_values, report_of
from svitt.errors import AnnotationError

CHOICES = 5
Kind = Literal["inter_video", "intra_video"]
TYPES: dict[Kind, int] = {"inter_video": 1, "intra_video": 2}


@dataclass(frozen=True)
class EgoQuestion:
    """query: the clip whose clip_text is asked for. choices: five clips. answer: place of the right one,
    from 0. types: what the file says of the kind, 1 or 2."""

    question_id: str
    query: EgoClip
    choices: tuple[EgoClip, ...]
    answer: int
    types: int

    @property
    def kind(self) -> Kind:
        """By the videos of the choices, whatever the file says."""
        return "intra_video" if len({clip.video_uid for clip in self.choices}) == 1 else "inter_video"


@dataclass(frozen=True)
class EgoQuestions:
    """questions, in the file's order; skipped, what was left out. mislabelled: ids of questions whose
    ``types`` says the other kind. crowded: ids of inter_video questions with two clips of one video."""

    questions: tuple[EgoQuestion, ...]
    skipped: tuple[Skipped, ...]
    mislabelled: tuple[str, ...]
    crowded: tuple[str, ...]

    def report(self) -> str:
        """One line: questions of either kind, and what was noticed."""
        counts = Counter(question.kind for question in self.questions)
        text = f"{counts['inter_video']} inter_video and {counts['intra_video']} intra_video questions"
        if self.mislabelled:
            which = "all" if len(self.mislabelled) == len(self.questions) else str(len(self.mislabelled))
            text += f"; {which} have the other kind's `types`, the videos decided"
        if self.crowded:
            text += f"; {len(self.crowded)} inter_video questions have two clips of one video"
        return f"{text}; {report_of(self.skipped, 'questions')}"


def load_egomcq(path: str | Path) -> EgoQuestions:
    """The questions of an ``egomcq.json``.

    Left out, by reason: those of a clip (see ``load_egoclip``), "choices" (not five), "answer" (no place
    among them), "types" (neither 1 nor 2), "record".

    Errors: AnnotationError for a missing file, one that is no JSON object, a key that stands twice, or a file
    without a single question.
    """
    path = Path(path)
    if not path.is_file():
        raise AnnotationError(f"{path}: no such file; data/README.md says where annotation files come from")
    try:
        data = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except (OSError, ValueError) as error:
        raise AnnotationError(f"{path}: not a readable JSON file ({error}); copy it again") from error
    if not isinstance(data, dict):
        raise AnnotationError(f"{path}: holds {type(data).__name__}, expected questions by their number")
    questions, skipped = [], []
    for number, record in data.items():
        try:
            questions.append(_question(number, record))
        except WrongRecord as error:
            skipped.append(Skipped(f"question {number}", error.reason, str(error)))
    found = EgoQuestions(
        tuple(questions),
        tuple(skipped),
        tuple(q.question_id for q in questions if TYPES[q.kind] != q.types),
        tuple(q.question_id for q in questions if q.kind == "inter_video" and _videos(q) < CHOICES),
    )
    if not questions:
        raise AnnotationError(f"{path}: not one question; {found.report()}")
    return found


def egomcq_bytes(questions: Iterable[EgoQuestion]) -> bytes:
    """Questions as an ``egomcq.json``, one a line."""
    lines = []
    for question in questions:
        choices = {str(place): clip_values(clip) for place, clip in enumerate(question.choices)}
        record = {
            "query": clip_values(question.query),
            "choices": choices,
            "answer": question.answer,
            "types": question.types,
        }
        lines.append(f"{json.dumps(question.question_id)}: {json.dumps(record)}")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _videos(question: EgoQuestion) -> int:
    return len({clip.video_uid for clip in question.choices})


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key!r} stands twice in one object")
        found[key] = value
    return found


def _question(number: str, record: Any) -> EgoQuestion:
    if not isinstance(record, dict) or not isinstance(record.get("query"), dict):
        raise WrongRecord("record", "not an object with a query")
    choices = record.get("choices")
    places = [str(place) for place in range(CHOICES)]
    if not isinstance(choices, dict) or sorted(choices) != places:
        names = sorted(choices) if isinstance(choices, dict) else type(choices).__name__
        raise WrongRecord("choices", f"{names}, expected {', '.join(places)}")
    if not all(isinstance(choice, dict) for choice in choices.values()):
        raise WrongRecord("choices", "a choice is no object")
    answer, types = record.get("answer"), record.get("types")
    if type(answer) is not int or not 0 <= answer < CHOICES:
        raise WrongRecord("answer", f"{answer!r}, expected 0 to {CHOICES - 1}")
    if type(types) is not int or types not in TYPES.values():
        raise WrongRecord("types", f"{types!r}, expected 1 (inter_video) or 2 (intra_video)")
    clips = tuple(clip_from(choices[place]) for place in places)
    return EgoQuestion(str(number), clip_from(record["query"]), clips, answer, types)
