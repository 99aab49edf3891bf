"""``{measured}`tradeoff.effect```: a number in prose, printed from the records of this edition."""

from __future__ import annotations

import os
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxRole
from svitt_ledger import Loaded

from svitt.errors import ConfigError, RecordError
from svitt.ledger.measured import NotRecordedError, measured_text
from svitt.ledger.results import Results

MISSING = "[not recorded]"


class Measured(SphinxRole):
    """See ``svitt.ledger.measured``; an unknown name is an error of the build.

    An edition of other records (SVITT_RESULTS), which may have other values, scales or seeds than the text
    was written about, says where it has no number.
    """

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        loaded = getattr(self.env.app, "svitt_ledger", None)
        results = getattr(self.env.app, "svitt_measured", None)
        assert isinstance(loaded, Loaded)
        assert isinstance(results, Results)
        try:
            text = measured_text(self.text, loaded.rows, results)
        except (ConfigError, RecordError) as error:
            if isinstance(error, NotRecordedError) and "SVITT_RESULTS" in os.environ:
                return [nodes.inline("", MISSING, classes=["measured"])], []
            message = self.inliner.reporter.error(str(error), line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        return [nodes.inline("", text, classes=["measured"])], []


def _load(app: Sphinx) -> None:
    # Damaged records are warnings of the ledger already, and count as not there.
    app.svitt_measured = Results(app.svitt_ledger.results, lambda error: None)


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the role."""
    app.setup_extension("svitt_ledger")
    app.connect("builder-inited", _load, priority=600)
    app.add_role("measured", Measured())
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
