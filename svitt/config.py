"""Configuration as frozen dataclasses: checks, and the way from plain data and back.

``from_dict`` builds one from plain data and rejects unknown keys with the nearest known name;
every class checks its ranges when it is made.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, Union

from svitt.errors import ConfigError

C = TypeVar("C")


def nearest(name: str, known: Iterable[str]) -> str:
    """The clause "did you mean ...?" or the list of what is known."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    return f"did you mean {close[0]!r}?" if close else "known: " + ", ".join(names)


def require(condition: bool, field: str, value: object, allowed: str) -> None:
    """Raises ConfigError naming the field, its value and the allowed range."""
    if not condition:
        raise ConfigError(f"{field} = {value!r} is out of range; allowed: {allowed}")


def _unwrap(annotation: Any) -> Any:
    """``X | None`` -> ``X``."""
    if typing.get_origin(annotation) in (Union, types.UnionType):
        args = [a for a in typing.get_args(annotation) if a is not type(None)]
        return args[0] if len(args) == 1 else annotation
    return annotation


def from_dict(cls: type[C], values: Mapping[str, Any], where: str = "") -> C:
    """Builds the dataclass ``cls`` (nested ones too) from plain data.

    Errors: ConfigError for an unknown key, with the nearest known name, or a value out of range.
    """
    assert dataclasses.is_dataclass(cls)
    hints = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}
    made: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"unknown key {where + key!r} for {cls.__name__}; {nearest(key, known)}")
        kind = _unwrap(hints[key])
        if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
            made[key] = from_dict(kind, value, f"{where}{key}.")  # type: ignore[arg-type]
        elif typing.get_origin(kind) is tuple and isinstance(value, list):
            made[key] = tuple(value)
        else:
            made[key] = value
    try:
        return cls(**made)
    except TypeError as error:
        raise ConfigError(f"{cls.__name__}: {error}") from error


def to_dict(config: Any) -> dict[str, Any]:
    """Plain data (JSON types) of a configuration dataclass; ``from_dict`` reads it back."""
    return {
        f.name: (
            to_dict(value)
            if dataclasses.is_dataclass(value := getattr(config, f.name))
            else (list(value) if isinstance(value, tuple) else value)
        )
        for f in dataclasses.fields(config)
    }
