"""``svitt run``: every record set of a chapter counts; what is measured without a notebook."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from svitt.batch.batch import command_line
from svitt.batch.grid import Chapter, Job
from svitt.cli import main
from svitt.commands import run
from svitt.commands.chapters import jobs_without_notebooks, load_chapters
from svitt.records.attempts import read_attempts
from svitt.records.code_hash import code_hash
from svitt.records.entry_points import entry_point
from svitt.records.record import read_outcomes, read_record, write_record
from svitt.records.workspace import project_root

ROOT = Path(__file__).parents[2]
CPU = ROOT / "data" / "results" / "cpu"


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[Job]]:
    """A workspace with the committed records of chapters 4 and 7; nothing is run, the jobs are noted."""
    fourth = ("04_node_sparsity", "04_node_sparsity_movers", "04_node_sparsity_merging")
    for name in (*fourth, "07_curriculum", "07_curriculum_tuning"):
        shutil.copytree(CPU / name, tmp_path / "results" / "cpu" / name)
    shutil.copytree(CPU.parent / "code", tmp_path / "results" / "code")
    jobs: list[Job] = []

    def noted(wanted: list[Job], *rest: Any, **options: Any) -> list[Any]:
        jobs.extend(wanted)
        return []

    monkeypatch.setattr(run, "run_batch", noted)
    monkeypatch.setattr(run, "require_clean", lambda scale, root: None)
    monkeypatch.chdir(ROOT)
    return tmp_path, jobs


def left(workspace: Path, name: str) -> list[int]:
    return sorted(int(p.stem[4:]) for p in (workspace / "results" / "cpu" / name).glob("seed*.json"))


def test_a_chapter_makes_the_sets_that_its_notebook_imports_and_no_other() -> None:
    """A set whose page is not written yet is run by its name; `make book` does not wait for its records."""
    book = project_root() / "book"
    further = {chapter.name: set(chapter.further) for chapter in load_chapters(book, ["all"])}
    assert further["04_node_sparsity"] == {"04_node_sparsity_movers", "04_node_sparsity_merging"}
    assert further["07_curriculum"] == {"07_curriculum_tuning"}
    assert further["01_frame_shuffle"] == set()
    jobs = jobs_without_notebooks(book, ["01_frame_shuffle_dial"], "cpu", [5, 6], "cpu", "")
    assert [(job.chapter.name, job.seed) for job in jobs] == [
        ("01_frame_shuffle_dial", seed) for seed in (5, 6)
    ]


def test_a_chapter_records_its_further_sets_with_its_seed_or_with_their_own() -> None:
    further = {"01_toy_more": {"cpu": (0, 1)}, "01_toy_tuning": {"cpu": (1000, 1001)}}
    chapter = Chapter(Path("01_toy.ipynb"), "c0de", {"cpu": (0, 1)}, further)
    tuning = [("01_toy_tuning", 1000), ("01_toy_tuning", 1001)]
    assert chapter.recorded("cpu", 1) == [("01_toy", 1), ("01_toy_more", 1), *tuning]
    assert chapter.recorded("cpu", 9) == [("01_toy", 9), ("01_toy_more", 9), *tuning]
    assert chapter.recorded("smoke", 0) == [("01_toy", 0)]


def test_rerun_gives_up_the_records_of_every_set_of_a_chapter(copied: tuple[Path, list[Job]]) -> None:
    out, jobs = copied
    assert main(["run", "04", "--scale", "cpu", "--seeds", "3", "--rerun", "--out", str(out)]) == 0
    for more in ("", "_movers", "_merging"):
        assert left(out, f"04_node_sparsity{more}") == [0, 1, 2, 4]
    assert main(["run", "07", "--scale", "cpu", "--seeds", "0", "--rerun", "--out", str(out)]) == 0
    assert left(out, "07_curriculum") == [1, 2, 3, 4] and left(out, "07_curriculum_tuning") == []
    given_up = [(line.record_set, line.seed) for line in read_attempts(out / "results")]
    assert given_up == [
        ("04_node_sparsity", 3),
        ("04_node_sparsity_merging", 3),
        ("04_node_sparsity_movers", 3),
        ("07_curriculum", 0),
        ("07_curriculum_tuning", 1000),
        ("07_curriculum_tuning", 1001),
    ]
    assert [job.chapter.record_set for job in jobs] == ["", ""]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--time-limit", "8"], "write 90s, 8m or 2h"),
        (["--jobs", "0"], "jobs = 0"),
        (["--threads", "0"], "threads = 0"),
        (["--device", "gpu"], "device = 'gpu'"),
        (["--captured"], "--captured = True is out of range"),
        (["--stack"], "--stack = True is out of range"),
        (["--stack", "--record-only"], "04_node_sparsity has no models that are trained as a stack"),
        (["--stack", "--record-only", "--shard", "1/2"], "--shard = '1/2' is out of range"),
    ],
)
def test_a_wrong_call_gives_up_no_record(
    wrong: list[str], said: str, copied: tuple[Path, list[Job]], capsys: pytest.CaptureFixture[str]
) -> None:
    out, jobs = copied
    assert main(["run", "04", "--scale", "cpu", "--rerun", "--out", str(out), *wrong]) == 2
    assert said in capsys.readouterr().err
    assert left(out, "04_node_sparsity") == [0, 1, 2, 3, 4] and not jobs


def test_models_trained_otherwise_are_not_recorded_beside_others(
    copied: tuple[Path, list[Job]], capsys: pytest.CaptureFixture[str]
) -> None:
    out, jobs = copied
    call = ["run", "04", "--scale", "cpu", "--record-only", "--captured"]
    assert main([*call, "--seeds", "0-9", "--out", str(out)]) == 2
    assert "plain: seeds [0, 1, 2, 3, 4]; --captured: now" in capsys.readouterr().err and not jobs
    assert main([*call, "--seeds", "1", "--fresh", str(out / "new")]) == 0
    assert {(job.chapter.name, job.training.step) for job in jobs} == {
        (f"04_node_sparsity{more}", "captured") for more in ("", "_movers", "_merging")
    }
    line = command_line(jobs[0])
    assert "--record-only --captured" in line


def test_a_stack_is_of_the_seeds_that_are_asked_for_and_not_recorded_in_another(
    copied: tuple[Path, list[Job]], capsys: pytest.CaptureFixture[str]
) -> None:
    out, jobs = copied
    call = ["run", "01", "--scale", "cpu", "--record-only", "--stack", "--out", str(out)]
    assert main([*call, "--seeds", "0-2"]) == 0
    assert [(job.seed, job.training.stacked) for job in jobs] == [(s, (0, 1, 2)) for s in (0, 1, 2)]
    (committed,) = (CPU / "01_frame_shuffle").glob("seed1.json")
    outcomes = read_outcomes(committed)
    place = out / "results" / "cpu" / "01_frame_shuffle" / "seed1.json"
    for stacked, rest in (((0, 1, 2), (0, 1, 2)), ((1, 7), (0, 2))):
        training = jobs[0].training.model_copy(update={"stacked": stacked})
        code = code_hash(entry_point("01_frame_shuffle")).hash  # of a record made now
        now = read_record(committed).model_copy(update={"training": training, "code_hash": code})
        write_record(out / "results", now, outcomes)
        jobs.clear()
        assert main([*call, "--seeds", "0-2"]) == 0
        assert [(job.seed, job.training.stacked) for job in jobs] == [(0, rest), (2, rest)]
        place.unlink()
    assert "1 seeds read from the record" in capsys.readouterr().out


def test_the_way_out_of_a_stale_further_set_measures_that_set_alone(
    copied: tuple[Path, list[Job]], capsys: pytest.CaptureFixture[str]
) -> None:
    """As ``require_current`` prints it."""
    out, jobs = copied
    command = ["run", "07_curriculum_tuning", "--scale", "cpu", "--seeds", "1001", "--rerun"]
    assert main([*command, "--out", str(out)]) == 0
    assert left(out, "07_curriculum_tuning") == [1000] and left(out, "07_curriculum") == [0, 1, 2, 3, 4]
    assert [(job.chapter.name, job.seed, job.chapter.record_set) for job in jobs] == [
        ("07_curriculum_tuning", 1001, "07_curriculum_tuning")
    ]
    printed = capsys.readouterr().out
    assert "07_curriculum_tuning, scale cpu: 0 seeds read from the record, 1 to measure (about" in printed


def test_the_price_names_every_record_set(
    copied: tuple[Path, list[Job]], capsys: pytest.CaptureFixture[str]
) -> None:
    out, jobs = copied
    (out / "results" / "cpu" / "04_node_sparsity_movers" / "seed2.json").unlink()
    assert main(["run", "04", "--scale", "cpu", "--out", str(out), "--record-only"]) == 0
    printed = capsys.readouterr().out
    assert "04_node_sparsity, scale cpu: 5 seeds read from the record\n" in printed
    assert "04_node_sparsity_movers, scale cpu: 4 seeds read from the record, 1 to measure (about" in printed
    assert [(job.chapter.name, job.seed) for job in jobs] == [("04_node_sparsity_movers", 2)]
    assert main(["run", "04", "--scale", "cpu", "--out", str(out), "--record-only", "--print-commands"]) == 0
    line = capsys.readouterr().out
    assert line.startswith("svitt run 04_node_sparsity_movers --scale cpu --seeds 2 --device cpu --record-")


@pytest.mark.slow
def test_own_settings_are_measured_apart_and_shown_beside_the_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = "attention_frames=(2,), encoder_frames=(2,), memory_frames=(), counted_frames=(4, 8)"
    small += ", attention_repeats=1, encoder_repeats=(1,)"
    call = ["run", "05", "--scale", "smoke", "--out", str(tmp_path), "--changes", small]
    assert main(call) == 0
    printed = capsys.readouterr().out
    assert "0 read from the record, 1 measured, 0 failed" in printed
    assert "encoder/edges/8/flop_ratio" in printed
    (path,) = tmp_path.glob("results/custom-*/05_efficiency/seed0.json")
    record = read_record(path)
    assert record.scale.startswith("custom-") and record.rule_hashes == {}
    assert record.parameters["counted_frames"] == [4, 8]
    assert not list(tmp_path.glob("**/*.ipynb")) and not (tmp_path / "results" / "attempts.jsonl").exists()
    assert main(call) == 0
    assert "1 read from the record, 0 measured" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "said"),
    [("frames=(4,)", "did you mean 'bias_frames'"), ("heads='two'", "heads"), ("heads", "cannot be read")],
)
def test_wrong_settings_are_refused_before_anything_runs(
    changes: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "05", "--scale", "smoke", "--out", str(tmp_path), "--changes", changes]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.log"))
