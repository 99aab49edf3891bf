"""The kinds of made worlds by name: an experiment takes a world without knowing how it is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from svitt.config import from_dict, nearest
from svitt.data.worlds import making, manifest
from svitt.data.worlds.base import AnySpec, World, WorldKind
from svitt.data.worlds.shapes.world import SHAPES
from svitt.errors import ConfigError

KINDS: dict[str, WorldKind[Any, Any]] = {kind.name: kind for kind in (SHAPES,)}


def kinds() -> tuple[str, ...]:
    """Names of all kinds."""
    return tuple(KINDS)


def kind_of(name: str) -> WorldKind[Any, Any]:
    """A kind by name. Errors: ConfigError for another name."""
    if name not in KINDS:
        raise ConfigError(f"kind = {name!r}: no such kind of world; {nearest(name, KINDS)}")
    return KINDS[name]


def spec_for(kind: str, **values: Any) -> AnySpec:
    """Parameters of a world of a kind; what is not given has the kind's default.

    Errors: ConfigError for an unknown kind or field, or a value out of range.
    """
    spec: AnySpec = from_dict(kind_of(kind).spec, values)
    return spec


def make_world(spec: AnySpec, out: str | Path, workers: int = 2, progress: bool = True) -> World[Any, Any]:
    """Makes the world of these parameters in ``out``, or what is missing of it (``making.make``)."""
    kind = next((kind for kind in KINDS.values() if isinstance(spec, kind.spec)), None)
    if kind is None:
        raise ConfigError(f"{type(spec).__name__} is no spec of a world; make one with spec_for(kind, ...)")
    return making.make(kind, spec, out, workers, progress)


def load_world(path: str | Path, check: str = "full", progress: bool = False) -> World[Any, Any]:
    """Reads a world of whatever kind is in the folder, and checks it (``manifest.load``).

    Errors: AnnotationError where there is no world, or one of an unknown kind, or a file disagrees.
    """
    return manifest.load(kind_of(manifest.kind_name(Path(path))), path, check, progress)
