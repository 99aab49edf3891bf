"""The grid, its execution, and ``svitt run``."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import psutil
import pytest

from svitt.batch.batch import THREAD_VARIABLES, run_batch
from svitt.batch.grid import (
    build_grid,
    chapter_names,
    check_parameters,
    notebook_of,
    parse_seeds,
    parse_shard,
    seconds,
    select_chapters,
)
from svitt.cli import main
from svitt.errors import ConfigError
from svitt.records.workspace import Workspace
from tests.batch.fake_book import fake_checkout, toy_chapter, write_chapter

DRIVER = """
import signal
import sys
from pathlib import Path
from svitt.batch.batch import run_batch, terminable
from svitt.batch.grid import build_grid, parse_seeds
from svitt.records.workspace import Workspace
from tests.batch.fake_book import toy_chapter

# A shell script's background command, as CI may be, starts with SIGINT ignored: Ctrl-C is wanted here.
signal.signal(signal.SIGINT, signal.default_int_handler)
root, seeds, jobs = Path(sys.argv[1]), parse_seeds(sys.argv[2]), int(sys.argv[3])
grid = build_grid([toy_chapter(root / "book")], "smoke", seeds, "cpu", str(root / "out"))
with terminable():
    for outcome in run_batch(grid, Workspace.open(root / "out"), jobs):
        print(outcome.status)
"""


def ran(root: Path) -> list[int]:
    file = root / "out" / "runs" / "ran"
    return sorted(map(int, file.read_text().split())) if file.exists() else []


def wait_for(condition: str, found: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not found():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"{condition} not seen in {seconds} s"
        time.sleep(0.05)


def start_driver(root: Path, seeds: str, jobs: int) -> subprocess.Popen[str]:
    (root / "driver.py").write_text(DRIVER)
    repository = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, str(root / "driver.py"), str(root), seeds, str(jobs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(repository)},
        start_new_session=True,
    )


@pytest.mark.slow
def test_one_of_six_fails_and_a_rerun_does_only_that_one(tmp_path: Path) -> None:
    chapter = toy_chapter(tmp_path / "book")
    workspace = Workspace.open(tmp_path / "out")
    jobs = build_grid([chapter], "smoke", range(6), "cpu", str(tmp_path / "out"))
    (workspace.runs / "break3").touch()

    outcomes = run_batch(jobs, workspace, processes=2, progress=False)
    assert [o.status for o in outcomes] == ["finished"] * 3 + ["failed"] + ["finished"] * 2
    assert ran(tmp_path) == [0, 1, 2, 3, 4, 5]
    failed = outcomes[3]
    assert failed.error == "ValueError: broken on purpose at seed 3"
    assert failed.notebook.name == "seed3.failed.ipynb"
    cells = nbformat.read(failed.notebook, as_version=4).cells
    assert any(o.output_type == "error" for c in cells for o in c.get("outputs", []))
    folder = failed.notebook.parent
    assert folder == workspace.runs / "notebooks" / "smoke" / "01_toy"
    good = {f"seed{k}.{end}" for k in (0, 1, 2, 4, 5) for end in ("ipynb", "log")}
    assert {p.name for p in folder.glob("[!.]*")} == good | {"seed3.failed.ipynb", "seed3.log"}
    printed = nbformat.read(outcomes[2].notebook, as_version=4).cells[-1].outputs[0].text
    assert printed == "smoke 2 1 book\n", "its parameters, one thread, in the notebook's folder"
    assert "smoke 2 1 book" in (folder / "seed2.log").read_text()

    (workspace.runs / "break3").unlink()
    again = run_batch(jobs, workspace, processes=2, progress=False)
    assert [o.status for o in again] == ["reused"] * 3 + ["finished"] + ["reused"] * 2
    assert ran(tmp_path) == [0, 1, 2, 3, 3, 4, 5]
    assert not failed.notebook.exists()

    # What the notebook had recorded counts: without it the job is not finished.
    jobs[4].record(workspace).unlink()
    third = run_batch(jobs, workspace, processes=2, progress=False)
    assert [o.status for o in third] == ["reused"] * 4 + ["finished"] + ["reused"]


@pytest.mark.slow
def test_killed_batch_leaves_no_process_and_a_rerun_repeats_nothing_finished(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "out")
    (workspace.runs / "wait1").touch()
    driver = start_driver(tmp_path, "0-1", 2)
    first = workspace.runs / "notebooks" / "smoke" / "01_toy" / "seed0.ipynb"
    wait_for("seed 0 finished, seed 1 running", lambda: first.exists() and ran(tmp_path) == [0, 1])
    children = psutil.Process(driver.pid).children(recursive=True)
    assert len(children) >= 2, "the worker of seed 1 and its kernel"
    driver.kill()
    driver.wait()
    assert psutil.wait_procs(children, timeout=10)[1] == [], "nothing goes on in the background"

    (workspace.runs / "wait1").unlink()
    again = start_driver(tmp_path, "0-1", 2)
    out, error = again.communicate(timeout=60)
    assert (again.returncode, out.split()) == (0, ["reused", "finished"]), error
    assert ran(tmp_path) == [0, 1, 1]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, -2), (signal.SIGTERM, 143)])
def test_interrupted_batch_ends_its_processes(tmp_path: Path, number: signal.Signals, status: int) -> None:
    workspace = Workspace.open(tmp_path / "out")
    (workspace.runs / "wait0").touch()
    driver = start_driver(tmp_path, "0", 1)
    wait_for("seed 0 running", lambda: ran(tmp_path) == [0])
    children = psutil.Process(driver.pid).children(recursive=True)
    driver.send_signal(number)
    _, error = driver.communicate(timeout=60)
    # The bare driver dies of KeyboardInterrupt (-2); `svitt` turns that into 130, see the next test.
    assert driver.returncode == status, error
    assert psutil.wait_procs(children, timeout=0)[1] == []
    folder = workspace.runs / "notebooks" / "smoke" / "01_toy"
    assert [p.name for p in folder.glob("[!.]*")] == ["seed0.log"]


def test_interrupt_is_exit_status_130(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_checkout(tmp_path, monkeypatch)

    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("svitt.commands.run.run_batch", interrupted)
    assert main(["run", "01", "--scale", "smoke"]) == 130


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["03", "--scale", "smoke"], "unknown chapter '03'"),
        (["01_toi", "--scale", "smoke"], "did you mean '01_toy'?"),
        (["all", "--scale", "cpuu"], "01_toy: unknown scale 'cpuu'; did you mean 'cpu'?"),
        (["01", "--scale", "smoke", "--seeds", "4-0"], "seeds = '4-0'"),
        (["01", "--scale", "smoke", "--shard", "3/2"], "shard = '3/2'"),
        (["01", "--scale", "smoke", "--jobs", "0"], "jobs = 0"),
    ],
)
def test_command_refuses_before_anything_runs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    root = fake_checkout(tmp_path, monkeypatch)
    assert main(["run", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not (root / "runs" / "notebooks").exists()


def test_command_refuses_a_notebook_without_the_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = fake_checkout(tmp_path, monkeypatch)
    write_chapter(
        root / "book", "02_other", parameters='scale = "smoke"\nseeds = 0\ndevice = "cpu"\nout_dir = ""'
    )
    assert main(["run", "all", "--scale", "smoke"]) == 2
    error = capsys.readouterr().err
    assert "02_other.ipynb: no parameter 'seed'; did you mean 'seeds'?" in error
    assert not (root / "runs").exists()


def test_print_commands_and_shards_cover_the_grid_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_checkout(tmp_path, monkeypatch)
    arguments = ["run", "all", "--scale", "cpu", "--out", "my runs", "--print-commands"]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[1] == f"svitt run 01_toy --scale cpu --seeds 1 --device cpu --out '{Path.cwd() / 'my runs'}'"
    parts = []
    for shard in ("1/4", "2/4", "3/4", "4/4"):
        assert main([*arguments, "--shard", shard]) == 0
        parts += capsys.readouterr().out.splitlines()
    assert sorted(parts) == sorted(lines)


def test_command_reports_failures_in_its_exit_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A worker that dies at once (its interpreter does not start) is a failed job, not a lost one."""
    root = fake_checkout(tmp_path, monkeypatch)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert main(["run", "01", "--scale", "smoke", "--seeds", "0,1", "--jobs", "2"]) == 1
    captured = capsys.readouterr()
    assert "0 read from the record, 0 measured, 2 failed" in captured.out
    assert "FAILED 01_toy smoke seed 1: its process ended with status 1" in captured.out
    assert str(root / "runs" / "notebooks" / "smoke" / "01_toy" / "seed1.log") in captured.out


