"""``{source} svitt.layers.token_pruning:keep_top_tokens``: a definition of the package, and its place.

The page shows what runs, read from the file at build time, so that it cannot part from it. Unknown names are
errors, with the nearest known one.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import svitt
from svitt.config import nearest
from svitt.errors import ConfigError

PACKAGE = Path(svitt.__file__).resolve().parent


def definition(name: str) -> tuple[str, str, int]:
    """(source, file relative to the project, first line) of ``module:name``.

    Errors: ConfigError for a module or a name that there is not.
    """
    module, _, wanted = name.partition(":")
    base = PACKAGE.parent.joinpath(*module.split("."))
    file = next((f for f in (base.with_suffix(".py"), base / "__init__.py") if f.is_file()), None)
    if file is None or not module.startswith("svitt."):
        raise ConfigError(f"no module {module!r} of svitt; give its dotted name")
    lines = file.read_text(encoding="utf-8").splitlines()
    known: dict[str, ast.FunctionDef | ast.ClassDef] = {
        node.name: node
        for node in ast.parse("\n".join(lines)).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    if wanted not in known:
        raise ConfigError(f"no function or class {wanted!r} in {module}; {nearest(wanted, known)}")
    node = known[wanted]
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    text = "\n".join(lines[first - 1 : node.end_lineno])
    return text, file.relative_to(PACKAGE.parent).as_posix(), first


class Source(SphinxDirective):
    """The definition in a fold, its place as the title; ``:open:`` shows it unfolded."""

    required_arguments = 1
    option_spec = {"open": directives.flag}  # noqa: RUF012  # the type that docutils declares

    def run(self) -> list[nodes.Node]:
        try:
            text, file, line = definition(self.arguments[0])
        except ConfigError as error:
            raise self.error(str(error)) from error
        name = self.arguments[0].rpartition(":")[2]
        block = nodes.literal_block(text, text, language="python")
        place = nodes.Text(f" in {file}, line {line}")
        title = nodes.paragraph("", "", nodes.literal("", name), place, classes=["source-place"])
        if "open" in self.options:
            return [title, block]
        fold = nodes.container("", block, classes=["toggle"])
        return [title, fold]


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the directive."""
    app.add_directive("source", Source)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
