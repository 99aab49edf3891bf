"""What the reading of code speaks of: keys of definitions, what is left out, kinds of statements."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TypeGuard

PACKAGE = "svitt"
# These keep, show or start what was computed; they do not change a number.
LEFT_OUT = ("svitt.ledger", "svitt.records", "svitt.batch", "svitt.viz", "svitt.commands", "svitt.cli")
# Below it a reference that cannot be followed is an error: an experiment says what it uses.
STRICT = "svitt.experiments"
# Decorators that register nothing: every other one makes its function an effect of the module.
PURE = {
    "cache", "cached_property", "classmethod", "contextmanager", "dataclass", "disable", "lru_cache",
    "no_grad", "overload", "property", "runtime_checkable", "staticmethod", "total_ordering",
}  # fmt: skip
UNSEEN = {"__all__", "__version__"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)

# What a name stands for: a definition (module, name), a module of the package (module, None), or the dotted
# name of something from outside.
Target = tuple[str, str | None] | str


@dataclass(frozen=True, order=True)
class Key:
    """A definition, an effect (``effect`` counts from 1 in its module), or all definitions of a module
    (name ``*``)."""

    module: str
    name: str
    effect: int = 0

    @property
    def label(self) -> str:
        """For people: ``module.name``."""
        return f"{self.module}.{self.name}" + (f" [effect {self.effect}]" if self.effect else "")


def left_out(module: str) -> bool:
    """Whether a module does not count."""
    return any(module == prefix or module.startswith(prefix + ".") for prefix in LEFT_OUT)


def last_name(node: ast.expr) -> str:
    """``c`` of ``a.b.c(...)``."""
    while isinstance(node, ast.Call):
        node = node.func
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def registers(decorator: ast.expr) -> bool:
    name = decorator.func if isinstance(decorator, ast.Call) else decorator
    if isinstance(name, ast.Attribute) and name.attr in ("setter", "getter", "deleter"):
        return False
    return last_name(decorator) not in PURE


def only_for_types(node: ast.stmt) -> TypeGuard[ast.If]:
    return isinstance(node, ast.If) and last_name(node.test) == "TYPE_CHECKING"


def decides_nothing(node: ast.stmt) -> bool:
    """A check, a text that stands alone, or what a script does when it is run itself."""
    if isinstance(node, ast.If):
        return ast.unparse(node.test).startswith("__name__")
    return isinstance(node, ast.Assert | ast.Pass) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


def stored_names(node: ast.AST) -> set[str]:
    """Names that a top-level statement binds, outside of functions in it."""
    found: set[str] = set()
    waiting: list[ast.AST] = [node]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, (*FUNCTIONS, ast.ClassDef, ast.Lambda, *COMPREHENSIONS)):
            continue
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            found.add(inner.id)
        waiting.extend(ast.iter_child_nodes(inner))
    return found
