"""Records: what is written is read back, and every damage is named."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from svitt.errors import RecordError
from svitt.records import provenance
from svitt.records.record import (
    Record,
    environment,
    git_state,
    make_record,
    read_outcomes,
    read_record,
    read_records,
    require_clean,
    write_record,
)
from svitt.records.training import Training, one_way_of_training
from tests.records.codes import toy_code

OUTCOMES = {
    "mixed/none/rank": np.array([1, 3, 2], dtype=np.int16),
    "mixed/shuffle/flip": np.array([[True, False, True], [False, False, True]]),
    "loss": np.array([0.1, 1 / 3, 2.5e-8], dtype=np.float32),
    "score": np.array(2 / 3),
    "chosen": np.array(["left", "up"]),
}


def record(seed: int = 0, chapter: str = "01_frame_shuffle", scale: str = "smoke", **changes: Any) -> Record:
    given: dict[str, Any] = {
        "parameters": {"clips": 40, "steps": [450, 1200]},
        "values": {"R@1": np.float64(0.5), "clips": np.int64(40), "note": "x"},
        "code": toy_code(Block="1"),
        "rule_hashes": {"shuffle": "123"},
        "root": Path(__file__).parent,
        "cpu_seconds": 1.0,
        "wall_seconds": 2.0,
        "command": f"svitt run 01_frame_shuffle --scale smoke --seeds {seed}",
    }
    return make_record(chapter, scale, seed, **{**given, **changes})


def test_written_records_read_back(tmp_path: Path) -> None:
    for seed in (10, 2):
        write_record(tmp_path, record(seed), OUTCOMES)
    first, second = read_records(tmp_path, "smoke", "01_frame_shuffle")
    assert (first.seed, second.seed) == (2, 10)  # by number, not by name
    assert first.values == {"R@1": 0.5, "clips": 40, "note": "x"}
    assert isinstance(first.values["clips"], int) and isinstance(first.values["R@1"], float)
    back = read_outcomes(tmp_path / "smoke" / "01_frame_shuffle" / "seed2.json")
    assert set(back) == set(OUTCOMES)
    for name, array in OUTCOMES.items():
        assert back[name].dtype == array.dtype, name
        np.testing.assert_array_equal(back[name], array)
    assert first.outcomes["mixed/shuffle/flip"].shape == [2, 3]
    assert read_records(tmp_path, "cpu", "01_frame_shuffle") == []


def test_outcome_bytes_depend_on_the_outcomes_alone(tmp_path: Path) -> None:
    one = write_record(tmp_path / "a", record(), OUTCOMES)
    two = write_record(tmp_path / "b", record(), dict(reversed(OUTCOMES.items())))
    beside = "seed0.outcomes.json.gz"
    assert one.with_name(beside).read_bytes() == two.with_name(beside).read_bytes()
    assert read_record(one).outcomes_sha256 == read_record(two).outcomes_sha256
    changed = {**OUTCOMES, "score": np.array(0.5)}
    three = write_record(tmp_path / "c", record(), changed)
    assert read_record(three).outcomes_sha256 != read_record(one).outcomes_sha256


def test_rewriting_replaces_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = write_record(tmp_path, record(), OUTCOMES)
    write_record(tmp_path, record(values={"R@1": 0.9}), {"score": [1.0]})
    assert read_record(path).values == {"R@1": 0.9}
    assert set(read_outcomes(path)) == {"score"}
    assert sorted(p.name for p in path.parent.iterdir()) == ["seed0.json", "seed0.outcomes.json.gz"]


def test_edited_value_is_found(tmp_path: Path) -> None:
    path = write_record(tmp_path, record(), OUTCOMES)
    path.write_text(path.read_text().replace('"R@1": 0.5', '"R@1": 0.6'))
    with pytest.raises(RecordError, match=r"seed0\.json was edited.*restore .* from git"):
        read_record(path)


def test_edited_outcome_is_found(tmp_path: Path) -> None:
    path = write_record(tmp_path, record(), OUTCOMES)
    beside = path.with_name("seed0.outcomes.json.gz")
    data = json.loads(gzip.decompress(beside.read_bytes()))  # an edit that keeps the canonical form
    data["mixed/none/rank"]["values"][1] = 1
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    beside.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(RecordError, match=r"outcomes\.json\.gz was edited"):
        read_outcomes(path)


@pytest.mark.parametrize("damage", [b"", b"not gzip", None])
def test_damaged_or_missing_outcomes_are_found(tmp_path: Path, damage: bytes | None) -> None:
    path = write_record(tmp_path, record(), OUTCOMES)
    beside = path.with_name("seed0.outcomes.json.gz")
    if damage is None:
        beside.unlink()
    else:
        beside.write_bytes(beside.read_bytes()[:20] if damage == b"" else damage)
    with pytest.raises(RecordError, match="missing" if damage is None else "damaged"):
        read_outcomes(path)


def test_unknown_key_wrong_place_wrong_name_and_no_json_are_named(tmp_path: Path) -> None:
    path = write_record(tmp_path, record(), OUTCOMES)
    text = path.read_text()
    path.write_text(text.replace('"commit"', '"comit"'))
    with pytest.raises(RecordError, match="comit: Extra inputs"):
        read_record(path)
    path.write_text(text[:50])
    with pytest.raises(RecordError, match="is not JSON"):
        read_record(path)
    path.write_text(text)
    path.rename(path.with_name("seed3.json"))
    with pytest.raises(RecordError, match=r"seed 0, which belongs at .*seed0\.json"):
        read_record(path.with_name("seed3.json"))
    path.with_name("seed3.json").rename(path.with_name("result.json"))
    with pytest.raises(RecordError, match=r"result\.json is not named seed<k>\.json"):
        read_records(tmp_path, "smoke", "01_frame_shuffle")
    with pytest.raises(RecordError, match="is missing; run the chapter"):
        read_record(path)


def test_what_cannot_be_recorded_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"R@1 = nan is not finite"):
        record(values={"R@1": float("nan")})
    with pytest.raises(RecordError, match="good is a truth value"):
        record(values={"good": True})
    with pytest.raises(RecordError, match="chapter"):
        record(chapter="../x")
    with pytest.raises(RecordError, match="outcome 'a' holds NaN"):
        write_record(tmp_path, record(), {"a": [1.0, float("inf")]})
    with pytest.raises(RecordError, match="outcome 'a' has dtype object"):
        write_record(tmp_path, record(), {"a": np.array([{}])})
    assert not list(tmp_path.rglob("*.json"))


def git(root: Path, *args: str) -> None:
    command = ["git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@t", *args]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    for name in ("svitt/__init__.py", "book/01.ipynb", "data/claims.yaml", "pyproject.toml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x = 1\n")
    git(root.parent, "init", "-q", str(root))
    git(root, "add", ".")
    git(root, "commit", "-qm", "one")
    return root


def test_what_makes_a_tree_dirty(checkout: Path) -> None:
    commit, dirty = git_state(checkout)
    assert commit is not None and len(commit) == 40 and dirty is False
    require_clean("cpu", checkout)
    (checkout / "book/01.ipynb").write_text("executed in place")
    (checkout / "notes.txt").write_text("untracked, no code")
    assert git_state(checkout) == (commit, False)
    (checkout / "svitt/new.py").write_text("y = 1")
    assert git_state(checkout) == (commit, True)
    with pytest.raises(RecordError, match=r"scale 'cpu'.*svitt/new\.py; commit them first"):
        require_clean("cpu", checkout)
    require_clean("smoke", checkout)
    (checkout / "svitt/new.py").unlink()
    (checkout / "data/claims.yaml").write_text("z")
    assert git_state(checkout) == (commit, True)


def test_outside_a_checkout_the_commit_must_be_stated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkout: Path
) -> None:
    monkeypatch.delenv(provenance.COMMIT_VARIABLE, raising=False)
    copy = checkout / "copy"  # a copy of the project inside a checkout is no checkout of it
    (copy / "svitt").mkdir(parents=True)
    assert git_state(copy) == (None, None)
    with pytest.raises(RecordError, match=r"no git checkout.*SVITT_COMMIT"):
        require_clean("gpu", copy)
    monkeypatch.setenv(provenance.COMMIT_VARIABLE, "a" * 40)
    assert git_state(copy) == ("a" * 40, None)
    require_clean("gpu", copy)


def test_environment_does_not_import_torch() -> None:
    code = (
        "import sys; from svitt.records.record import environment; v, h = environment('H');"
        "assert 'torch' in v and 'python' in v and h.gpu == 'H' and h.cores >= 1 and h.memory_gib > 0;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert environment()[1].gpu is None


def test_training_stands_in_a_record_only_where_it_is_not_plain(tmp_path: Path) -> None:
    plain = write_record(tmp_path, record(0), OUTCOMES)
    assert "training" not in json.loads(plain.read_text()) and read_record(plain).training is None
    stacked = Training(stacked=(1, 2))
    path = write_record(tmp_path, record(1, training=stacked), OUTCOMES)
    assert json.loads(path.read_text())["training"] == {"step": "plain", "stacked": [1, 2], "code": ""}
    assert read_record(path).training == stacked and stacked.text == "a stack of 2 seeds"


def test_one_verdict_is_of_one_way_of_training() -> None:
    one, other = Training(stacked=(0, 1)), Training(stacked=(2, 3))
    one_way_of_training({0: one, 1: one, 2: other}, [other])
    one_way_of_training({0: None, 1: Training()}, [Training()])
    with pytest.raises(RecordError, match=r"plain: seeds \[2\]; --stack: seeds \[0, 1\]"):
        one_way_of_training({2: None, 0: one, 1: one})
    with pytest.raises(RecordError, match=r"--stack: seeds \[0\]; --captured: now.*--fresh DIR"):
        one_way_of_training({0: one}, [Training(step="captured")])
