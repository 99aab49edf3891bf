"""``svitt ego evaluate``: on chunked videos of this test, by models whose answers are known and real ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from svitt.cli import main
from svitt.commands import ego
from svitt.commands.search import default_checkpoint
from svitt.data.annotations.egoclip import EgoClip
from svitt.data.annotations.egomcq import EgoQuestion, egomcq_bytes
from svitt.data.worlds.files import encode_mp4
from svitt.integrations.similarity import SUPPORTED
from tests.commands.test_probe import save_other

FPS, SECONDS, LAYOUT = 5, 4, "4,number"
GREYS = tuple(range(20, 240, 20))  # a moment of two seconds each; the clip's narration is its grey


class ByGrey:
    """Knows the grey that a text asks for. asked: every call's number of clips and its text."""

    num_frames, image_size = 4, 16

    def __init__(self, sign: float = 1.0) -> None:
        self.sign = sign
        self.asked: list[tuple[int, str]] = []

    def similarity(self, clips: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        self.asked.append((len(clips), texts[0]))
        means = clips.reshape(len(clips), -1).mean(axis=1)
        wanted = np.array([float(text.split()[-1]) for text in texts])
        return -self.sign * np.abs(means[:, None] - wanted)


def moment(uid: str, place: int) -> EgoClip:
    grey = GREYS[place] + (5 if uid == "b" else 0)
    start = 2.0 * place
    return EgoClip(
        place,
        uid,
        22.0,
        "narration_pass_1",
        place,
        start + 1,
        start,
        start + 2,
        f"C sees {grey}",
        (0,),
        (place,),
    )


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of 22 s in chunks of four seconds, and questions about moments in one or in both of them."""
    folder = tmp_path_factory.mktemp("ego")
    for uid in "ab":
        greys = np.repeat([int(moment(uid, place).clip_text.split()[-1]) for place in range(11)], 2 * FPS)
        frames = np.broadcast_to(greys[:, None, None, None].astype(np.uint8), (len(greys), 16, 16, 3))
        (folder / uid).mkdir()
        step = SECONDS * FPS
        for number in range(0, len(frames), step):
            chunk = encode_mp4(np.ascontiguousarray(frames[number : number + step]), FPS)
            (folder / uid / f"{number // step}.mp4").write_bytes(chunk)
    questions = []
    for place in range(6):
        for types, uids in ((2, "aaaaa"), (1, "ababa")):
            choices = tuple(moment(uid, (place + k) % 11) for k, uid in enumerate(uids))
            name = str(len(questions))
            questions.append(EgoQuestion(name, choices[place % 5], choices, place % 5, types))
    (folder / "egomcq.json").write_bytes(egomcq_bytes(questions))
    return folder


def evaluate(videos: Path, *more: str) -> int:
    arguments = ["--mcq", str(videos / "egomcq.json"), "--videos", str(videos), "--layout", LAYOUT]
    return main(["ego", "evaluate", *arguments, "--checkpoint", "given", *more])


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> ByGrey:
    given = ByGrey()
    monkeypatch.setattr(ego, "open_similarity", lambda *args: given)
    return given


def test_a_model_that_knows_is_right_everywhere(
    videos: Path, model: ByGrey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(videos, "--out", str(tmp_path / "new"), "--worst", "2") == 0
    printed = capsys.readouterr().out
    assert "6 inter_video and 6 intra_video questions" in printed
    assert "inter_video  100.0%" in printed and "intra_video  100.0%" in printed
    summary = json.loads((tmp_path / "new" / "summary.json").read_text())
    assert summary["accuracy"]["intra_video"]["questions"] == 6
    assert summary["accuracy"]["inter_video"]["videos"] == 2
    assert [clips for clips, _ in model.asked] == [5] * 12
    assert len(list((tmp_path / "new").glob("worst_0[12]_question_*.png"))) == 2


def test_a_model_that_knows_the_contrary_is_never_right(
    videos: Path, model: ByGrey, capsys: pytest.CaptureFixture[str]
) -> None:
    model.sign = -1
    assert evaluate(videos) == 0
    assert capsys.readouterr().out.count("  0.0%  [0.0, 0.0]") == 2


def test_an_interrupted_run_goes_on(videos: Path, model: ByGrey, tmp_path: Path) -> None:
    assert evaluate(videos, "--out", str(tmp_path)) == 0
    file = tmp_path / "answers.jsonl"
    whole = file.read_text()
    lines = whole.splitlines(keepends=True)
    file.write_text("".join(lines[:5]) + lines[5][:10])  # killed while the sixth line was written
    model.asked.clear()
    assert evaluate(videos, "--out", str(tmp_path)) == 0
    assert len(model.asked) == 12 - 4
    assert file.read_text() == whole


def test_answers_of_another_run_are_not_taken(
    videos: Path, model: ByGrey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(videos, "--out", str(tmp_path)) == 0
    model.num_frames = 2
    assert evaluate(videos, "--out", str(tmp_path)) == 2
    assert "holds other answers (different: frames)" in capsys.readouterr().err


def test_questions_about_a_missing_chunk_are_left_out_and_said(
    videos: Path, model: ByGrey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    for path in videos.rglob("*.*"):
        if path.is_file() and path.relative_to(videos) != Path("a/0.mp4"):
            (copy / path.relative_to(videos)).parent.mkdir(parents=True, exist_ok=True)
            (copy / path.relative_to(videos)).write_bytes(path.read_bytes())
    assert evaluate(copy, "--out", str(tmp_path / "out")) == 1
    printed = capsys.readouterr()
    assert "intra_video  100.0%" in printed.out and "4 questions of 1 videos" in printed.out
    assert "question 0 not asked" in printed.err and "0.mp4 is missing" in printed.err
    failed = json.loads((tmp_path / "out" / "summary.json").read_text())["not_asked"]
    assert sorted(map(int, failed)) == [0, 1, 2, 3]  # moments 0 and 1 of video a are gone


def test_nothing_to_ask_is_an_error(
    videos: Path, model: ByGrey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--mcq", str(videos / "egomcq.json"), "--videos", str(tmp_path), "--layout", LAYOUT]
    assert main(["ego", "evaluate", *arguments, "--checkpoint", "given"]) == 2
    assert "not one question could be asked" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--frames", "0"], "--frames = 0"),
        (["--worst", "3"], "--out = None"),
        (["--worst", "-1"], "--worst = -1"),
    ],
)
def test_wrong_calls_are_told(
    videos: Path, model: ByGrey, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(videos, *more) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("layout", ["600", "0,number", "8,nothing"])
def test_unknown_layouts_are_told(videos: Path, layout: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        evaluate(videos, "--layout", layout)
    assert "expected egovlp, lavila, or e.g. 8,number" in capsys.readouterr().err


def test_own_checkpoint_and_clip_answer_too(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = [str(save_other(kind, tmp_path / kind)) for kind in ("clip", "xclip")]
    for checkpoint in (str(default_checkpoint()), *others):
        out = tmp_path / f"out-{Path(checkpoint).name}"
        assert evaluate(videos, "--checkpoint", checkpoint, "--out", str(out)) == 0, checkpoint
        summary = json.loads((out / "summary.json").read_text())
        assert 0 <= summary["accuracy"]["inter_video"]["accuracy"] <= 1
        assert summary["checkpoint"].startswith(f"{Path(checkpoint).name}@")
    assert evaluate(videos, "--checkpoint", str(tmp_path / "nothing")) == 2
    assert SUPPORTED[0] in capsys.readouterr().err
