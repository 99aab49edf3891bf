"""EgoMCQ files: both kinds named right, whatever the file calls them; bad questions left out and counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from svitt.data.annotations.egomcq import egomcq_bytes, load_egomcq
from svitt.errors import AnnotationError


def clip(uid: str, text: str, start: float = 1.0) -> dict[str, Any]:
    return {
        "video_uid": uid,
        "video_dur": 60.0,
        "narration_source": "narration_pass_2",
        "narration_ind": 4,
        "narration_time": start + 0.5,
        "clip_start": start,
        "clip_end": start + 1,
        "clip_text": text,
        "tag_verb": "[93]",
        "tag_noun": "[192, 115]",
    }


def question(videos: str, answer: int, types: int) -> dict[str, Any]:
    """One letter per choice: its video."""
    choices = {str(n): clip(uid, f"#C C does {n}", float(n)) for n, uid in enumerate(videos)}
    return {"query": choices[str(answer)], "choices": choices, "answer": answer, "types": types}


def write(folder: Path, *questions: Any) -> Path:
    path = folder / "egomcq.json"
    path.write_text(json.dumps({str(n): q for n, q in enumerate(questions)}))
    return path


def test_both_kinds(tmp_path: Path) -> None:
    found = load_egomcq(write(tmp_path, question("abcde", 2, 1), question("aaaaa", 4, 2)))
    assert [(q.question_id, q.kind, q.types, q.answer) for q in found.questions] == [
        ("0", "inter_video", 1, 2),
        ("1", "intra_video", 2, 4),
    ]
    first = found.questions[0]
    assert first.query == first.choices[2]
    assert [c.clip_text for c in first.choices] == [f"#C C does {n}" for n in range(5)]
    assert first.choices[0].tag_noun == (192, 115)
    assert found.report() == "1 inter_video and 1 intra_video questions; no questions left out"


def test_swapped_types_are_reported_and_the_videos_decide(tmp_path: Path) -> None:
    found = load_egomcq(write(tmp_path, question("abcde", 2, 2), question("aaaaa", 4, 1)))
    assert [q.kind for q in found.questions] == ["inter_video", "intra_video"]
    assert found.mislabelled == ("0", "1")
    assert "all have the other kind's `types`" in found.report()
    found = load_egomcq(write(tmp_path, question("abcde", 2, 1), question("aaaab", 4, 2)))
    assert [q.kind for q in found.questions] == ["inter_video", "inter_video"]
    assert found.mislabelled == ("1",)
    assert "; 1 have the other kind's `types`" in found.report()


def test_a_video_twice_in_an_inter_video_question(tmp_path: Path) -> None:
    found = load_egomcq(write(tmp_path, question("abcda", 2, 1)))
    assert found.crowded == ("0",)
    assert "1 inter_video questions have two clips of one video" in found.report()


def change(*keys: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def apply(record: dict[str, Any]) -> None:
        for key in keys[:-1]:
            record = record[key]  # type: ignore[index]
        record[keys[-1]] = to  # type: ignore[index]

    return apply


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (change("choices", "3", "tag_verb", to="[93"), "tags"),
        (change("choices", "3", "clip_end", to=0.0), "interval"),
        (change("choices", "3", "clip_start", to="soon"), "number"),
        (change("query", "clip_text", to=""), "text"),
        (change("choices", "3", to=None), "choices"),
        (lambda record: record["choices"].pop("4"), "choices"),
        (change("choices", "5", to=clip("f", "x")), "choices"),
        (change("answer", to=5), "answer"),
        (change("answer", to=True), "answer"),
        (change("answer", to="2"), "answer"),
        (change("types", to=3), "types"),
        (change("types", to="1"), "types"),
        (change("query", to="text"), "record"),
    ],
)
def test_a_bad_question_is_left_out_and_counted(
    tmp_path: Path, fault: Callable[[dict[str, Any]], object], reason: str
) -> None:
    bad = json.loads(json.dumps(question("abcde", 2, 1)))
    fault(bad)
    found = load_egomcq(write(tmp_path, question("abcde", 2, 1), bad, question("aaaaa", 0, 2)))
    assert [q.question_id for q in found.questions] == ["0", "2"]
    assert [(s.where, s.reason) for s in found.skipped] == [("question 1", reason)]
    assert f"1 questions left out (1 {reason}" in found.report()


def test_a_file_that_is_wrong_as_a_whole(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="no such file"):
        load_egomcq(tmp_path / "none.json")
    path = write(tmp_path, question("abcde", 2, 1))
    path.write_text(path.read_text()[:-1])
    with pytest.raises(AnnotationError, match="not a readable JSON file"):
        load_egomcq(path)
    path.write_text('{"7": 1, "7": 2}')
    with pytest.raises(AnnotationError, match=r"egomcq.json.*key '7' stands twice"):
        load_egomcq(path)
    path.write_text("[]")
    with pytest.raises(AnnotationError, match="holds list, expected questions"):
        load_egomcq(path)
    with pytest.raises(AnnotationError, match=r"not one question; .*1 record"):
        load_egomcq(write(tmp_path, "x"))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    questions = load_egomcq(write(tmp_path, question("abcde", 2, 1), question("aaaaa", 4, 2))).questions
    (tmp_path / "again.json").write_bytes(egomcq_bytes(questions))
    assert load_egomcq(tmp_path / "again.json").questions == questions
