"""A definition as text with a hole for every reference to the package, and what fills the holes."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from svitt.errors import ConfigError
from svitt.records.code_names import COMPREHENSIONS, FUNCTIONS, STRICT, Key, Target, last_name, left_out

if TYPE_CHECKING:
    from svitt.records.code_graph import Package

_BUILTINS = frozenset(dir(builtins)) | {"__name__", "__file__", "__doc__", "__class__", "__package__"}


class Reader:
    """Writes statements of one module as text with holes, and collects what fills them."""

    def __init__(self, package: Package, module: str, own: Iterable[ast.AST]) -> None:
        self.package = package
        self.module = module
        self.is_package = (package.file(module) or Path()).name == "__init__.py"
        self.own = {id(node) for node in own}  # their own name does not count
        self.found: list[Key] = []
        self.scopes: list[tuple[bool, dict[str, Target | None]]] = []  # (of a class?, name -> import or None)

    def text(self, node: object) -> str:
        if isinstance(node, ast.Name):
            return self._reference(node, [])
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.Constant):
            return f"{type(node.value).__name__} {node.value!r}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            return ""
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            return f"Raise({self.text(node.exc.func)})"
        if isinstance(node, ast.Assert):
            return f"Assert({self.text(node.test)})"
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.arg):
            self._annotation(node.annotation)
            return f"arg {node.arg}"
        if isinstance(node, ast.AnnAssign) and self.scopes and not self.scopes[-1][0]:
            self._annotation(node.annotation)
            return self._fields(node, skip=("annotation", "simple"))
        if isinstance(node, (*FUNCTIONS, ast.Lambda)):
            return self._function(node)
        if isinstance(node, ast.ClassDef):
            return self._class(node)
        if isinstance(node, COMPREHENSIONS):
            return self._comprehension(node)
        if isinstance(node, ast.AST):
            return self._fields(node)
        if isinstance(node, list):
            return "[" + ";".join(filter(None, map(self.text, node))) + "]"
        return repr(node)

    def _fields(self, node: ast.AST, skip: tuple[str, ...] = ()) -> str:
        """Empty fields are left out: a newer Python may have more of them."""
        skip = (*skip, "ctx", "type_comment", "kind")
        fields = [(k, v) for k, v in ast.iter_fields(node) if k not in skip and v is not None and v != []]
        return f"{type(node).__name__}({','.join(f'{k}={self.text(v)}' for k, v in fields)})"

    def _annotation(self, node: ast.expr | None) -> None:
        """What an annotation refers to, once each and in order; not how it is written."""
        if node is None:
            return
        outer, self.found = self.found, []
        self.text(node)
        outer.extend(key for key in dict.fromkeys(sorted(self.found)) if key not in outer)
        self.found = outer

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> str:
        args = node.args
        outside = self.text([*args.defaults, *args.kw_defaults, *getattr(node, "decorator_list", [])])
        name = "" if isinstance(node, ast.Lambda) or id(node) in self.own else f" {node.name}"
        body: list[ast.stmt] = [ast.Expr(node.body)] if isinstance(node, ast.Lambda) else node.body
        every = [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, [args.vararg, args.kwarg])]
        scope: dict[str, Target | None] = {arg.arg: None for arg in every}
        if not isinstance(node, ast.Lambda):
            self._annotation(node.returns)
            scope |= self._bound(body)
        self.scopes.append((False, scope))
        shape = f"{len(args.posonlyargs)} {len(args.args)} {args.vararg is not None} {args.kwarg is not None}"
        inside = f"{self.text(every)}{self.text(body)}"
        self.scopes.pop()
        return f"{type(node).__name__}{name}({shape};{outside};{inside})"

    def _class(self, node: ast.ClassDef) -> str:
        name = "" if id(node) in self.own else f" {node.name}"
        outside = self.text([*node.bases, *node.keywords, *node.decorator_list])
        self.scopes.append((True, self._bound(node.body)))
        inside = self.text(node.body)
        self.scopes.pop()
        return f"Class{name}({outside};{inside})"

    def _comprehension(self, node: ast.AST) -> str:
        names: dict[str, Target | None] = {
            inner.id: None
            for generator in getattr(node, "generators", [])
            for inner in ast.walk(generator.target)
            if isinstance(inner, ast.Name)
        }
        self.scopes.append((False, names))
        text = self._fields(node)
        self.scopes.pop()
        return text

    def _bound(self, body: list[ast.stmt]) -> dict[str, Target | None]:
        """The names that a function's or a class's body binds itself, without those of inner functions."""
        bound: dict[str, Target | None] = {}
        outer: set[str] = set()
        waiting: list[ast.AST] = list(body)
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.Global | ast.Nonlocal):
                outer.update(node.names)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                bound |= self.package.bound_by_import(self.module, self.is_package, node)
            elif isinstance(node, (*FUNCTIONS, ast.ClassDef)):
                bound[node.name] = None
                continue
            elif isinstance(node, (ast.Lambda, *COMPREHENSIONS)):
                # A walrus inside a comprehension binds outside of it.
                bound |= {w.target.id: None for w in ast.walk(node) if isinstance(w, ast.NamedExpr)}
                continue
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
                bound[node.id] = None
            elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
                bound[node.name] = None
            waiting.extend(ast.iter_child_nodes(node))
        return {name: target for name, target in bound.items() if name not in outer}

    def _target(self, node: ast.Name) -> Target | None:
        """What a name stands for here; ``"local"`` where a function binds it."""
        innermost = True
        for is_class, names in reversed(self.scopes):
            if node.id in names and (innermost or not is_class):
                return names[node.id] or "local"
            innermost = False
        found = self.package.resolve(self.module, node.id)
        if found is None and node.id not in _BUILTINS and self._strict:
            raise ConfigError(
                f"{self.module}, line {node.lineno}: cannot follow the name {node.id!r}; import it by name"
            )
        return found

    @property
    def _strict(self) -> bool:
        return self.module == STRICT or self.module.startswith(STRICT + ".")

    def _attribute(self, node: ast.Attribute) -> str:
        chain: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            chain.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            return self._reference(inner, chain)
        return f"{self.text(inner)}" + "".join(f".{name}" for name in reversed(chain))

    def _reference(self, node: ast.Name, chain: list[str]) -> str:
        """A name and the attributes taken of it (last first)."""
        target = self._target(node)
        if target == "local" or target is None:
            start = f"Name({node.id})"
        elif isinstance(target, str):
            start = f"From({target})"
        else:
            while target[1] is None and chain and not left_out(target[0]):
                step = self.package.resolve(target[0], chain[-1])
                if step is None:
                    raise ConfigError(
                        f"{self.module}, line {node.lineno}: {target[0]} has no {chain[-1]!r} that can be "
                        "followed; import the name from the module that defines it"
                    )
                chain.pop()
                if isinstance(step, str):
                    return f"From({step})" + "".join(f".{name}" for name in reversed(chain))
                target = step
            if left_out(target[0]):
                start, chain = "@", []
            else:
                self.found.append(Key(target[0], target[1] or "*"))
                start = "@"
        return start + "".join(f".{name}" for name in reversed(chain))

    def _call(self, node: ast.Call) -> str:
        if isinstance(node.func, ast.Name) and node.func.id == "require" and node.args:
            return f"require({self.text(node.args[0])})"  # the rest is the text of its error
        if self._strict and last_name(node) in ("import_module", "__import__"):
            raise ConfigError(
                f"{self.module}, line {node.lineno}: an import by {ast.unparse(node.func)} cannot be "
                "followed; write an import statement"
            )
        return self._fields(node)
