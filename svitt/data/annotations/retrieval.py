"""Annotation files of retrieval, question answering and multiple choice, as the releases distribute them.

MSR-VTT, WebVid, DiDeMo, Charades, Something-Something v2 (retrieval), ActivityNet QA and AGQA share one
manner: a JSON list of records with ``video`` and a text. What is wrong in a file is said with the record.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from svitt.errors import AnnotationError

Texts = tuple[str, ...]


@dataclass(frozen=True)
class RetrievalSet:
    """Videos and texts to match. videos: distinct names, in the file's order. texts: one a caption.
    video_to_text: (V, T) bool, which texts are right for a video; equal captions are right alike."""

    videos: Texts
    texts: Texts
    video_to_text: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Question:
    """A question about a video. answers: all that were given, with repetitions; or none."""

    video: str
    question: str
    answers: Texts
    question_id: int | str


@dataclass(frozen=True)
class Choice:
    """Captions of which one describes the video. answer: its place, from 0."""

    video: str
    captions: Texts
    answer: int


def read_list(path: str | Path) -> list[Any]:
    """The JSON list of a file. Errors: AnnotationError naming the file."""
    path = Path(path)
    if not path.is_file():
        raise AnnotationError(f"{path}: no such file; data/README.md says where annotation files come from")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AnnotationError(f"{path}: not a readable JSON file ({error}); copy it again") from error
    if not isinstance(data, list):
        raise AnnotationError(f"{path}: holds {type(data).__name__}, expected a list of records")
    if not data:
        raise AnnotationError(f"{path}: an empty list; expected one record at least")
    return data


def _field(
    path: str | Path, number: int, record: Any, key: str, kind: str, check: Callable[[Any], bool]
) -> Any:
    where = f"{path}, record {number}"
    if not isinstance(record, dict):
        raise AnnotationError(f"{where}: is {type(record).__name__}, expected an object with {key!r}")
    if key not in record:
        raise AnnotationError(f"{where}: no {key!r}; it has {', '.join(sorted(map(str, record)))}")
    if not check(record[key]):
        raise AnnotationError(f"{where}: {key!r} is {record[key]!r}, expected {kind}")
    return record[key]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_text(item) for item in value)


def _texts(path: str | Path, number: int, record: Any, key: str) -> Texts:
    value = _field(
        path, number, record, key, "a text or a list of texts", lambda v: _is_text(v) or _is_texts(v)
    )
    return (value,) if isinstance(value, str) else tuple(value)


def load_pairs(path: str | Path, *, paragraphs: bool = False) -> list[tuple[str, str]]:
    """(video, caption) of every training pair; a list of captions gives a pair each.

    paragraphs: the captions of a list belong together and are joined with a space (DiDeMo).
    """
    pairs = []
    for number, record in enumerate(read_list(path)):
        captions = _texts(path, number, record, "caption")
        captions = (" ".join(captions),) if paragraphs else captions
        pairs += [(v, c) for v in _texts(path, number, record, "video") for c in captions]
    return pairs


def load_retrieval(path: str | Path, *, paragraphs: bool = False) -> RetrievalSet:
    """A test set of retrieval. A record may have several captions (all right for its video) or several
    videos (its caption is right for all, Something-Something v2).

    paragraphs: as ``load_pairs``. Errors: AnnotationError naming file, record and key.
    """
    texts: list[str] = []
    right: dict[str, set[str]] = {}
    for number, record in enumerate(read_list(path)):
        captions = _texts(path, number, record, "caption")
        captions = (" ".join(captions),) if paragraphs else captions
        texts += captions
        for video in _texts(path, number, record, "video"):
            right.setdefault(video, set()).update(captions)
    matrix = np.array([[text in own for text in texts] for own in right.values()], dtype=bool)
    return RetrievalSet(tuple(right), tuple(texts), matrix)


def load_questions(path: str | Path, *, answers_required: bool = True) -> list[Question]:
    """Questions with their answers; a training answer may be a list (its weights: frequency / length).

    A record without ``question_id`` has its number in the file. answers_required: False takes records
    without an answer, for predictions. Errors: AnnotationError naming file, record and key.
    """
    found = []
    for number, record in enumerate(read_list(path)):
        video = _field(path, number, record, "video", "a text", _is_text)
        question = _field(path, number, record, "question", "a text", _is_text)
        answers: Texts = ()
        if answers_required or (isinstance(record, dict) and record.get("answer") is not None):
            answers = _texts(path, number, record, "answer")
        found.append(Question(video, question, answers, record.get("question_id", number)))
    repeated = _first_repeated(item.question_id for item in found)
    if repeated is not None:
        raise AnnotationError(f"{path}: question_id {repeated!r} stands twice; every question has its own")
    return found


def load_answer_list(path: str | Path) -> list[str]:
    """An ``*_answer_list.json`` of any length; of an answer that stands twice the first place counts.

    Errors: AnnotationError for an empty list or an entry that is no text.
    """
    answers = read_list(path)
    for number, answer in enumerate(answers):
        if not _is_text(answer):
            raise AnnotationError(f"{path}, entry {number}: is {answer!r}, expected a text")
    return list(dict.fromkeys(answers))


def load_choices(path: str | Path) -> list[Choice]:
    """Multiple choice (``msrvtt_mc_test.json``). Errors: AnnotationError naming file, record and key."""
    found = []
    for number, record in enumerate(read_list(path)):
        video = _field(path, number, record, "video", "a text", _is_text)
        captions = _field(path, number, record, "caption", "a list of texts", _is_texts)
        last = len(captions) - 1
        answer = _field(
            path,
            number,
            record,
            "answer",
            f"a place from 0 to {last}",
            lambda v, last=last: type(v) is int and 0 <= v <= last,  # type: ignore[misc]
        )
        found.append(Choice(video, tuple(captions), answer))
    return found


def split_by_file(videos: Iterable[str], root: str | Path) -> tuple[list[str], list[str]]:
    """Names whose file is below ``root``, and names whose file is missing. Evaluation reports the latter with
    its denominator and never puts another video in their place."""
    root = Path(root)
    if not root.is_dir():
        raise AnnotationError(f"{root}: no such folder; give the one that the annotation's names start from")
    present: list[str] = []
    missing: list[str] = []
    for name in dict.fromkeys(videos):
        (present if (root / name).is_file() else missing).append(name)
    return present, missing


def _first_repeated(items: Iterable[Any]) -> Any:
    seen = set()
    for item in items:
        if item in seen:
            return item
        seen.add(item)
    return None
