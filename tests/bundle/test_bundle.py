"""A bundle on a bare machine: what it records is what is recorded here, and can be collected."""

from __future__ import annotations

import fnmatch
import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

from svitt.commands.bundle import make_bundle
from svitt.commands.chapters import load_chapters
from svitt.errors import ConfigError, RecordError
from svitt.ledger.check import record_files
from svitt.records.entry_points import experiment_module
from svitt.records.provenance import changed_files, git_state, require_clean
from svitt.records.record import read_outcomes, read_record
from tests.bundle.bare import bare_machine

ROOT = Path(__file__).parents[2]
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *words], capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean clone whose last commit is the tree as it is here, changes included."""
    folder = tmp_path_factory.mktemp("clone") / "svitt"
    git(ROOT, "clone", "-q", str(ROOT), str(folder))
    listed = git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for path in folder.rglob("*.py"):
        if ".git" not in path.parts and path.relative_to(folder).as_posix() not in listed:
            path.unlink()
    for name in listed:
        if (ROOT / name).is_file() and not (ROOT / name).is_symlink():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "The tree under test")
    return folder


@pytest.fixture(scope="module")
def bundle(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(clone, tmp_path_factory.mktemp("out") / "bundle", PYTHON)


def collect(clone: Path, archive: Path, out: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "svitt", "collect", str(archive), "--out", str(out)],
        cwd=clone,
        env=os.environ | {"PYTHONPATH": str(clone)},
        capture_output=True,
        text=True,
    )


def in_archive(archive: Path) -> int:
    if not archive.is_file():
        return 0
    with tarfile.open(archive) as tar:
        return sum(name.startswith("results/smoke/") and name.endswith(".json") for name in tar.getnames())


@pytest.mark.slow
def test_a_bundle_on_a_bare_machine_records_what_is_recorded_here(
    clone: Path, bundle: Path, smoke_workspace: Path, tmp_path: Path
) -> None:
    """Killed once on the way: the archive has what was finished, and the same command goes on."""
    environment = bare_machine(tmp_path / "machine")
    out, archive, filed = bundle / "out", bundle / "out" / "results.tar.gz", tmp_path / "filed"
    command = ["bash", str(bundle / "run.sh"), "all", "--scale", "smoke", "--jobs", "2"]
    first = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, cwd=tmp_path,
    )  # fmt: skip
    deadline = time.monotonic() + 600
    while in_archive(archive) < 1:
        assert first.poll() is None, first.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    done = collect(clone, archive, filed)
    assert done.returncode == 0, done.stderr
    finished = in_archive(archive)
    assert f"{finished} filed, 0 were here already" in done.stdout

    again = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr[-4000:]
    chapters = load_chapters(ROOT / "book", ["all"])
    sets = [name for chapter in chapters for name in (chapter.name, *chapter.further)]
    said = re.search(r"(\d+) read from the record, (\d+) measured, 0 failed", again.stdout)
    assert said is not None, again.stdout
    assert int(said[1]) >= finished and int(said[1]) + int(said[2]) == len(sets)
    assert not list(out.rglob("*.ipynb")) and not (out / "results" / "attempts.jsonl").exists()
    done = collect(clone, archive, filed)
    assert f"{len(sets) - finished} filed, {finished} were here already" in done.stdout, done.stderr

    commit = git(clone, "rev-parse", "HEAD").strip()
    paths = record_files(filed / "results")
    assert {path.parent.name for path in paths} == set(sets)
    for path in paths:
        record = read_record(path)
        assert (record.commit, record.dirty) == (commit, False)
        assert "decord" not in record.versions
        here = smoke_workspace / "results" / path.relative_to(filed / "results")
        timed = importlib.import_module(experiment_module(record.chapter)).TIMED
        bundled, direct = read_outcomes(path), read_outcomes(here)
        assert bundled.keys() == direct.keys()
        for name, array in direct.items():
            if not any(fnmatch.fnmatch(name, pattern) for pattern in timed):
                assert np.array_equal(bundled[name], array), f"{record.chapter}: {name}"


def test_a_bundle_knows_its_commit_and_sees_an_edited_file(bundle: Path, clone: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy, ignore=shutil.ignore_patterns("wheels", "out", "lib"))
    shutil.copytree(bundle / "wheels", copy / "wheels")
    commit = git(clone, "rev-parse", "HEAD").strip()
    assert git_state(copy) == (commit, False)
    require_clean("cpu", copy)
    file = copy / "svitt" / "layers" / "mlp.py"
    file.write_text(file.read_text() + "\n")
    (copy / "svitt" / "more.py").touch()
    assert changed_files(copy) == ["svitt/layers/mlp.py", "svitt/more.py"]
    with pytest.raises(RecordError, match=r"differ from the commit: svitt/layers/mlp\.py"):
        require_clean("cpu", copy)
    (copy / "REVISION").write_text("{")
    with pytest.raises(RecordError, match="is no REVISION of a bundle"):
        git_state(copy)


def test_the_wheels_are_few_and_nothing_of_the_site_comes_along(bundle: Path) -> None:
    wheels = sum(path.stat().st_size for path in (bundle / "wheels").iterdir())
    assert wheels < 45 * 2**20
    names = {path.relative_to(bundle).parts[0] for path in bundle.rglob("*")}
    assert names <= {"LICENSE", "REVISION", "book", "data", "pyproject.toml", "requirements.txt", "run.sh",
                     "svitt", "wheels", "out", "lib"}  # fmt: skip
    assert {path.suffix for path in (bundle / "book").iterdir()} == {".ipynb"}


def test_a_dirty_tree_and_wrong_wishes_are_refused(clone: Path, tmp_path: Path) -> None:
    file = clone / "svitt" / "config.py"
    text = file.read_text()
    file.write_text(text + "\n")
    try:
        with pytest.raises(RecordError, match=r"svitt/config\.py; commit them first"):
            make_bundle(clone, tmp_path / "bundle", PYTHON)
    finally:
        file.write_text(text)
    with pytest.raises(ConfigError, match=r"the wheels for Python 2\.7 cannot be had"):
        make_bundle(clone, tmp_path / "bundle", "2.7")
    assert not list(tmp_path.iterdir()), "nothing half-made is left"
