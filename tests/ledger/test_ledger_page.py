"""The directives of book/_ext: a small site is built in a temporary folder with given results."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bs4 import BeautifulSoup
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

from svitt.ledger.check import write_snapshot
from svitt.ledger.claims import load_claims, rule_hashes
from svitt.ledger.verdicts import ledger
from svitt.records.code_list import write_code
from svitt.records.record import make_record, read_outcomes, read_record, write_record
from svitt.records.training import Training
from tests.records.codes import toy_code

ROOT = Path(__file__).parents[2]
CLAIMS = load_claims(ROOT / "data" / "claims.yaml")
CHAPTER = "05_efficiency"


CODE = toy_code("svitt.experiments.ch05_efficiency.experiment:measure", Block="1")


def write_results(results: Path, scale: str = "cpu") -> None:
    """Chapter 5 with counts that contradict `efficiency` (2x) and `context`."""
    flops = {
        "dense/4": 1.0,
        "dense/8": 2.0,
        "dense/16": 4.0,
        "sparse/8": 1.2,
        "sparse/16": 2.0,
        "sparse/32": 3.0,
    }
    outcomes = {f"encoder/{name}/flops": np.array(value) for name, value in flops.items()}
    for seed in range(3):
        record = make_record(
            CHAPTER,
            scale,
            seed,
            parameters={},
            values={},
            code=CODE,
            rule_hashes=rule_hashes(CLAIMS, CHAPTER, scale, outcomes),
            root=results,
            cpu_seconds=100.0,
            wall_seconds=120.0,
            command=f"svitt run {CHAPTER} --scale {scale} --seeds {seed}",
        )
        write_code(results, CODE)
        write_record(results, record, outcomes)


# Each with its source files: Sphinx keeps those of a build before in the same process.
READERS: dict[str, dict[str, Any]] = {
    "myst_parser": {"source_suffix": {".md": "markdown"}},
    "myst_nb": {"source_suffix": {".md": "myst-nb", ".ipynb": "myst-nb"}, "nb_execution_mode": "off"},
}


class Site:
    """A project folder with a small book; ``build`` returns the warnings."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.results = root / "data" / "results"
        (root / "data").mkdir()
        shutil.copy(ROOT / "data" / "claims.yaml", root / "data" / "claims.yaml")
        book = root / "book"
        book.mkdir()
        shutil.copy(ROOT / "book" / "ledger.md", book / "ledger.md")
        shutil.copy(ROOT / "book" / "reproduce.md", book / "reproduce.md")
        (book / "index.md").write_text("# Book\n\n```{toctree}\nledger\nreproduce\n05_efficiency\n```\n")
        (book / f"{CHAPTER}.md").write_text("# Five\n\n```{claim} efficiency\n```\n")
        shutil.copytree(ROOT / "book" / "_assets", book / "_assets", ignore=shutil.ignore_patterns("vendor"))

    def build(self, reader: str = "myst_parser") -> list[str]:
        log = self.root / "warnings"
        with log.open("w") as warnings, patch_docutils(), docutils_namespace():
            Sphinx(
                self.root / "book",
                None,
                self.root / "html",
                self.root / "doctrees",
                "html",
                confoverrides={
                    "extensions": [reader, "svitt_ledger", "svitt_machine", "svitt_made_on"],
                    **READERS[reader],
                    "html_static_path": [str(self.root / "book" / "_assets")],
                    "html_theme": "basic",
                },
                status=None,
                warning=warnings,
                freshenv=True,
            ).build(force_all=True)
        return log.read_text().splitlines()

    def page(self, name: str) -> BeautifulSoup:
        return BeautifulSoup((self.root / "html" / f"{name}.html").read_text(), "html.parser")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    monkeypatch.delenv("SVITT_RESULTS", raising=False)
    return Site(tmp_path)


def test_without_results_every_row_says_not_measured(site: Site) -> None:
    assert site.build() == []
    page = site.page("ledger")
    rows = page.select("tr.ledger-row")
    assert [row.select_one(".claim-id").text for row in rows] == [claim.id for claim in CLAIMS]  # type: ignore[union-attr]
    assert all("verdict-not-measured" in row["class"] for row in rows)
    # A row has a command only where there is something to run.
    runnable = [row for row in rows if "svitt run" in row.text]
    assert all(int(row.text.split("svitt run ")[1][:2]) <= 7 for row in runnable) and len(runnable) == 14
    assert "No evidence about released models" in page.text
    assert not page.select("svg") and "27 not measured" in page.text
    assert "No run is recorded yet" in site.page("reproduce").text


def test_results_give_verdicts_a_plot_provenance_and_staleness(site: Site) -> None:
    write_results(site.results)
    assert site.build() == []
    page = site.page("ledger")
    row = page.select_one("tr.ledger-row:has(#claim-efficiency)")
    assert row is not None and {"paper-blog", "verdict-counted"} <= set(row["class"])
    for text in (
        "6-7x",
        "not at 8 and 16 frames (1.67 to 2.00)",
        "first edition contradicted",
        "scale cpu, seeds 0-2",
        "svitt run 05_efficiency --scale cpu --seeds 0-2",
        "Stale",
    ):
        assert text in row.text, text
    assert row.select_one('a[href="05_efficiency.html"]') is not None
    names = [text.text for text in page.select("svg text.name")]
    assert names == ["efficiency", "context 1/3", "context 2/3", "context 3/3"]
    assert page.select_one('svg a[href="#claim-context"]') is not None
    box = site.page(CHAPTER).select_one(".claim-box.verdict-counted")
    assert (
        box is not None and "Tested here" in box.text and "not at 8 and 16 frames (1.67 to 2.00)" in box.text
    )
    table = site.page("reproduce").select_one("table.run-table")
    assert table is not None and "300" in table.text and "torch" in table.text


