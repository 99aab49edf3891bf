"""Every chapter is well formed, runs at scale smoke, and prints values that depend on the layers.

The committed chapters carry the outputs of scale cpu. nbval runs copies whose parameters say smoke and
compares the cells tagged ``nbval-check-output``: these print values that are the same at every scale.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from tests.book.tools import CHAPTERS, ROOT, toc_pages

by_name = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
PARAMETERS = {"scale": "cpu", "seed": 0, "device": "cpu", "out_dir": ""}
TAG = "nbval-check-output"
WORLDS = ROOT / "book" / "worlds.ipynb"
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|work|Users|tmp|private|mnt)/\w")


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


def code_cells(chapter: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(chapter, as_version=4).cells if cell.cell_type == "code"]


def test_the_chapters_are_the_notebooks_of_the_contents() -> None:
    assert CHAPTERS
    listed = [page for page in toc_pages(ROOT / "_toc.yml") if (ROOT / "book" / f"{page}.ipynb").exists()]
    assert listed == [WORLDS.stem, *(chapter.stem for chapter in CHAPTERS)]


@by_name
def test_parameters(chapter: Path) -> None:
    found = papermill.inspect_notebook(str(chapter))
    assert set(found) == set(PARAMETERS)
    values: dict[str, Any] = {}
    cells = [cell for cell in code_cells(chapter) if "parameters" in tags(cell)]
    assert len(cells) == 1
    exec(cells[0].source, values)
    assert {name: values[name] for name in PARAMETERS} == PARAMETERS
    assert not [cell for cell in code_cells(chapter) if "injected-parameters" in tags(cell)]


@by_name
def test_form(chapter: Path) -> None:
    notebook = nbformat.read(chapter, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.kernelspec.language == "python"
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")
    long = [
        i
        for i, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and cell.source.count("\n") >= 25
    ]
    assert long == [], "code cells of more than 25 lines; move the work into svitt"


@pytest.mark.parametrize("chapter", [*CHAPTERS, WORLDS], ids=lambda path: path.stem)
def test_committed_outputs(chapter: Path) -> None:
    cells = code_cells(chapter)
    assert [cell.source for cell in cells if cell.execution_count is None and cell.source.strip()] == []
    counts = [cell.execution_count for cell in cells if cell.source.strip()]
    assert counts == sorted(set(counts)), "run from top to bottom, in one go"
    outputs = [output for cell in cells for output in cell.outputs]
    assert [output.evalue for output in outputs if output.output_type == "error"] == []
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    texts = [text for output in outputs for text in shown_text(output)]
    assert [text for text in texts if MACHINE_PATH.search(text)] == []


def shown_text(output: nbformat.NotebookNode) -> list[str]:
    """The text a reader sees of an output; base64 of pictures is none."""
    data = output.get("data", {})
    return [str(output.get("text", "")), *(str(v) for kind, v in data.items() if kind.startswith("text/"))]


@by_name
def test_has_a_checked_value(chapter: Path) -> None:
    checked = [cell for cell in code_cells(chapter) if TAG in tags(cell)]
    assert checked, f"no cell is tagged {TAG}"
    for cell in checked:
        assert cell.outputs and re.search(r"\d", "".join(shown_text(cell.outputs[0]))), "prints no value"


@dataclass(frozen=True)
class Replay:
    """One run of nbval: exit status, report, and notebook name -> numbers of the failed code cells."""

    status: int
    report: str
    failed: dict[str, list[int]]
    passed: int


def nbval(copies: list[Path], python_path: Path | None = None) -> Replay:
    """Runs nbval over ``copies``; ``python_path`` goes in front of the kernels' PYTHONPATH."""
    xml = copies[0].parent / "nbval.xml"
    command = [
        sys.executable, "-m", "pytest", "--nbval-lax", *map(str, copies), "--nbval-current-env",
        "--nbval-cell-timeout", "600", "--nbval-sanitize-with", str(ROOT / "tests" / "nbval.cfg"),
        "-p", "no:cacheprovider", "-q", "--rootdir", str(copies[0].parent), "-c", os.devnull,
        f"--junitxml={xml}",
    ]  # fmt: skip
    environment = dict(os.environ)
    for name in [n for n in environment if n.startswith(("PYTEST_", "COV_"))]:
        del environment[name]
    if python_path is not None:
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, [str(python_path), environment.get("PYTHONPATH")])
        )
    done = subprocess.run(command, cwd=copies[0].parent, env=environment, capture_output=True, text=True)
    failed: dict[str, list[int]] = {}
    passed = 0
    for case in ElementTree.parse(xml).iter("testcase"):
        if case.find("failure") is None and case.find("error") is None:
            passed += 1
            continue
        notebook = re.split(r"[./:]", case.get("classname", ""))
        name = next((copy.stem for copy in copies if copy.stem in notebook), case.get("classname", ""))
        failed.setdefault(name, []).append(int(re.findall(r"\d+", case.get("name", ""))[-1]))
    return Replay(done.returncode, done.stdout[-8000:] + done.stderr[-2000:], failed, passed)


