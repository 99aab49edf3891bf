"""``{measured}`tradeoff.effect```: a number in prose, printed from the records of this edition."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxRole
from svitt_ledger import Loaded

from svitt.errors import ConfigError
from svitt.ledger.measured import measured_text


class Measured(SphinxRole):
    """See ``svitt.ledger.measured``; an unknown name is an error of the build."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        loaded = getattr(self.env.app, "svitt_ledger", None)
        assert isinstance(loaded, Loaded)
        try:
            text = measured_text(self.text, loaded.rows, loaded.records)
        except ConfigError as error:
            message = self.inliner.reporter.error(str(error), line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        return [nodes.inline("", text, classes=["measured"])], []


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the role."""
    app.add_role("measured", Measured())
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
