"""``svitt book``: the staged edition, its build, and refreshed chapters."""

import hashlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import nbformat
import pytest

from svitt.cli import main
from svitt.commands.book import _page, _require_evidence
from svitt.commands.chapters import load_chapters
from svitt.commands.edition import clean_notebook, stage_book
from svitt.errors import ConfigError
from tests.batch.fake_book import fake_checkout, write_chapter

CONFIG = """
title: A small book
only_build_toc_files: true
execute: {execute_notebooks: "off"}
sphinx: {local_extensions: {results_folder: book/_ext}}
"""
# Stands for the ledger: shows where the results of this edition are.
EXTENSION = """
import os
from pathlib import Path


def show(app, page, template, context, doctree):
    found = sorted(str(p.relative_to(os.environ["SVITT_RESULTS"])) for p in
                   Path(os.environ["SVITT_RESULTS"]).rglob("*.json"))
    context["body"] = context.get("body", "") + "<p>" + " ".join(found) + "</p>"


def setup(app):
    app.connect("html-page-context", show)
    return {"parallel_read_safe": True}
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = fake_checkout(tmp_path, monkeypatch, "01_toy")
    (root / "_config.yml").write_text(CONFIG)
    (root / "_toc.yml").write_text("format: jb-book\nroot: intro\nchapters: [{file: 01_toy}]\n")
    (root / "book" / "_toc.yml").symlink_to("../_toc.yml")
    (root / "book" / "intro.md").write_text("# Hello\n\nA book.\n")
    (root / "book" / "_ext").mkdir()
    (root / "book" / "_ext" / "results_folder.py").write_text(EXTENSION)
    (root / "data" / "results" / "cpu").mkdir(parents=True)
    (root / "data" / "results" / "cpu" / "committed.json").write_text("{}")
    (root / "data" / "claims.yaml").write_text("[]\n")
    return root


def contents(root: Path) -> dict[str, str]:
    """Every file of a checkout that git would see, with a hash."""
    files = [
        p for p in root.rglob("*") if p.is_file() and "_build" not in p.parts and "__pycache__" not in p.parts
    ]
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.slow
def test_edition_is_executed_built_and_leaves_the_checkout_alone(
    checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = contents(checkout)
    assert main(["book", "--scale", "smoke"]) == 0
    printed = capfd.readouterr().out
    page = (checkout / "_build" / "html" / "01_toy.html").read_text()
    assert "smoke 0 1 book" in page
    assert "smoke/01_toy/seed0.json" in page, "the results of this run are shown"
    assert "committed.json" not in page, "and only those"
    assert "Smoke edition: tables and figures are of runs made here" in page
    assert str(checkout / "_build" / "html" / "index.html") in printed
    assert "longest:" in printed
    staged = nbformat.read(checkout / "_build" / "stage" / "book" / "01_toy.ipynb", as_version=4)
    assert staged.metadata.papermill.parameters.scale == "smoke"
    assert staged.metadata.papermill.duration > 0
    assert contents(checkout) == before

    # Again: one seed needs one execution, and that one is always made. A warning fails the build and
    # leaves the site of the last good one.
    (checkout / "book" / "intro.md").write_text("# Hello\n\nSee {doc}`nowhere`.\n")
    assert main(["book", "--scale", "smoke"]) == 1
    assert (checkout / "_build" / "work" / "smoke" / "runs" / "ran").read_text() == "0\n0\n"
    assert "the build failed" in capfd.readouterr().out
    assert (checkout / "_build" / "html" / "01_toy.html").read_text() == page


@pytest.mark.slow
def test_grid_of_several_seeds_comes_first_and_a_failure_is_named(
    checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = checkout / "_build" / "work" / "cpu" / "runs"
    runs.mkdir(parents=True)
    (runs / "break1").touch()
    assert main(["book", "--scale", "cpu"]) == 1
    printed = capfd.readouterr().out
    assert "FAILED 01_toy cpu seed 1: ValueError: broken on purpose at seed 1" in printed
    assert str(runs / "notebooks" / "cpu" / "01_toy" / "seed1.failed.ipynb") in printed
    assert sorted((runs / "ran").read_text().split()) == ["0", "1"]
    assert not (checkout / "_build" / "html").exists()

    (runs / "break1").unlink()
    assert main(["book", "--scale", "cpu"]) == 0
    assert sorted((runs / "ran").read_text().split()) == ["0", "0", "1", "1"], "seed 1, then the page"
    cells = nbformat.read(checkout / "_build" / "stage" / "book" / "01_toy.ipynb", as_version=4).cells
    assert any("injected-parameters" in c.metadata.get("tags", []) for c in cells)
    assert cells[-1].outputs[0].text == "cpu 0 1 book\n"


@pytest.mark.slow
def test_refresh_executes_in_place_from_recorded_results(
    checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_chapter(
        checkout / "book",
        parameters='scale = "cpu"\nseed = 0\ndevice = "cpu"\nout_dir = ""',
        work="""
