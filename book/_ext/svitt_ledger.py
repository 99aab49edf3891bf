"""Sphinx directives that show recorded results: ``claims-ledger``, ``claim`` and ``run-table``.

They read ``data/claims.yaml`` and the results folder, named by the configuration value ``svitt_results``
(relative to the project) or by the environment variable SVITT_RESULTS (a staged edition shows the results of
its own runs). A record that is damaged, or that the committed verdicts rest on and is gone, is a warning, so
that a build with ``-W`` fails. Torch is never imported.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from svitt_forest import forest_svg
from svitt_rows import claim_box, ledger_row, record_row, row, slug, table

from svitt.batch.grid import notebook_of
from svitt.errors import ConfigError, RecordError
from svitt.ledger.check import SNAPSHOT, record_files, staleness
from svitt.ledger.claims import PAPERS, claims_file, find_claim, load_claims
from svitt.ledger.verdict_words import Verdict
from svitt.ledger.verdicts import Row, ledger
from svitt.records.record import Record, read_record

LOGGER = logging.getLogger(__name__)


class Loaded:
    """Claims, verdicts and records, read once a build."""

    def __init__(self, srcdir: Path, configured: str) -> None:
        file = claims_file(srcdir)
        stated = os.environ.get("SVITT_RESULTS")
        self.results = Path(stated).absolute() if stated else file.parent.parent / configured
        if stated and not self.results.is_dir():
            self.warn(f"SVITT_RESULTS = {stated} is no folder; unset it or run the chapters into it")
        self.claims = load_claims(file)
        warned: set[str] = set()

        def once(error: RecordError) -> None:
            if str(error) not in warned:
                warned.add(str(error))
                self.warn(str(error))

        self.rows: list[Row] = ledger(self.claims, self.results, once)
        self.records: list[Record] = []
        for path in record_files(self.results):
            try:
                self.records.append(read_record(path))
            except RecordError as error:
                once(error)
        self.stale = staleness(self.records, self.results)
        for name in self._missing():
            self.warn(f"{self.results / name} is missing, and {SNAPSHOT} rests on it; restore it from git")

    def _missing(self) -> list[str]:
        snapshot = self.results / SNAPSHOT
        if not snapshot.is_file():
            return []
        try:
            named = list(json.loads(snapshot.read_bytes())["records"])
        except (ValueError, KeyError, TypeError) as error:
            self.warn(f"{snapshot} is damaged ({error}); restore it from git or run `svitt claims --write`")
            return []
        return [name for name in named if not (self.results / name).is_file()]

    @staticmethod
    def warn(message: str) -> None:
        LOGGER.warning(message, type="svitt", subtype="ledger")


class _Directive(SphinxDirective):
    @property
    def loaded(self) -> Loaded:
        found = getattr(self.env.app, "svitt_ledger", None)
        assert isinstance(found, Loaded)
        return found

    def chapter(self, name: str) -> nodes.Node:
        """A link to the chapter, or its name while it is not written."""
        page = notebook_of(name, self.env.found_docs)
        if page is None:
            return nodes.Text(f"{name} (not written yet)")
        reference = addnodes.pending_xref(
            "",
            refdomain="std",
            reftype="doc",
            reftarget=f"/{page}",
            refdoc=self.env.docname,
            refexplicit=True,
        )
        reference += nodes.inline("", name)
        return reference


def _select(name: str, label: str, values: dict[str, str]) -> str:
    options = "".join(f'<option value="{value}">{text}</option>' for value, text in values.items())
    return (
        f'<label>{label} <select data-filter="{name}"><option value="">all</option>{options}</select></label>'
    )


class ClaimsLedger(_Directive):
    """The whole ledger: counts, forest plot, filters, table."""

    def run(self) -> list[nodes.Node]:
        rows = self.loaded.rows
        out: list[nodes.Node] = [_summary(rows)]
        svg = forest_svg(rows)
        if svg:
            out.append(nodes.raw("", svg, format="html"))
            out.append(
                nodes.paragraph(
                    "",
                    "Mean and 95% interval of each contrast. A short vertical bar is the margin that the "
                    "interval must clear, the long line is no effect, the colour is the claim's verdict; "
                    "hollow: exploratory.",
                    classes=["ledger-caption"],
                )
            )
        else:
            out.append(nodes.paragraph("", "No claim has been judged yet, so there is no plot of effects."))
        filters = _select("paper", "Source", {f"paper-{key}": text for key, text in PAPERS.items()})
        filters += _select("verdict", "Verdict", {slug(verdict): str(verdict) for verdict in Verdict})
        html = f'<form class="ledger-filter" hidden>{filters} <output aria-live="polite"></output></form>'
        out.append(nodes.raw("", html, format="html"))
        made = [ledger_row(r, self.loaded.stale.get(r.claim.chapter, []), self.chapter) for r in rows]
        head = ["Claim", "The source says", "Verdicts", "Measured, and how to repeat it"]
        out.append(table(head, [27, 13, 20, 40], made, "ledger-table"))
        return out


def _summary(rows: list[Row]) -> nodes.paragraph:
    def counts(which: Callable[[Row], Verdict]) -> str:
        found = Counter(which(row) for row in rows)
        return ", ".join(f"{found[verdict]} {verdict}" for verdict in Verdict if found[verdict])

    text = f"{len(rows)} claims. Here: {counts(lambda r: r.present.verdict)}. "
    text += f"Source setting: {counts(lambda r: r.source_setting.verdict)}."
    if all(r.source_setting.verdict == Verdict.NOT_MEASURED for r in rows):
        text = "No evidence about released models: nobody has recorded a run with the sources' data. " + text
    return nodes.paragraph("", text, classes=["ledger-summary"])


class ClaimBox(_Directive):
    """One claim in full: ``{claim} shuffle``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        try:
            claim = find_claim(self.loaded.claims, self.arguments[0])
        except ConfigError as error:
            raise self.error(str(error)) from error
        [made] = [row for row in self.loaded.rows if row.claim.id == claim.id]
        return [claim_box(made, self.loaded.stale.get(claim.chapter, []))]


