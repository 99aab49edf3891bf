"""A chapter's numbers do not depend on how it is run: as a notebook by papermill, or without notebook."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from svitt.cli import main
from svitt.records.record import read_outcomes, read_record

ROOT = Path(__file__).parents[2]
CHAPTER = "01_frame_shuffle"


@pytest.mark.slow
def test_a_notebook_and_record_only_give_the_same_outcomes_to_the_last_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worlds are shared, the trainings are not."""
    monkeypatch.chdir(ROOT)
    found = {}
    for way in ("alone", "notebook"):
        out = tmp_path / way
        out.mkdir()
        if way != "alone":
            (out / "worlds").symlink_to(tmp_path / "alone" / "worlds")
        options = ["--record-only"] if way == "alone" else []
        assert main(["run", CHAPTER, "--scale", "smoke", "--out", str(out), *options]) == 0
        path = out / "results" / "smoke" / CHAPTER / "seed0.json"
        found[way] = read_record(path), read_outcomes(path)
        kept = list((out / "runs" / "notebooks").rglob("*.ipynb"))
        assert len(kept) == (1 if way == "notebook" else 0)
    (alone, outcomes), (record, others) = found["alone"], found["notebook"]
    assert record.outcomes_sha256 == alone.outcomes_sha256 and record.values == alone.values
    assert record.threads == alone.threads == 1 and record.parameters == alone.parameters
    assert outcomes.keys() == others.keys()
    for name, value in outcomes.items():
        assert value.dtype == others[name].dtype and np.array_equal(value, others[name]), name
