"""Replay: equal is equal bit for bit, what differs is named, and nothing is written unless all agree."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from svitt.records.code_list import read_code
from svitt.records.record import Replayed, make_record, read_outcomes, read_record, write_record
from svitt.records.replay import Measured, differences, is_timed, stamp
from tests.records.codes import toy_code

ROOT = Path(__file__).parents[2]
VALUES = {"a/R@1": 0.5, "a/seconds": 1.0}
OUTCOMES = {"a/rank": np.array([1, 2], dtype=np.int16), "a/seconds": np.array(1.0)}


def changed(**outcomes: np.ndarray) -> Measured:
    return Measured(VALUES, {**OUTCOMES, **{k.replace("_", "/"): v for k, v in outcomes.items()}})


def test_times_are_left_out_and_all_else_counts_to_the_last_bit() -> None:
    same = Measured({**VALUES, "a/seconds": 9.0}, {**OUTCOMES, "a/seconds": np.array(9.0)})
    assert differences(Measured(VALUES, OUTCOMES), same, ["*/seconds"]) == []
    assert differences(Measured(VALUES, OUTCOMES), same) == ["a/seconds", "value a/seconds"]
    assert is_timed("x/cpu_seconds", ["*/cpu_seconds"]) and not is_timed("x/cpu_seconds", ["*/seconds"])


@pytest.mark.parametrize(
    "now",
    [
        changed(a_rank=np.array([1, 3], dtype=np.int16)),
        changed(a_rank=np.array([1, 2], dtype=np.int32)),
        changed(a_rank=np.array([[1, 2]], dtype=np.int16)),
        Measured(VALUES, {"a/seconds": OUTCOMES["a/seconds"]}),
    ],
)
def test_another_value_type_shape_or_a_missing_outcome_differs(now: Measured) -> None:
    assert differences(Measured(VALUES, OUTCOMES), now) == ["a/rank"]


def test_a_last_bit_a_signed_zero_and_a_summary_value_differ() -> None:
    one, two = np.array([0.1, 0.0]), np.array([np.nextafter(0.1, 1), -0.0])
    for i in range(2):
        other = one.copy()
        other[i] = two[i]
        assert differences(changed(a_x=one), changed(a_x=other)) == ["a/x"]
    more = Measured({**VALUES, "a/R@1": 0.25}, OUTCOMES)
    assert differences(Measured(VALUES, OUTCOMES), more) == ["value a/R@1"]


def test_a_stamped_record_reads_back_and_says_what_vouches_for_it(tmp_path: Path) -> None:
    before, now = toy_code(Block="1"), toy_code(Block="2")
    record = make_record(
        "01_frame_shuffle",
        "smoke",
        0,
        parameters={},
        values={},
        code=before,
        rule_hashes={},
        root=tmp_path,
        cpu_seconds=1.0,
        wall_seconds=1.0,
        command="svitt run 01_frame_shuffle --scale smoke --seeds 0",
    )
    path = write_record(tmp_path, record, OUTCOMES)
    replayed = Replayed(
        code_hash=before.hash,
        against="a" * 40,
        commit="b" * 40,
        compared=("smoke seed 0",),
        created="2026-01-01T00:00:00+00:00",
        processor="x",
    )
    stamp(tmp_path, path, read_record(path), now, replayed)
    found = read_record(path)
    assert (found.code_hash, found.replays) == (now.hash, (replayed,))
    assert read_outcomes(path).keys() == OUTCOMES.keys()
    assert read_code(tmp_path, now.hash).definitions == {
        label: type(d)(d.own, d.whole) for label, d in now.definitions.items()
    }


@pytest.mark.slow
def test_a_renamed_variable_is_vouched_for_and_a_changed_constant_is_not(tmp_path: Path) -> None:
    """In a clone, with chapter 4 (its models are small and its outcomes hold no times)."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    environment = os.environ | {"PYTHONPATH": str(clone), "TQDM_DISABLE": "1"}

    def svitt(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "svitt", *words]
        return subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)

    def edit(old: str, new: str) -> None:
        file = clone / "svitt" / "experiments" / "ch04_node_sparsity" / "experiment.py"
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", str(clone), *who, "commit", "-qam", "Edit"], check=True)

    if (checked := svitt("claims", "--check")).returncode:
        pytest.fail(f"the records are not current to begin with:\n{checked.stderr}")
    edit("few = Split(", "first = Split(")
    edit("len(few)", "len(first)")
    edit("texts(few)", "texts(first)")
    assert svitt("claims", "--check").returncode == 1
    replayed = svitt("replay", "HEAD~3", "--minutes", "0")
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert "stale: 04_node_sparsity, scale cpu, 5 seeds" in replayed.stdout
    assert svitt("claims", "--check").returncode == 0
    record = read_record(clone / "data" / "results" / "cpu" / "04_node_sparsity" / "seed3.json")
    assert record.replays[-1].compared == ("smoke seed 0",)
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["add", "-A"], [*who, "commit", "-qm", "Replayed"]):
        subprocess.run(["git", "-C", str(clone), *words], check=True)

    edit("scores[rows, verb] = -np.inf", "scores[rows, verb] = np.inf")
    differs = svitt("replay", "HEAD~1", "--minutes", "0")
    assert (
        differs.returncode == 1
        and "04_node_sparsity, scale smoke, seed 0 differs: explorer/" in differs.stdout
    )
    assert not subprocess.run(["git", "-C", str(clone), "status", "--porcelain"], capture_output=True).stdout
