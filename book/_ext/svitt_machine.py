"""The panel "run on this machine": what the smoke runs of ``svitt book`` took and found here."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from svitt_rows import row, table


class ThisMachine(SphinxDirective):
    """``{this-machine}``: a table of the smoke runs, or one sentence where none ran for this build."""

    def run(self) -> list[nodes.Node]:
        stated = os.environ.get("SVITT_MACHINE")
        if not stated:
            text = "This edition was built without running anything; svitt book runs every chapter."
            return [nodes.paragraph("", text, classes=["this-machine"])]
        data: dict[str, Any] = json.loads(Path(stated).read_text(encoding="utf-8"))
        hardware = data["hardware"]
        place = f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gib']} GiB"
        versions = f"Python {data['versions']['python']}, torch {data['versions']['torch']}"
        about = f"Every chapter ran here at scale smoke, too small to judge, on {place}; {versions}."
        rows = [
            row([[nodes.paragraph("", text)] for text in _texts(chapter)]) for chapter in data["chapters"]
        ]
        head = ["Chapter, seed", "Seconds", "Peak memory, MiB", "Some values found here"]
        made = table(head, [26, 12, 16, 46], rows, "machine-table")
        return [nodes.paragraph("", about, classes=["this-machine"]), made]


def _texts(chapter: dict[str, Any]) -> list[str]:
    values = ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in chapter["values"].items()
    )
    return [
        f"{chapter['chapter']}, {chapter['seed']}",
        f"{chapter['seconds']:.1f}",
        f"{chapter['memory_mib']:,.0f}",
        values,
    ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the directive."""
    app.add_directive("this-machine", ThisMachine)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
