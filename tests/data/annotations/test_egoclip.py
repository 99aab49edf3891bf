"""EgoClip files with the faults that such files have: nothing guessed, nothing lost without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from svitt.data.annotations.egoclip import COLUMNS, EgoClip, egoclip_bytes, load_egoclip
from svitt.data.text import clean_caption
from svitt.errors import AnnotationError

GOOD = {
    "clip_idx": "0",
    "video_uid": "001e3e4e",
    "video_dur": "128.033333",
    "narration_source": "narration_pass_1",
    "narration_ind": "0",
    "narration_time": "3.3445",
    "clip_start": "2.967651",
    "clip_end": "3.721266",
    "clip_text": "#C C picks a bag of clothes from the floor",
    "tag_verb": "[93]",
    "tag_noun": "[192, 115, 12]",
}


def write(folder: Path, *lines: dict[str, str] | str, columns: tuple[str, ...] = COLUMNS) -> Path:
    """A file of changes to GOOD, or of raw lines."""
    rows = [
        line if isinstance(line, str) else "\t".join({**GOOD, "clip_idx": str(n), **line}[c] for c in columns)
        for n, line in enumerate(lines)
    ]
    path = folder / "egoclip.csv"
    path.write_bytes(("\n".join(["\t".join(columns), *rows]) + "\n").encode())
    return path


def test_a_line_of_the_release(tmp_path: Path) -> None:
    found = load_egoclip(write(tmp_path, {}))
    assert found.skipped == ()
    assert found.clips == (
        EgoClip(
            0, "001e3e4e", 128.033333, "narration_pass_1", 0, 3.3445, 2.967651, 3.721266,
            "#C C picks a bag of clothes from the floor", (93,), (192, 115, 12),
        ),
    )  # fmt: skip
    assert found.report() == "1 clips of 1 videos; no lines left out"


def test_columns_go_by_their_names(tmp_path: Path) -> None:
    other = (*reversed(COLUMNS),)
    assert load_egoclip(write(tmp_path, {}, columns=other)).clips[0].tag_noun == (192, 115, 12)


@pytest.mark.parametrize(
    ("change", "reason", "detail"),
    [
        ({"tag_verb": "[93"}, "tags", "tag_verb is '[93'"),
        ({"tag_noun": "[__import__('os').getcwd()]"}, "tags", "__import__"),
        ({"tag_noun": "[1.5]"}, "tags", "1.5"),
        ({"tag_noun": "[-1]"}, "tags", "-1"),
        ({"tag_noun": "7"}, "tags", "'7'"),
        ({"tag_noun": "nan"}, "tags", "'nan'"),
        ({"tag_noun": "[" * 5000}, "tags", "..."),
        ({"clip_end": "2.5"}, "interval", "clip_start 2.96765, clip_end 2.5"),
        ({"clip_start": "-3", "clip_end": "-1"}, "interval", "-1"),
        ({"clip_start": "nan"}, "number", "clip_start is 'nan'"),
        ({"video_dur": ""}, "number", "video_dur is ''"),
        ({"clip_text": " "}, "text", "clip_text"),
        ({"video_uid": ""}, "text", "video_uid"),
        ({"clip_idx": "0", "clip_text": "other"}, "duplicate", "clip_idx 0 stands before"),
        ({}, "duplicate", "001e3e4e at 2.96765 s stands before"),
        ({"video_dur": "44", "clip_text": "other"}, "duration", "lasts 44 s, before 128.033 s"),
        ("one\ttwo", "columns", "2 values, expected 11"),
        ("", "columns", "1 values"),
    ],
)
def test_a_bad_line_is_left_out_and_counted(
    tmp_path: Path, change: dict[str, str] | str, reason: str, detail: str
) -> None:
    last = {"clip_text": "#C C walks", "clip_start": "9", "clip_end": "9"}
    found = load_egoclip(write(tmp_path, {}, change, last))
    assert [clip.clip_text for clip in found.clips] == [GOOD["clip_text"], "#C C walks"]
    (skipped,) = found.skipped
    assert (skipped.where, skipped.reason) == ("line 3", reason)
    assert detail in skipped.detail
    assert f"1 lines left out (1 {reason}; the first: line 3" in found.report()


def test_what_is_unusual_but_sound_is_kept(tmp_path: Path) -> None:
    words = " ".join(f"word{n}" for n in range(10_000))
    found = load_egoclip(
        write(
            tmp_path,
            {"clip_text": words},
            {"clip_text": '#C C says "hello', "tag_verb": "[]"},
            {"clip_text": '"#C C says ""hello"""'},
            {"clip_text": '"yes" and "no"'},
            {"clip_text": "#C C schält\x0c\x85 Äpfel"},
            {"clip_start": "-0.5", "clip_text": "a"},
            {"clip_start": "3.721266", "clip_text": "b"},
        )
    )
    assert found.skipped == ()
    texts = [clip.clip_text for clip in found.clips]
    assert texts[0] == words and len(clean_caption(texts[0]).split()) == 10_000
    assert texts[1:5] == [
        '#C C says "hello', '#C C says "hello"', '"yes" and "no"', "#C C schält\x0c\x85 Äpfel",
    ]  # fmt: skip
    assert found.clips[1].tag_verb == ()
    assert (found.clips[5].clip_start, found.clips[6].clip_start) == (0.0, found.clips[6].clip_end)


def test_windows_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = write(tmp_path, {})
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert load_egoclip(path).clips[0].tag_noun == (192, 115, 12)


def test_a_file_that_is_wrong_as_a_whole(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"none.csv: no such file"):
        load_egoclip(tmp_path / "none.csv")
    path = write(tmp_path, {"tag_verb": "x"})
    with pytest.raises(AnnotationError, match=r"egoclip.csv: not one clip; .*1 tags"):
        load_egoclip(path)
    path.write_text(path.read_text().replace("\t", ","))
    with pytest.raises(AnnotationError, match="parted by TAB"):
        load_egoclip(path)
    path.write_text(write(tmp_path, {}).read_text().replace("tag_noun", "nouns"))
    with pytest.raises(AnnotationError, match="no column tag_noun; it has clip_idx"):
        load_egoclip(path)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    clips = load_egoclip(write(tmp_path, {}, {"clip_text": 'a "b" c', "tag_verb": "[]"})).clips
    (tmp_path / "again.csv").write_bytes(egoclip_bytes(clips))
    assert load_egoclip(tmp_path / "again.csv").clips == clips
    with pytest.raises(AnnotationError, match="TAB"):
        egoclip_bytes([EgoClip(0, "u", 1.0, "s", 0, 0.0, 0.0, 1.0, "a\tb", (), ())])
