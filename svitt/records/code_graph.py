"""The package as a graph: which definition refers to which.

A definition is a function, a class or a constant at the top of a module. An effect is what happens when a
module is imported and is no plain definition: a registration by decorator, ``TABLE["x"] = ...``, an ``if``.
Each is read into a text in which every reference to the package is a hole, and the list of what fills the
holes, so that names and places of definitions do not show in it.

Not in the text: imports, docstrings, the texts of errors, annotations of arguments and variables (what they
refer to is kept: a class may be reached by its annotation alone).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import svitt
from svitt.errors import ConfigError
from svitt.records.code_names import (
    FUNCTIONS,
    PACKAGE,
    UNSEEN,
    Key,
    Target,
    decides_nothing,
    last_name,
    left_out,
    only_for_types,
    registers,
    stored_names,
)
from svitt.records.code_text import Reader

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass
class Module:
    """One module: its definitions, its effects, what its names stand for, and what importing it imports."""

    name: str
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    effects: list[ast.stmt] = field(default_factory=list)
    names: dict[str, Target] = field(default_factory=dict)
    imported: set[str] = field(default_factory=set)

    def effect_name(self, number: int) -> str:
        """What an effect is called: the function it registers, or its first line."""
        node = self.effects[number - 1]
        return node.name if isinstance(node, FUNCTIONS) else ast.unparse(node).splitlines()[0][:60]


class Package:
    """The modules of the package below ``root``, each parsed once, and their definitions as texts.

    root: the folder that holds ``svitt`` (default: the one that is imported).
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = Path(svitt.__file__).resolve().parent.parent if root is None else root
        self._modules: dict[str, Module] = {}
        self._read: dict[Key, tuple[str, tuple[Key, ...]]] = {}

    def file(self, name: str) -> Path | None:
        """The file of a dotted module name, or None when it is no module of the package."""
        if name.split(".")[0] != PACKAGE:
            return None
        base = self.root.joinpath(*name.split("."))
        for file in (base / "__init__.py", base.with_name(base.name + ".py")):
            if file.is_file():
                return file
        return None

    def names(self) -> Iterator[str]:
        """Every module of the package that counts."""
        for file in sorted((self.root / PACKAGE).rglob("*.py")):
            parts = file.relative_to(self.root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if not left_out(name):
                yield name

    def module(self, name: str) -> Module:
        """The module of that dotted name. Errors: ConfigError when there is none or it does not parse."""
        if name not in self._modules:
            file = self.file(name)
            if file is None:
                raise ConfigError(f"no module {name!r} below {self.root}; give its dotted name")
            try:
                tree = ast.parse(file.read_text(encoding="utf-8"))
            except SyntaxError as error:
                raise ConfigError(f"{file}, line {error.lineno}: {error.msg}; mend the module") from error
            self._modules[name] = self._parsed(name, file.name == "__init__.py", tree)
        return self._modules[name]

    def _parsed(self, name: str, is_package: bool, tree: ast.Module) -> Module:
        module = Module(name)
        for documented in ast.walk(tree):
            if isinstance(documented, _DOCUMENTED) and ast.get_docstring(documented, clean=False) is not None:
                rest: list[ast.stmt] = [] if isinstance(documented, ast.Module) else [ast.Pass()]
                documented.body = documented.body[1:] or rest
        for node in tree.body:
            if not only_for_types(node):
                module.imported |= self._imported(name, is_package, node)
            self._sort(module, is_package, node)
        return module

    def _sort(self, module: Module, is_package: bool, node: ast.stmt) -> None:
        """Files a top-level statement under names, definitions or effects."""
        if isinstance(node, ast.Import | ast.ImportFrom):
            module.names |= self.bound_by_import(module.name, is_package, node)
        elif only_for_types(node):
            for inner in node.body:
                self._sort(module, is_package, inner)
        elif decides_nothing(node):
            return
        elif isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            if node.name != "_":
                module.definitions.setdefault(node.name, []).append(node)
            if any(registers(decorator) for decorator in node.decorator_list):
                module.effects.append(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            names = stored_names(node)
            if names and all(isinstance(target, ast.Name | ast.Tuple) for target in _targets(node)):
                for name in names - UNSEEN:
                    module.definitions.setdefault(name, []).append(node)
            else:
                module.effects.append(node)
        else:
            module.effects.append(node)
            for part in ast.walk(node):
                if isinstance(part, ast.Import | ast.ImportFrom):
                    module.names |= self.bound_by_import(module.name, is_package, part)
                elif isinstance(part, (*FUNCTIONS, ast.ClassDef)):
                    module.definitions.setdefault(part.name, []).append(part)
            for name in stored_names(node):
                module.definitions.setdefault(name, []).append(node)

    def bound_by_import(
        self, module: str, is_package: bool, node: ast.Import | ast.ImportFrom
    ) -> dict[str, Target]:
        """What the names that an import statement binds stand for."""
        bound: dict[str, Target] = {}
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.name if alias.asname else alias.name.split(".")[0]
                inside = self.file(name) is not None
                bound[alias.asname or name] = (name, None) if inside else name
            return bound
        base = _base(module, is_package, node)
        for alias in node.names:
            full = f"{base}.{alias.name}"
            if base.split(".")[0] != PACKAGE:
                bound[alias.asname or alias.name] = full
                continue
            if alias.name == "*":
                raise ConfigError(
                    f"{module}, line {node.lineno}: a star import hides what is used; write the names out"
                )
            bound[alias.asname or alias.name] = (full, None) if self.file(full) else (base, alias.name)
        return bound

    def _imported(self, module: str, is_package: bool, tree: ast.stmt) -> set[str]:
        """The modules of the package that a statement imports, at the top or inside a function."""
        found: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = _base(module, is_package, node)
                found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Call) and last_name(node) == "import_module" and node.args:
                name = node.args[0]
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    found.add(name.value)
        return {name for name in found if self.file(name) is not None}

    def definition(self, module: str, name: str) -> Key:
        """The definition that ``module.name`` stands for. Errors: ConfigError when there is none."""
        found = self.resolve(module, name)
        if not isinstance(found, tuple) or found[1] is None or left_out(found[0]):
            raise ConfigError(f"no definition {name!r} in {module}; give a function, class or constant of it")
        return Key(found[0], found[1])

    def closure(self, entry: str) -> set[str]:
        """The modules that run when ``entry`` and all it imports are imported, packages included."""
        seen: set[str] = set()
        waiting = [entry]
        while waiting:
            name = waiting.pop()
            if name in seen or left_out(name):
                continue
            seen.add(name)
            waiting.extend(self.module(name).imported)
            if "." in name:  # importing a.b.c runs a/__init__ and a/b/__init__ first
                waiting.append(name.rpartition(".")[0])
        return seen

    def resolve(self, module: str, name: str, seen: tuple[tuple[str, str], ...] = ()) -> Target | None:
        """What ``name`` stands for at the top of ``module``; None for a built-in or an unknown name."""
        if (module, name) in seen:
            return None
        found = self.module(module)
        if name in found.definitions:
            return module, name
        target = found.names.get(name)
        if isinstance(target, tuple):
            base, inner = target
            if inner is None or left_out(base):
                return target
            return self.resolve(base, inner, (*seen, (module, name)))
        if target is not None:
            return target
        full = f"{module}.{name}"
        return (full, None) if self.file(full) else None

    def read(self, key: Key) -> tuple[str, tuple[Key, ...]]:
        """The text of a definition or effect with a hole for each reference, and what fills the holes.

        Errors: ConfigError for a reference that cannot be followed, in an experiment or on a module.
        """
        if key not in self._read:
            module = self.module(key.module)
            if key.name == "*":
                filled = tuple(sorted(Key(key.module, name) for name in module.definitions))
                self._read[key] = "*", filled
            else:
                nodes = [module.effects[key.effect - 1]] if key.effect else module.definitions[key.name]
                reader = Reader(self, key.module, nodes)
                self._read[key] = "|".join(map(reader.text, nodes)), tuple(reader.found)
        return self._read[key]


def _targets(node: ast.Assign | ast.AnnAssign | ast.AugAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _base(module: str, is_package: bool, node: ast.ImportFrom) -> str:
    """The dotted name that ``from ... import`` starts from, relative dots worked out."""
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    parts = parts[: len(parts) - node.level + is_package]
    return ".".join([*parts, node.module] if node.module else parts)
