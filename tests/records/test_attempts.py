"""What happened to every attempt, and whether a record is current."""

from __future__ import annotations

import multiprocessing
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from svitt.errors import ConfigError, RecordError
from svitt.experiments import base
from svitt.experiments.own_settings import changed_settings, custom_scale, parsed_changes
from svitt.experiments.shared.one_object_model import SCALES
from svitt.ledger.verdicts import ledger
from svitt.records.attempts import Attempt, append, attempt, attempts_path, read_attempts, unfinished_seconds
from svitt.records.currency import same_settings
from svitt.records.record import read_record, write_record

ABOUT: dict[str, Any] = {
    "record_set": "01_frame_shuffle",
    "scale": "cpu",
    "seed": 3,
    "commit": "a" * 40,
    "code_hash": "c0de",
}


def test_a_finished_a_failed_and_an_interrupted_attempt_leave_their_lines(tmp_path: Path) -> None:
    clock = iter(range(100))
    with attempt(tmp_path, lambda: float(next(clock)), **ABOUT):
        pass
    with pytest.raises(ZeroDivisionError), attempt(tmp_path, lambda: float(next(clock)), **ABOUT):
        raise ZeroDivisionError("by zero")
    with pytest.raises(KeyboardInterrupt), attempt(tmp_path, lambda: float(next(clock)), **ABOUT):
        raise KeyboardInterrupt
    lines = read_attempts(tmp_path)
    assert [line.event for line in lines] == [
        "started",
        "finished",
        "started",
        "failed",
        "started",
        "interrupted",
    ]
    assert lines[0].id == lines[1].id != lines[2].id
    assert lines[3].reason == "ZeroDivisionError: by zero" and lines[3].cpu_seconds == 1.0
    # What came to no record adds to the cost of the record that comes at last.
    assert unfinished_seconds(tmp_path, "01_frame_shuffle", "cpu", 3, "c0de") == 2.0
    assert unfinished_seconds(tmp_path, "01_frame_shuffle", "cpu", 3, "other") == 0.0


def _append_many(results: Path, number: int) -> None:
    for i in range(20):
        append(results, Attempt(id=f"{number}-{i}", event="started", time="t", **ABOUT))


def test_no_line_is_lost_between_processes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_append_many, args=(tmp_path, n)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len({line.id for line in read_attempts(tmp_path)}) == 60


@pytest.mark.parametrize("line", ["{", '{"id": "x"}', "[]", '{"id": "x", "id": "y"}'])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    append(tmp_path, Attempt(id="x", event="started", time="t", **ABOUT))
    with attempts_path(tmp_path).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(RecordError, match="line 2: no attempt"):
        read_attempts(tmp_path)


def toy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Chapter 1 with another ``measure``: quick, and it says how often it ran."""
    calls: list[int] = []

    def measure(settings: Any, seed: int, device: str, workspace: Any) -> base.Measurement:
        calls.append(seed)
        return base.Measurement({"x": float(seed)}, {"x": np.array([seed, settings.draws])})

    monkeypatch.setattr(base, "require_clean", lambda scale, root: None)
    about: dict[str, Any] = {"CHAPTER": "01_frame_shuffle", "SCALES": SCALES, "TIMED": ()}
    return SimpleNamespace(**about, measure=measure, calls=calls)


def test_a_stale_record_is_not_measured_again_without_being_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = toy(monkeypatch)
    assert base.ensure(experiment, "cpu", 0, out_dir=str(tmp_path))[1]
    assert not base.ensure(experiment, "cpu", 0, out_dir=str(tmp_path))[1]
    assert experiment.calls == [0]
    code = base.code_hash("svitt.experiments.ch05_efficiency.experiment:measure")
    monkeypatch.setattr(base, "code_hash", lambda entry: code)
    with pytest.raises(RecordError) as raised:
        base.ensure(experiment, "cpu", 0, out_dir=str(tmp_path))
    said = str(raised.value)
    for words in (
        "is stale (changed since: svitt.",
        "decides 01_frame_shuffle at scale cpu, seed 0",
        "CPU minutes",
        "--rerun",
    ):
        assert words in said, said
    assert experiment.calls == [0]


def test_what_is_never_judged_leaves_no_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a reader's smoke run or own settings do not change a committed file."""
    experiment = toy(monkeypatch)
    assert base.ensure(experiment, "smoke", 0, out_dir=str(tmp_path))[1]
    custom, _ = base.ensure(experiment, "cpu", 0, out_dir=str(tmp_path), changes="draws=2")
    assert custom.command == "svitt run 01_frame_shuffle --scale cpu --seeds 0 --changes draws=2"
    assert not attempts_path(tmp_path / "results").exists()
    base.ensure(experiment, "cpu", 0, out_dir=str(tmp_path))
    assert [line.event for line in read_attempts(tmp_path / "results")] == ["started", "finished"]