class RunTable(_Directive):
    """The execution page: ``{run-table}`` of recorded seeds, ``:notebooks:`` of executed notebooks."""

    option_spec = {"notebooks": directives.flag}  # noqa: RUF012  # the type that docutils declares

    def run(self) -> list[nodes.Node]:
        return self._notebooks() if "notebooks" in self.options else self._records()

    def _records(self) -> list[nodes.Node]:
        groups: dict[tuple[str, str], list[Record]] = {}
        for record in self.loaded.records:
            groups.setdefault((record.chapter, record.scale), []).append(record)
        if not groups:
            return [nodes.paragraph("", "No run is recorded yet.")]
        stale = self.loaded.stale
        rows = [record_row(groups[k], stale.get(k[0], []), self.chapter) for k in sorted(groups)]
        head = ["Chapter", "CPU seconds", "Peak memory, MiB", "Last run", "Versions and hardware"]
        return [table(head, [22, 12, 12, 22, 32], rows, "run-table")]

    def _notebooks(self) -> list[nodes.Node]:
        rows = []
        for path in sorted(Path(self.env.srcdir).glob("[0-9][0-9]_*.ipynb")):
            papermill = json.loads(path.read_bytes())["metadata"].get("papermill")
            if papermill and papermill.get("duration") is not None:
                rows.append(self._notebook(path.stem, papermill))
        if not rows:
            text = "The chapters of this edition were committed with their outputs, without execution times."
            return [nodes.paragraph("", text)]
        return [table(["Chapter", "Scale, seed", "Seconds", "Executed"], [34, 22, 14, 30], rows, "run-table")]

    def _notebook(self, name: str, papermill: dict[str, Any]) -> nodes.row:
        given = papermill.get("parameters", {})
        texts = [
            f"{given.get('scale', 'as committed')}, {given.get('seed', 'as committed')}",
            f"{papermill['duration']:.1f}",
            papermill["start_time"][:16].replace("T", " "),
        ]
        cells = [[nodes.paragraph("", "", self.chapter(name))], *([nodes.paragraph("", t)] for t in texts)]
        return row(cells)


def _load(app: Sphinx) -> None:
    app.svitt_ledger = Loaded(Path(app.srcdir), app.config.svitt_results)


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the directives, the configuration value and the page's style and filter."""
    app.add_config_value("svitt_results", "data/results", "env")
    app.connect("builder-inited", _load)
    app.add_directive("claims-ledger", ClaimsLedger)
    app.add_directive("claim", ClaimBox)
    app.add_directive("run-table", RunTable)
    app.add_css_file("ledger.css")
    app.add_js_file("ledger.js", loading_method="defer")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
