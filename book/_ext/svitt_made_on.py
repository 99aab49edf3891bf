"""Below a chapter's title: on which device, and how, the records were made that the page shows.

The page's scale is the one that its notebook was executed with. Nothing is written into the notebook.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from svitt_ledger import Loaded

from svitt.batch.grid import CHAPTER_NAME, notebook_of
from svitt.ledger.format import shown_records_text


def shown_scale(notebook: Path) -> str | None:
    """The scale that a chapter was executed with, or that its parameters name; None where it names none."""
    data: dict[str, Any] = json.loads(notebook.read_bytes())
    given = data["metadata"].get("papermill", {}).get("parameters", {})
    if "scale" in given:
        return str(given["scale"])
    for cell in data["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            for node in ast.parse("".join(cell["source"])).body:
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "scale":
                    return str(ast.literal_eval(node.value))
    return None


def _say(app: Sphinx, doctree: nodes.document) -> None:
    name, source = app.env.docname, Path(app.env.doc2path(app.env.docname))
    title = next(iter(doctree.findall(nodes.title)), None)
    if title is None or source.suffix != ".ipynb" or not CHAPTER_NAME.fullmatch(name):
        return
    scale = shown_scale(source)
    if scale is None:
        return
    loaded = getattr(app, "svitt_ledger", None)
    assert isinstance(loaded, Loaded)
    records = [r for r in loaded.records if r.scale == scale and notebook_of(r.chapter, [name]) == name]
    line = nodes.paragraph("", shown_records_text(records, scale), classes=["provenance", "made-on"])
    title.parent.insert(title.parent.index(title) + 1, line)


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers what is done to a page when it was read."""
    app.setup_extension("svitt_ledger")
    app.connect("doctree-read", _say)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