def test_a_tree_that_changes_while_it_is_measured_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = toy(monkeypatch)
    states = iter([("a" * 40, False), ("b" * 40, False)])
    monkeypatch.setattr(base, "git_state", lambda root: next(states))
    monkeypatch.setattr("svitt.records.record.git_state", lambda root: next(states))
    with pytest.raises(RecordError, match="the tree changed while it was measured"):
        base.ensure(experiment, "cpu", 0, out_dir=str(tmp_path))
    lines = read_attempts(tmp_path / "results")
    assert [line.event for line in lines] == ["started", "failed"] and lines[0].commit == "a" * 40
    assert not list(tmp_path.rglob("seed0.json"))


def test_own_settings_are_checked_recorded_apart_and_never_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = toy(monkeypatch)
    record, _ = base.ensure(experiment, "smoke", 0, out_dir=str(tmp_path), changes="draws=7")
    assert record.scale == custom_scale(SCALES["smoke"], "draws=7") and record.scale.startswith("custom-")
    assert record.parameters["draws"] == 7 and record.rule_hashes == {}
    claims = base.load_claims(base.claims_file(base.project_root()))
    row = next(row for row in ledger(claims, tmp_path / "results") if row.claim.id == "shuffle")
    assert row.present.verdict == "not measured"
    assert parsed_changes("keep_rates=(0.3, 0.5), model.width=32") == {
        "keep_rates": (0.3, 0.5),
        "model.width": 32,
    }
    for wrong, message in [
        ("drws=7", "did you mean 'draws'"),
        ("draws='x'", "draws = 'x' has the wrong type"),
        ("draws", "cannot be read"),
        ("draws=__import__('os')", "cannot be read"),
        ("model.width=3", "has no settings 'model'"),
    ]:
        with pytest.raises(ConfigError, match=message):
            changed_settings(SCALES["smoke"], wrong)


def test_a_new_option_at_its_default_costs_no_record() -> None:
    default = {"width": 64, "new": 3, "nested": {"rate": 0.5}}
    assert same_settings({"width": 64}, {"width": 64, "new": 3}, default)
    assert same_settings({"nested": {}}, {"nested": {"rate": 0.5}}, default)
    assert not same_settings({"width": 64}, {"width": 64, "new": 4}, default)
    assert not same_settings({"width": 64}, {"width": 32}, default)
    assert not same_settings({"nested": {}}, {"nested": {"rate": 0.4}}, default)
    assert not same_settings({"gone": 1}, {}, default)


def test_a_committed_record_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = toy(monkeypatch)
    base.ensure(experiment, "cpu", 0, out_dir=str(tmp_path))
    path = tmp_path / "results" / "cpu" / "01_frame_shuffle" / "seed0.json"
    record = read_record(path)
    for words in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    before = path.read_bytes()
    with pytest.raises(RecordError, match="is committed and is not overwritten"):
        write_record(tmp_path / "results", record, {"x": np.array([1])})
    assert path.read_bytes() == before
