"""The command line in all its spellings: ``svitt``, ``python -m svitt``, ``python -m svitt.cli``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SPELLINGS = {
    "script": [str(Path(sys.executable).with_name("svitt"))],
    "package": [sys.executable, "-m", "svitt"],
    "module": [sys.executable, "-m", "svitt.cli"],
}
spelled = pytest.mark.parametrize("words", SPELLINGS.values(), ids=SPELLINGS.keys())


def run(words: list[str], *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*words, *args], capture_output=True, text=True, timeout=120)


@spelled
def test_every_spelling_prints_and_gives_its_status(words: list[str], tmp_path: Path) -> None:
    done = run(words, "claims", "shuffle")
    assert done.returncode == 0 and done.stdout.startswith("shuffle  (")
    wrong = run(words, "claims", "shufle")
    assert (wrong.returncode, wrong.stdout) == (2, "") and "did you mean 'shuffle'" in wrong.stderr
    # A results folder in which something is wrong: the check must say so under every spelling.
    folder = tmp_path / "cpu" / "01_frame_shuffle"
    folder.mkdir(parents=True)
    (folder / "seed0.json").write_text("{}")
    checked = run(words, "claims", "--check", "--results", str(tmp_path))
    assert checked.returncode == 1 and "seed0.json" in checked.stderr


@spelled
def test_a_reader_who_has_seen_enough_is_no_error(words: list[str]) -> None:
    process = subprocess.Popen([*words, "claims"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.wait(timeout=120) == 141
    assert process.stderr.read() == ""
