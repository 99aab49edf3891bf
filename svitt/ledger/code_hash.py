"""A hash of the code that determines a number.

The code of an experiment is the set of ``svitt`` modules it imports, directly or not, at the top or
inside a function, each reduced to its syntax tree: comments, docstrings and layout do not count.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

import svitt
from svitt.errors import ConfigError

# These keep, show or start what was computed; they do not change a number.
LEFT_OUT = ("svitt.ledger", "svitt.viz", "svitt.commands", "svitt.cli")
_IGNORED_NAMES = {"__version__", "__all__"}
_HAS_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_hash(entry: str, root: Path | None = None) -> tuple[str, dict[str, str]]:
    """The hash of ``entry``'s import closure, and the hash of each module in it.

    entry: dotted name, e.g. ``svitt.experiments.frame_shuffle``. root: the folder that holds the
    ``svitt`` package (default: the one that is imported). ``svitt.ledger``, ``svitt.viz``,
    ``svitt.commands`` and ``svitt.cli`` are left out: they do not change a number.

    Returns (16 hexadecimal digits, {module: 16 hexadecimal digits}). Errors: ConfigError when there
    is no such module or a module does not parse.
    """
    return _closure_hash(entry, Sources(root))


def current_codes(root: Path | None = None) -> dict[str, str]:
    """The hash of every module's import closure today, {module: hash}: what a stored run's ``code``
    is compared with to see whether the code it was trained by still exists."""
    sources = Sources(root)
    return {name: _closure_hash(name, sources)[0] for name in sources.names()}


class Sources:
    """The modules of the package below ``root``, each parsed once."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = Path(svitt.__file__).resolve().parent.parent if root is None else root
        self._parsed: dict[str, tuple[str, set[str]]] = {}

    def file(self, name: str) -> Path | None:
        """The file of a dotted module name, or None when it is no module of the package."""
        if name.split(".")[0] != "svitt":
            return None
        base = self.root.joinpath(*name.split("."))
        for file in (base / "__init__.py", base.with_name(base.name + ".py")):
            if file.is_file():
                return file
        return None

    def names(self) -> Iterator[str]:
        """Every module of the package that counts."""
        for file in sorted((self.root / "svitt").rglob("*.py")):
            parts = file.relative_to(self.root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if not left_out(name):
                yield name

    def module(self, name: str) -> tuple[str, set[str]]:
        """(hash of the module's syntax tree, the svitt modules it imports)."""
        if name not in self._parsed:
            file = self.file(name)
            if file is None:
                raise ConfigError(f"no module {name!r} below {self.root}; give its dotted name")
            try:
                tree = ast.parse(file.read_text(encoding="utf-8"))
            except SyntaxError as error:
                raise ConfigError(f"{file}, line {error.lineno}: {error.msg}; mend the module") from error
            imports = self._imports(name, file.name == "__init__.py", tree)
            digest = hashlib.sha256(_canonical(_without_docstrings(tree)).encode()).hexdigest()[:16]
            self._parsed[name] = digest, imports
        return self._parsed[name]

    def _imports(self, name: str, is_package: bool, tree: ast.Module) -> set[str]:
        found: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    parts = name.split(".")
                    parts = parts[: len(parts) - node.level + is_package]
                    base = ".".join([*parts, base] if base else parts)
                found.add(base)
                found.update(f"{base}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
                if called == "import_module" and isinstance(node.args[0].value, str):
                    found.add(node.args[0].value)
        return {module for module in found if self.file(module) is not None}


def left_out(name: str) -> bool:
    """Whether a module does not count."""
    return any(name == prefix or name.startswith(prefix + ".") for prefix in LEFT_OUT)


def _closure_hash(entry: str, sources: Sources) -> tuple[str, dict[str, str]]:
    modules: dict[str, str] = {}
    waiting = [entry]
    while waiting:
        name = waiting.pop()
        if name in modules or left_out(name):
            continue
        modules[name], imports = sources.module(name)
        waiting.extend(imports)
        if "." in name:  # importing a.b.c runs a/__init__ and a/b/__init__ first
            waiting.append(name.rpartition(".")[0])
    text = "\n".join(f"{name} {modules[name]}" for name in sorted(modules))
    return hashlib.sha256(text.encode()).hexdigest()[:16], dict(sorted(modules.items()))


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, _HAS_DOCSTRING) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    tree.body = [node for node in tree.body if not _is_ignored(node)]
    return tree


def _is_ignored(node: ast.stmt) -> bool:
    """A release number or a list of exports changes no number."""
    if not isinstance(node, ast.Assign):
        return False
    return all(isinstance(target, ast.Name) and target.id in _IGNORED_NAMES for target in node.targets)


def _canonical(node: object) -> str:
    """A text of the tree that is the same under every Python we support: ``ast.dump`` is not, since
    newer versions add empty fields such as ``type_params``."""
    if isinstance(node, ast.Constant):
        return f"Constant({type(node.value).__name__} {node.value!r})"
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if value is not None and value != []]
        return f"{type(node).__name__}({', '.join(f'{name}={_canonical(value)}' for name, value in fields)})"
    if isinstance(node, list):
        return f"[{', '.join(map(_canonical, node))}]"
    return repr(node)