from svitt.records.workspace import Workspace
from pathlib import Path
import ipywidgets
places = Workspace.open(out_dir)
ipywidgets.IntSlider(value=3)
""",
    )
    source = path.read_text()
    assert main(["book", "--refresh", "01", "--scale", "smoke"]) == 2
    assert "says scale = 'cpu', not 'smoke'" in capfd.readouterr().err
    assert main(["book", "--refresh", "01", "--scale", "cpu"]) == 2
    assert "no result of seed 0 at scale 'cpu'" in capfd.readouterr().err
    assert path.read_text() == source
    for seed in (0, 1):
        record = checkout / "data" / "results" / "cpu" / "01_toy" / f"seed{seed}.json"
        record.parent.mkdir(exist_ok=True)
        record.write_text("{}")
    assert main(["book", "--refresh", "01", "--scale", "cpu"]) == 0
    notebook = nbformat.read(path, as_version=4)
    assert [c.get("execution_count") for c in notebook.cells] == [None, 1, 2, 3]
    assert notebook.cells[-1].outputs[0].text == "cpu 0 1 book\n"
    assert "application/vnd.jupyter.widget-state+json" in notebook.metadata.widgets
    assert "papermill" not in path.read_text()
    assert str(checkout) not in path.read_text()


def test_clean_keeps_outputs_and_tags_and_drops_traces() -> None:
    cell = nbformat.v4.new_code_cell(
        "1", execution_count=1, outputs=[nbformat.v4.new_output("stream", text="1")]
    )
    cell.metadata.update(
        {"papermill": {"duration": 1.0}, "execution": {"iopub.status.busy": "2024-01-01"}, "tags": []}
    )
    tagged = nbformat.v4.new_code_cell("2", metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(
        cells=[cell, tagged], metadata={"papermill": {}, "svitt": {}, "widgets": {"a": 1}}
    )
    cleaned = clean_notebook(notebook)
    assert cleaned.cells[0].outputs[0].text == "1"
    assert cleaned.cells[0].execution_count == 1
    assert cleaned.cells[0].metadata == {}
    assert cleaned.cells[1].metadata.tags == ["parameters"]
    assert set(cleaned.metadata) == {"widgets", "kernelspec"}


def test_stage_replaces_only_a_stage(checkout: Path) -> None:
    other = checkout / "other"
    other.mkdir()
    (other / "mine").write_text("kept")
    with pytest.raises(ConfigError, match=r"other holds something else"):
        stage_book(checkout, other)
    assert (other / "mine").read_text() == "kept"
    stage = checkout / "_build" / "stage"
    stage_book(checkout, stage)
    (stage / "old").touch()
    stage_book(checkout, stage)
    assert not (stage / "old").exists()
    assert (stage / "data" / "claims.yaml").exists()
    assert not (stage / "data" / "results").exists()
    assert (stage / "book" / "_toc.yml").is_symlink()
    assert json.loads((stage / "book" / "01_toy.ipynb").read_text())["cells"]


def test_wrong_calls_are_refused_before_anything_is_copied(
    checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["book", "--scale", "smok"]) == 2
    assert "did you mean 'smoke'?" in capsys.readouterr().err
    monkeypatch.delenv("SVITT_COMMIT")
    assert main(["book", "--scale", "cpu"]) == 2
    assert "clean tree" in (error := capsys.readouterr().err) or "known commit" in error
    assert not (checkout / "_build").exists()


MAKEFILE = Path(__file__).parents[2] / "Makefile"


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    for name in ("requirements.txt", "pyproject.toml"):
        (folder / name).touch()
    return subprocess.run(
        ["make", "-f", str(MAKEFILE), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def test_make_book_passes_the_scale_on_and_makes_the_environment_once(tmp_path: Path) -> None:
    planned = make(tmp_path, "-n", "book", "SCALE=cpu").stdout
    assert "-m venv" in planned
    assert "svitt book --scale cpu" in planned
    assert "svitt book  --jobs 2" in make(tmp_path, "-n", "book").stdout
    stamp = tmp_path / ".venv" / ".installed"
    stamp.parent.mkdir()
    stamp.touch()
    os.utime(stamp, (time.time() + 60,) * 2)
    assert "pip install" not in make(tmp_path, "-n", "book").stdout
    os.utime(tmp_path / "requirements.txt", (time.time() + 120,) * 2)
    changed = subprocess.run(
        ["make", "-n", "-f", str(MAKEFILE), "book"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "pip install -r requirements.txt" in changed.stdout


def test_make_without_a_usable_python_says_what_to_install(tmp_path: Path) -> None:
    done = make(tmp_path, "test", "PYTHON=")
    assert done.returncode != 0
    assert "apt install python3 python3-venv" in done.stderr
    bare = tmp_path / "bare-python"
    bare.write_text("#!/bin/sh\nexit 1\n")  # an interpreter without venv, as Debian's python3 alone
    bare.chmod(0o755)
    done = make(tmp_path, "test", f"PYTHON={bare}")
    assert done.returncode != 0
    assert "apt install python3-venv" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_the_committed_edition_needs_current_records(
    checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (checkout / "data" / "results").mkdir(parents=True, exist_ok=True)
    assert main(["book"]) == 2
    said = capfd.readouterr().err
    assert "01_toy, scale smoke: seeds [0] are not recorded; the committed edition needs" in said
    assert not (checkout / "_build" / "html").exists()


@pytest.mark.parametrize(
    ("chapter", "gone", "said"),
    [
        ("04", "04_node_sparsity/seed1.json", r"04_node_sparsity, scale cpu: seeds \[1\] are not recorded"),
        ("04", "04_node_sparsity_movers/seed2.json", r"04_node_sparsity_movers, scale cpu: seeds \[2\]"),
        ("07", "07_curriculum_tuning/seed1000.json", r"07_curriculum_tuning, scale cpu: seeds \[1000\]"),
    ],
)
def test_the_committed_edition_needs_the_records_of_every_set(
    chapter: str, gone: str, said: str, tmp_path: Path
) -> None:
    root = Path(__file__).parents[2]
    shutil.copytree(root / "data" / "results", tmp_path / "results")
    pages = [_page(loaded, root) for loaded in load_chapters(root / "book", [chapter])]
    _require_evidence(pages, tmp_path / "results")
    (tmp_path / "results" / "cpu" / gone).unlink()
    with pytest.raises(ConfigError, match=said):
        _require_evidence(pages, tmp_path / "results")