def test_key_follows_source_parameters_and_code_only(tmp_path: Path) -> None:
    chapter = toy_chapter(tmp_path / "book")
    job = build_grid([chapter], "smoke", [0], "cpu", "")[0]
    key = job.key()
    assert replace(job, out_dir="/elsewhere").key() == key
    notebook = json.loads(chapter.path.read_text())
    notebook["cells"][2]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "hello"}]
    notebook["cells"][2]["execution_count"] = 7
    chapter.path.write_text(json.dumps(notebook))
    assert job.key() == key, "outputs do not count"
    others = {
        replace(job, seed=1).key(),
        replace(job, scale="cpu").key(),
        replace(job, device="cuda").key(),
        replace(job, chapter=replace(chapter, code="other")).key(),
    }
    notebook["cells"][2]["source"] += "\n1 + 1"
    chapter.path.write_text(json.dumps(notebook))
    assert len(others | {key, job.key()}) == 6


@pytest.mark.parametrize(
    ("text", "seeds"), [("0-4", (0, 1, 2, 3, 4)), ("0,2", (0, 2)), ("3", (3,)), ("2,0-1,1", (0, 1, 2))]
)
def test_seeds(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "1-", "3-1", "-1", "1;2"])
def test_bad_seeds(text: str) -> None:
    with pytest.raises(ConfigError, match="write 0-4"):
        parse_seeds(text)