def test_smoke_is_too_small_to_judge(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    other = site.root / "elsewhere"
    write_results(other, "smoke")
    monkeypatch.setenv("SVITT_RESULTS", str(other))
    assert site.build() == []
    page = site.page("ledger")
    assert "2 too small to judge" in page.text and not page.select("svg")


def test_a_damaged_or_missing_record_is_a_warning(site: Site) -> None:
    write_results(site.results)
    write_snapshot(ledger(CLAIMS, site.results), site.results)
    path = site.results / "cpu" / CHAPTER / "seed1.json"
    text = path.read_text()
    path.write_text(text.replace('"cpu_seconds": 100.0', '"cpu_seconds": 1.0'))
    assert any("seed1.json was edited" in line for line in site.build())
    path.unlink()
    assert any("seed1.json is missing, and verdicts.json rests on it" in line for line in site.build())
    path.write_text(text)
    (site.results / "verdicts.json").write_text("{}")
    assert any("verdicts.json is damaged" in line for line in site.build())


def test_an_unknown_claim_and_a_wrong_folder_are_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    (site.root / "book" / f"{CHAPTER}.md").write_text("# Five\n\n```{claim} eficiency\n```\n")
    monkeypatch.setenv("SVITT_RESULTS", str(site.root / "none"))
    warnings = "\n".join(site.build())
    assert "did you mean 'efficiency'" in warnings and "none is no folder" in warnings


def test_execution_times_come_from_papermill(site: Site) -> None:
    papermill = {
        "duration": 12.345,
        "start_time": "2026-01-02T03:04:05",
        "parameters": {"scale": "smoke", "seed": 0},
    }
    notebook = {"cells": [], "metadata": {"papermill": papermill}, "nbformat": 4, "nbformat_minor": 5}
    (site.root / "book" / "05_efficiency.ipynb").write_text(json.dumps(notebook))
    assert site.build() == []
    rows = [row.text.split("\n") for row in site.page("reproduce").select("table.run-table tbody tr")]
    assert any("12.3" in cells and "smoke, 0" in cells and "2026-01-02 03:04" in cells for cells in rows), (
        rows
    )


@pytest.mark.browser
def test_the_filter_works_in_the_static_page(site: Site) -> None:
    browser_path = shutil.which("chromium")
    if browser_path is None:
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    write_results(site.results)
    assert site.build() == []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browser_path, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        page = browser.new_page()
        errors: list[object] = []
        page.on("pageerror", lambda error: errors.append(error))
        page.goto((site.root / "html" / "ledger.html").as_uri())
        rows = page.locator("tr.ledger-row:visible")
        assert rows.count() == 27
        page.select_option("select[data-filter=verdict]", "verdict-counted")
        assert rows.count() == 2 and page.inner_text("form output") == "2 of 27 claims"
        page.select_option("select[data-filter=paper]", "paper-tubes")
        assert rows.count() == 0
        page.select_option("select[data-filter=verdict]", "")
        assert rows.count() == sum("tubes" in claim.sources for claim in CLAIMS)
        assert errors == []
        browser.close()


def notebook(scale: str) -> str:
    source = f'scale = "{scale}"  # smoke or cpu\nseed = 0'
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": "# Five\n\nText."},
        {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": source, "outputs": [],
         "execution_count": None},
    ]  # fmt: skip
    return json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": cells})


def test_a_chapter_says_on_which_device_its_records_were_made(site: Site) -> None:
    write_results(site.results)
    path = site.results / "cpu" / CHAPTER / "seed2.json"
    record = read_record(path)
    hardware = record.hardware.model_copy(update={"gpu": "NVIDIA H100"})
    other = record.model_copy(update={"hardware": hardware, "training": Training(stacked=(2, 3))})
    outcomes = read_outcomes(path)
    path.unlink()
    write_record(site.results, other, outcomes)
    (site.root / "book" / f"{CHAPTER}.md").unlink()
    page = site.root / "book" / f"{CHAPTER}.ipynb"
    said = []
    for scale in ("cpu", "gpu"):
        page.write_text(notebook(scale))
        site.build("myst_nb")  # a verdict over both devices is refused, which is a warning
        first = site.page(CHAPTER).select_one("h1 + p.made-on")
        assert first is not None
        said.append(first.text)
    cpu = f"CPU {record.hardware.cpu} ({record.hardware.cores} cores), 1 thread"
    assert said == [
        f"The records of scale cpu shown here were made on {cpu}: {CHAPTER} seeds 0-1; on GPU NVIDIA H100, 1 "
        f"thread, models trained in a stack of 2 seeds: {CHAPTER} seeds 2.",
        "Nothing is recorded at scale gpu in this edition.",
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "book").glob("0*.ipynb")), ids=lambda path: path.stem)
def test_the_scale_of_every_chapter_is_found(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    from svitt_made_on import shown_scale

    assert shown_scale(path) == "cpu"
