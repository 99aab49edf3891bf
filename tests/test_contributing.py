"""CONTRIBUTING.md is true: its picture, its walk from a chapter to the line that prunes, its new score."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from tests.rooms import FLOORS, arrows, picture
from tests.test_imports import ALLOWED

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SHOWN = ("layers", "losses", "models", "training", "evaluation", "profiling")


def test_the_picture_is_what_the_imports_are() -> None:
    [block] = re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL)
    assert block == picture(), "python -m tests.rooms prints the picture of today"


def test_every_arrow_points_down() -> None:
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    assert set(floor) == set(ALLOWED) | {"commands"}
    up = {(start, to) for start, to in arrows() if floor[to] > floor[start]}
    assert up == set()
    # On one floor, too, no two rooms import each other.
    assert {(a, b) for a, b in arrows() if (b, a) in arrows()} == set()


def test_from_chapter_4_to_the_line_that_prunes_is_three_files() -> None:
    notebook = json.loads((ROOT / "book" / "04_node_sparsity.ipynb").read_text(encoding="utf-8"))
    page = "\n".join("".join(cell["source"]) for cell in notebook["cells"])
    experiment = ROOT / "svitt" / "experiments" / "ch04_node_sparsity" / "experiment.py"
    assert experiment.is_file() and "ch04_node_sparsity" in page
    [name] = set(re.findall(r"```\{source\} (svitt\.layers\.token_pruning):keep_top_tokens", page))
    pruning = (ROOT / Path(*name.split("."))).with_suffix(".py")
    assert "order[:, :kept].sort(dim=1).values" in pruning.read_text(encoding="utf-8"), "the line that prunes"


def test_the_new_score_of_the_text_works() -> None:
    from svitt.layers.token_pruning import SCORES, Clues, find_score

    [code] = [
        block for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL) if "token_score" in block
    ]
    assert len(code.strip().splitlines()) <= 8
    try:
        exec(code, {})
        clues = Clues(torch.arange(4)[None], torch.tensor([[0.25, 0.0, 1.0, 0.04]]))
        assert find_score("mine")(clues).tolist() == [[0.5, 0.0, 1.0, pytest.approx(0.2)]]
    finally:
        SCORES.pop("mine", None)


@pytest.mark.parametrize("chapter", sorted((ROOT / "book").glob("[0-9][0-9]_*.ipynb")), ids=lambda p: p.stem)
def test_every_chapter_shows_a_definition_that_exists(chapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    from svitt_source import definition

    cells = json.loads(chapter.read_text(encoding="utf-8"))["cells"]
    names = re.findall(r"```\{source\} (\S+)", "\n".join("".join(c["source"]) for c in cells))
    assert any(name.split(".")[1] in SHOWN for name in names), "no definition of what the chapter is about"
    for name in names:
        text, file, line = definition(name)
        assert text.splitlines()[0] in (ROOT / file).read_text().splitlines()[line - 1]


def test_an_unknown_definition_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    from svitt_source import definition

    from svitt.errors import ConfigError

    with pytest.raises(ConfigError, match="did you mean 'keep_top_tokens'"):
        definition("svitt.layers.token_pruning:keep_top_token")
    with pytest.raises(ConfigError, match="no module"):
        definition("svitt.layers.pruning:x")


@pytest.mark.parametrize("name", ["03_edge_sparsity", "04_node_sparsity", "07_curriculum"])
def test_the_smallest_code_calls_layers_in_at_most_twelve_lines(name: str) -> None:
    cells = json.loads((ROOT / "book" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    tagged = [c for c in cells if "nbval-check-output" in c.get("metadata", {}).get("tags", [])]
    assert tagged
    for cell in tagged:
        source = "".join(cell["source"])
        assert len(source.splitlines()) <= 12 and "report." not in source