def smoke_copy(chapter: Path, folder: Path, out_dir: Path) -> Path:
    """A copy of ``chapter`` in ``folder`` whose parameters say smoke and ``out_dir``."""
    notebook = parameterize_notebook(
        load_notebook_node(str(chapter)), {**PARAMETERS, "scale": "smoke", "out_dir": str(out_dir)}
    )
    copy = folder / chapter.name
    nbformat.write(notebook, copy)
    return copy


@pytest.fixture(scope="module")
def out_dir(smoke_workspace: Path) -> Path:
    """Where every chapter has its smoke record already: the notebooks read it."""
    return smoke_workspace


@pytest.fixture(scope="module")
def replay(out_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Replay:
    folder = tmp_path_factory.mktemp("copies")
    copies = [smoke_copy(chapter, folder, out_dir) for chapter in CHAPTERS]
    shutil.copy(WORLDS, folder)  # no parameters: it shows the samples as they are
    return nbval([*copies, folder / WORLDS.name])


@pytest.mark.slow
def test_every_chapter_runs_at_smoke(replay: Replay) -> None:
    assert replay.status == 0, replay.report
    assert replay.failed == {}
    assert replay.passed >= sum(len(code_cells(page)) for page in [*CHAPTERS, WORLDS])


# In the kernel, before the chapter's first cell: once ``svitt.layers.attention`` is imported, the attention
# of every encoder of ours gives half of what it should. A target that is not there stops the import, so that
# all cells fail and the test below says so.
BREAK = """
import importlib.abc, importlib.machinery, sys

class Breaker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "svitt.layers.attention":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            whole = module.SelfAttention.forward

            def forward(self, *args, **kwargs):
                out, *rest = whole(self, *args, **kwargs)
                return (0.5 * out, *rest)

            module.SelfAttention.forward = forward

        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Breaker())
"""


@pytest.mark.slow
@by_name
def test_a_broken_layer_changes_the_checked_values(
    chapter: Path, replay: Replay, out_dir: Path, tmp_path: Path
) -> None:
    """Trained models and results of the sound run are reused, so only what is computed anew can differ."""
    assert replay.status == 0, "the sound run failed; see test_every_chapter_runs_at_smoke"
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(BREAK)
    copy = smoke_copy(chapter, tmp_path, out_dir)
    broken = nbval([copy], hook)
    assert broken.status == 1, broken.report
    checked = {number for number, cell in enumerate(code_cells(copy)) if TAG in tags(cell)}
    assert set(broken.failed) == {chapter.stem}
    failed = set(broken.failed[chapter.stem])
    assert failed and failed <= checked, f"failed {sorted(failed)}, tagged {sorted(checked)}\n{broken.report}"


def test_the_reports_of_nbval_are_read_right(tmp_path: Path) -> None:
    """A changed value in a tagged cell fails that cell; in any other cell it does not."""
    cells = [nbformat.v4.new_markdown_cell("# A title")]
    for number, (source, committed, tagged) in enumerate(
        [("print(1)", "7\n", False), ("print(2)", "2\n", True), ("print(3)", "8\n", True)], start=1
    ):
        output = nbformat.v4.new_output("stream", name="stdout", text=committed)
        metadata = {"tags": [TAG]} if tagged else {}
        cells.append(
            nbformat.v4.new_code_cell(source, outputs=[output], execution_count=number, metadata=metadata)
        )
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    path = tmp_path / "99_example.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    replay = nbval([path])
    assert (replay.status, replay.failed, replay.passed) == (1, {"99_example": [2]}, 2), replay.report


def test_machine_paths_are_told_from_addresses() -> None:
    assert MACHINE_PATH.search("saved /" + "home/ann/x") and MACHINE_PATH.search("'/tmp/x'")
    assert not MACHINE_PATH.search("https://example.org/home/x") and not MACHINE_PATH.search("data/results/x")
