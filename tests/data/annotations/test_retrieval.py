"""Annotation files in the formats of the releases, written here small."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from svitt.data.annotations.retrieval import (
    load_answer_list,
    load_choices,
    load_pairs,
    load_questions,
    load_retrieval,
    split_by_file,
)
from svitt.errors import AnnotationError
from svitt.evaluation.metrics import retrieval_metrics
from svitt.evaluation.question_answering import answer_weights


def file(tmp_path: Path, data: Any) -> Path:
    path = tmp_path / "annotations.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def test_pairs_of_webvid_and_msrvtt(tmp_path: Path) -> None:
    records = [
        {"video": "000001_000050/1066.mp4", "caption": "A cat sleeps."},
        {"video": "video12.mp4", "caption": ["a man sings", "someone sings"]},
    ]
    assert load_pairs(file(tmp_path, records)) == [
        ("000001_000050/1066.mp4", "A cat sleeps."),
        ("video12.mp4", "a man sings"),
        ("video12.mp4", "someone sings"),
    ]


def test_paragraphs_are_joined_and_a_plain_string_stays_one(tmp_path: Path) -> None:
    records = [{"video": "x.mp4", "caption": ["dog runs", "dog stops"]}, {"video": "y.mp4", "caption": "dog"}]
    path = file(tmp_path, records)
    assert load_pairs(path, paragraphs=True) == [("x.mp4", "dog runs dog stops"), ("y.mp4", "dog")]
    assert load_retrieval(path, paragraphs=True).texts == ("dog runs dog stops", "dog")


def test_several_texts_several_videos_and_equal_captions(tmp_path: Path) -> None:
    records = [
        {"video": "a.mp4", "caption": ["one", "two"]},
        {"video": ["b.webm", "a.mp4"], "caption": "Holding [something]"},
        {"video": "c.mp4", "caption": "one"},
    ]
    found = load_retrieval(file(tmp_path, records))
    assert found.videos == ("a.mp4", "b.webm", "c.mp4")
    assert found.texts == ("one", "two", "Holding [something]", "one")
    expected = [[1, 1, 1, 1], [0, 0, 1, 0], [1, 0, 0, 1]]
    assert found.video_to_text.astype(int).tolist() == expected
    perfect = retrieval_metrics(np.array(expected, float), found.video_to_text)
    assert perfect["mean_recall"] == 100


def test_questions(tmp_path: Path) -> None:
    records = [
        {"video": "video1.mp4", "question": "who sings?", "answer": "man", "question_id": 17},
        {"video": "video2.mp4", "question": "what?", "answer": ["a", "b", "a", "a"]},
    ]
    first, second = load_questions(file(tmp_path, records))
    assert first.answers == ("man",) and first.question_id == 17
    assert second.question_id == 1 and answer_weights(second.answers) == {"a": 0.75, "b": 0.25}
    open_records = [
        {"video": "v.mp4", "question": "who?"},
        {"video": "v.mp4", "question": "x", "answer": None},
    ]
    path = file(tmp_path, open_records)
    with pytest.raises(AnnotationError, match="record 0: no 'answer'"):
        load_questions(path)
    assert [q.answers for q in load_questions(path, answers_required=False)] == [(), ()]


def test_answer_lists(tmp_path: Path) -> None:
    assert load_answer_list(file(tmp_path, ["man", "woman", "man"])) == ["man", "woman"]
    assert load_answer_list(file(tmp_path, ["man"])) == ["man"]
    with pytest.raises(AnnotationError, match="entry 1"):
        load_answer_list(file(tmp_path, ["man", 3]))
    with pytest.raises(AnnotationError, match="empty list"):
        load_answer_list(file(tmp_path, []))


def test_choices(tmp_path: Path) -> None:
    record = {"video": "video9.mp4", "caption": ["a", "b", "c", "d", "e"], "answer": 3}
    assert load_choices(file(tmp_path, [record]))[0].answer == 3
    for answer in (5, -1, "3", True, None):
        with pytest.raises(AnnotationError, match="a place from 0 to 4"):
            load_choices(file(tmp_path, [record | {"answer": answer}]))


@pytest.mark.parametrize(
    "data, message",
    [
        ("{", "not a readable JSON"),
        ({"video": "a"}, "holds dict, expected a list"),
        ([], "empty list"),
        (["a"], "record 0: is str"),
        ([{"video": "a.mp4", "captions": "x"}], "record 0: no 'caption'; it has captions, video"),
        ([{"video": "a.mp4", "caption": "x"}, {"video": 3, "caption": "x"}], "record 1: 'video' is 3"),
        ([{"video": "a.mp4", "caption": " "}], "record 0: 'caption' is ' '"),
        ([{"video": "a.mp4", "caption": []}], r"'caption' is \[\]"),
    ],
)
def test_what_is_wrong_is_said_with_its_record(tmp_path: Path, data: Any, message: str) -> None:
    path = file(tmp_path, data)
    with pytest.raises(AnnotationError, match=message) as error:
        load_retrieval(path)
    assert "annotations.json" in str(error.value)


def test_missing_files_and_ids(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="no such file"):
        load_pairs(tmp_path / "none.json")
    twice = [{"video": "v.mp4", "question": "q", "answer": "a", "question_id": 1}] * 2
    with pytest.raises(AnnotationError, match="question_id 1 stands twice"):
        load_questions(file(tmp_path, twice))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.mp4").write_bytes(b"x")
    assert split_by_file(["sub/a.mp4", "b.mp4", "b.mp4"], tmp_path) == (["sub/a.mp4"], ["b.mp4"])
    with pytest.raises(AnnotationError, match="no such folder"):
        split_by_file(["a"], tmp_path / "none")