def test_shard() -> None:
    assert parse_shard("2/5") == (2, 5)
    for text in ("0/2", "3/2", "1", "a/b"):
        with pytest.raises(ConfigError, match="write I/N"):
            parse_shard(text)


def test_chapters_are_found_by_number_name_and_file(tmp_path: Path) -> None:
    names = ["01_frame_shuffle", "02_space_time"]
    for want in ("01", "frame_shuffle", "01_frame_shuffle", "book/01_frame_shuffle.ipynb"):
        assert select_chapters(names, [want]) == ["01_frame_shuffle"]
    assert select_chapters(names, ["01_frame_shuffle_more"]) == ["01_frame_shuffle"]
    assert notebook_of("01_frame_shuffled", names) is None
    assert select_chapters(names, ["02", "all"]) == names
    with pytest.raises(ConfigError, match="no chapter"):
        chapter_names(tmp_path)


def test_defaults_of_the_parameters_are_read(tmp_path: Path) -> None:
    defaults = {"scale": "smoke", "seed": 0, "device": "cpu", "out_dir": ""}
    assert check_parameters(write_chapter(tmp_path)) == defaults
    path = write_chapter(tmp_path, parameters='scale = "cpu"\nseed = 1 + 2\ndevice = "cpu"\nout_dir = ""')
    with pytest.raises(ConfigError, match=r"parameter seed = 1 \+ 2; write a plain value"):
        check_parameters(path)


def test_number_of_threads_is_set_for_the_usual_libraries() -> None:
    assert {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"} <= set(THREAD_VARIABLES)


def test_a_torn_notebook_is_one_failure_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a full disk or a killed process leaves it: before the batch, and by one of its jobs."""
    root = fake_checkout(tmp_path, monkeypatch, "01_toy")
    write_chapter(
        root / "book",
        work="""
from pathlib import Path
from svitt.records.workspace import Workspace
places = Workspace.open(out_dir)
if seed == 1:
    torn = places.runs / "notebooks" / scale / "01_toy" / "seed1.part.ipynb"
    torn.write_text('{"cells": [')
    import os, signal
    os.kill(os.getppid(), signal.SIGKILL)
""",
    )
    folder = root / "runs" / "notebooks" / "smoke" / "01_toy"
    folder.mkdir(parents=True)
    (folder / "seed0.ipynb").write_text('{"cells": [')
    assert main(["run", "01", "--scale", "smoke", "--seeds", "0-2", "--jobs", "2"]) == 1
    captured = capsys.readouterr()
    assert "seed0.ipynb is damaged and will be executed again" in captured.err
    assert "FAILED 01_toy smoke seed 1" in captured.out
    assert "2 measured, 1 failed" in captured.out
    assert nbformat.read(folder / "seed0.ipynb", as_version=4).cells


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from svitt.batch import batch

    failed = tmp_path / "seed0.failed.ipynb"
    failed.write_text('{"cells": [')
    assert batch._error(failed, 1) == "its notebook is torn"
    (tmp_path / "seed0.log").write_text("OSError: [Errno 28] No space left on device: 'x'")
    assert "no space left on the disk of" in batch._error(failed, 1)
    failed.unlink()
    assert "no space left on the disk of" in batch._error(failed, 1)


@pytest.mark.parametrize("device", ["../x", "gpu", "cuda:99"])
def test_a_device_that_there_is_not_is_refused_before_a_kernel_starts(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = fake_checkout(tmp_path, monkeypatch, "01_toy")
    assert main(["run", "01", "--scale", "smoke", "--device", device]) == 2
    assert f"device = {device!r}" in capsys.readouterr().err
    assert not list(root.rglob("*.log"))


@pytest.mark.slow
def test_a_time_limit_ends_what_runs_and_keeps_what_is_finished(tmp_path: Path) -> None:
    chapter = toy_chapter(tmp_path / "book")
    workspace = Workspace.open(tmp_path / "out")
    jobs = build_grid([chapter], "smoke", range(3), "cpu", str(tmp_path / "out"))
    assert run_batch(jobs[:1], workspace, progress=False)[0].status == "finished"
    (workspace.runs / "wait1").touch()
    seen: list[str] = []
    outcomes = run_batch(
        jobs, workspace, 1, progress=False, time_limit=6, on_outcome=lambda o: seen.append(o.status)
    )
    assert [o.status for o in outcomes] == ["reused", "unfinished", "unfinished"] and not seen
    assert not psutil.Process().children(recursive=True)
    (workspace.runs / "wait1").unlink()
    again = run_batch(
        jobs, workspace, 2, progress=False, time_limit=600, on_outcome=lambda o: seen.append(o.status)
    )
    assert [o.status for o in again] == ["reused", "finished", "finished"]
    assert seen == ["finished", "finished"]


@pytest.mark.parametrize(("text", "found"), [("90s", 90), ("8m", 480), ("1.5h", 5400), (None, None)])
def test_time_limits_are_read(text: str | None, found: float | None) -> None:
    assert seconds(text) == found


@pytest.mark.parametrize("text", ["8", "m", "0m", "8 minutes", "-1m"])
def test_a_time_limit_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="write 90s, 8m or 2h"):
        seconds(text)
