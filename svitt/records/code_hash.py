"""A hash of the code that determines a number: of a definition and of everything it refers to.

The hash of a definition holds the hashes of what it refers to, so that *who uses which* counts, and names
and places do not: moving, renaming, adding a function or rewording changes nothing, a changed constant or a
swapped import changes exactly what depends on it. Definitions that refer to each other in a circle are
hashed together. The effects of every module that is imported on the way count as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from svitt.records.code_graph import Package
from svitt.records.code_names import STRICT, Key


@dataclass(frozen=True)
class Definition:
    """own: hash of its text with holes; whole: with what fills them, all the way down; refers_to: labels."""

    own: str
    whole: str
    refers_to: tuple[str, ...] = ()


class Code(NamedTuple):
    """What determines the numbers of ``entry``: one hash over all of it, and every definition by label
    (``module.name``, with the number of the effect where it is one)."""

    hash: str
    entry: str
    definitions: Mapping[str, Definition]


def code_hash(entry: str, package: Package | None = None) -> Code:
    """The code that ``entry`` reaches.

    entry: ``module:name``, or a module for all of its definitions. Errors: ConfigError where there is no
    such module or definition, a module does not parse, or a reference cannot be followed.
    """
    package = package or Package()
    module, _, name = entry.partition(":")
    start = package.definition(module, name) if name else Key(module, "*")
    effects = [
        Key(m, package.module(m).effect_name(i), i)
        for m in sorted(package.closure(module))
        for i in range(1, len(package.module(m).effects) + 1)
    ]
    graph: dict[Key, tuple[str, tuple[Key, ...]]] = {}
    waiting = [start, *effects]
    while waiting:
        key = waiting.pop()
        if key not in graph:
            graph[key] = package.read(key)
            waiting.extend(graph[key][1])
    whole: dict[Key, str] = {}
    for circle in circles({key: filled for key, (_, filled) in graph.items()}):
        _close(circle, graph, whole)
    definitions = {
        key.label: Definition(sha(text), whole[key], tuple(dict.fromkeys(f.label for f in filled)))
        for key, (text, filled) in sorted(graph.items())
    }
    return Code(combined(whole[start], (whole[key] for key in effects)), entry, definitions)


def current_codes(root: Path | None = None) -> dict[str, str]:
    """The hash today of every definition below ``svitt.experiments`` that trains a model (calls
    ``train_once``), by ``module:name``: what a stored run's ``code`` is compared with to see whether the code
    it was trained by still exists."""
    package = Package(root)
    found: dict[str, str] = {}
    for module in package.names():
        if module.startswith(f"{STRICT}."):
            for name in package.module(module).definitions:
                if any(key.name == "train_once" for key in package.read(Key(module, name))[1]):
                    found[f"{module}:{name}"] = code_hash(f"{module}:{name}", package).hash
    return found


def sha(text: str) -> str:
    """16 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def combined(entry: str, effects: Iterable[str]) -> str:
    """The hash of a record's code from the hash of its entry and those of the effects."""
    return sha(" ".join([entry, *sorted(effects)]))


def _close(
    circle: list[Key], graph: Mapping[Key, tuple[str, tuple[Key, ...]]], whole: dict[Key, str]
) -> None:
    """Hashes the members of one circle, all they refer to outside of it being hashed already."""
    colour = {key: sha(graph[key][0]) for key in circle}
    # As many rounds as members: a difference anywhere in the circle has reached every member by then.
    for _ in circle:
        colour = {
            key: sha(" ".join([colour[key], *(colour.get(f) or whole[f] for f in graph[key][1])]))
            for key in circle
        }
    whole |= colour


def circles(graph: Mapping[Key, tuple[Key, ...]]) -> list[list[Key]]:
    """The strongly connected components, each after those it refers to (Tarjan 1972, without recursion)."""
    index: dict[Key, int] = {}
    low: dict[Key, int] = {}
    stack: list[Key] = []
    inside: set[Key] = set()
    found: list[list[Key]] = []
    for root in graph:
        if root in index:
            continue
        path = [(root, iter(graph[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        inside.add(root)
        while path:
            key, rest = path[-1]
            for other in rest:
                if other not in index:
                    index[other] = low[other] = len(index)
                    stack.append(other)
                    inside.add(other)
                    path.append((other, iter(graph[other])))
                    break
                if other in inside:
                    low[key] = min(low[key], index[other])
            else:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[key])
                if low[key] == index[key]:
                    at = stack.index(key)
                    found.append(stack[at:])
                    inside.difference_update(stack[at:])
                    del stack[at:]
    return found


def _short(label: str) -> str:
    return label.rpartition(" [")[0].rpartition(".")[2] if label.endswith("]") else label.rpartition(".")[2]


def changes(before: Mapping[str, Definition], now: Mapping[str, Definition]) -> list[str]:
    """The definitions that make the difference, by label: changed, new, or gone.

    Not those that only refer to a changed one. A definition that was moved or renamed is recognised by its
    hash.
    """
    had, has = {d.whole for d in before.values()}, {d.whole for d in now.values()}
    changed = {label for label, d in now.items() if d.whole not in had}
    old_own = {d.own for d in before.values()}
    causes = [
        label
        for label in sorted(changed)
        if now[label].own not in old_own or not changed.intersection(set(now[label].refers_to) - {label})
    ]
    known = {_short(label) for label in now}
    gone = [
        f"{label} (gone)"
        for label, d in sorted(before.items())
        if d.whole not in has and _short(label) not in known
    ]
    return [*causes, *gone]
