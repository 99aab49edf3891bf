"""Every record set at scale smoke: what runs is hashed, and the numbers are those of the golden files.

A golden file holds a digest of every outcome and the summary values of one record set. Digests are compared
bit by bit on the kind of machine they were made on; another processor or torch rounds differently in the last
digits and may choose otherwise where two scores are close, so there only names, shapes and types must agree.
After a change that is meant to change numbers: ``python -m tests.test_smoke WORKSPACE`` writes them anew.
"""

from __future__ import annotations

import fnmatch
import hashlib
import importlib
import json
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from svitt.records.code_hash import code_hash
from svitt.records.code_names import left_out
from svitt.records.entry_points import entry_point, experiment_module
from svitt.records.record import read_outcomes, read_record, record_path
from tests.smoke import record_sets

GOLDEN = Path(__file__).parent / "golden" / "smoke"
SETS = record_sets()
# They only word an error; the condition of a ``require`` counts in every definition that calls it.
WORDS_ERRORS = {"svitt.config.require", "svitt.config.nearest"}


def machine() -> str:
    """What decides the last bits of a number."""
    versions = f"torch {torch.__version__}, numpy {np.__version__}"
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}, {versions}"


def timed(name: str, record_set: str) -> bool:
    """Whether an outcome or value is a measured time or memory."""
    module = importlib.import_module(experiment_module(record_set))
    return any(fnmatch.fnmatch(name, pattern) for pattern in module.TIMED)


def found(record_set: str, workspace: Path) -> dict[str, Any]:
    """What a golden file holds, of the result in a workspace."""
    module = importlib.import_module(experiment_module(record_set))
    path = record_path(workspace / "results", "smoke", record_set, module.SCALES["smoke"].seeds[0])
    record, outcomes = read_record(path), read_outcomes(path)
    kept = {name: array for name, array in sorted(outcomes.items()) if not timed(name, record_set)}
    return {
        "machine": machine(),
        "outcomes": {
            name: [
                array.dtype.str.lstrip("<>|="),
                list(array.shape),
                hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16],
            ]
            for name, array in kept.items()
        },
        "values": {name: v for name, v in sorted(record.values.items()) if not timed(name, record_set)},
    }


def write_golden(record_set: str, workspace: Path) -> None:
    data = found(record_set, workspace)
    lines = [f'"machine": {json.dumps(data["machine"])}']
    for part in ("outcomes", "values"):
        rows = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in data[part].items())
        lines.append(f'"{part}": {{\n{rows}\n }}')
    GOLDEN.mkdir(parents=True, exist_ok=True)
    (GOLDEN / f"{record_set}.json").write_text("{\n " + ",\n ".join(lines) + "\n}\n", encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("record_set", SETS)
def test_what_runs_is_hashed(record_set: str, smoke_workspace: Path) -> None:
    ran = set(json.loads((smoke_workspace / "ran" / f"{record_set}.json").read_text()))
    assert f"{experiment_module(record_set)}.measure" in ran, "the watch saw nothing"
    # A registered function stands there as an effect, with its number.
    hashed = {label.partition(" [")[0] for label in code_hash(entry_point(record_set)).definitions}
    assert {label for label in ran if not left_out(label)} - hashed <= WORDS_ERRORS


@pytest.mark.slow
@pytest.mark.parametrize("record_set", SETS)
def test_numbers_are_the_golden_ones(record_set: str, smoke_workspace: Path) -> None:
    golden = json.loads((GOLDEN / f"{record_set}.json").read_text(encoding="utf-8"))
    now = json.loads(json.dumps(found(record_set, smoke_workspace)))
    if golden["machine"] == now["machine"]:
        assert now == golden
        return
    assert {k: v[:2] for k, v in now["outcomes"].items()} == {k: v[:2] for k, v in golden["outcomes"].items()}
    assert now["values"].keys() == golden["values"].keys()


def test_every_record_set_has_a_golden_file_and_no_other() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.json")) == sorted(SETS)


if __name__ == "__main__":
    for name in SETS:
        write_golden(name, Path(sys.argv[1]))
