"""Configuration as frozen dataclasses: checks, and the way from plain data and back.

``from_dict`` builds one from plain data and rejects unknown keys with the nearest known name;
every class checks its ranges when it is made.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
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


def from_dict(cls: type[C], values: Mapping[str, Any], where: str = "") -> C:
    """Builds the dataclass ``cls`` (nested ones too) from plain data; lists become tuples.

    Errors: ConfigError for an unknown key, with the nearest known name, a value of another type than the
    field's (a bool is no number, a number is finite), one that is missing, or one out of range.
    """
    assert dataclasses.is_dataclass(cls)
    if not isinstance(values, Mapping):
        name = where.rstrip(".") or cls.__name__
        raise ConfigError(f"{name} = {values!r} has the wrong type; expected the fields of {cls.__name__}")
    hints = typing.get_type_hints(cls)
    known = {f.name: f for f in dataclasses.fields(cls)}
    made: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            name = f"{where}{key}"
            raise ConfigError(f"unknown key {name!r} for {cls.__name__}; {nearest(str(key), known)}")
        made[key] = _checked(value, hints[key], f"{where}{key}")
    missing = [
        name
        for name, field in known.items()
        if name not in made
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{cls.__name__} lacks {', '.join(where + name for name in missing)}")
    try:
        return cls(**made)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{cls.__name__}: {error}") from error


def _checked(value: Any, kind: Any, where: str) -> Any:
    """``value`` as a field of type ``kind`` holds it. Errors: ConfigError naming ``where``."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _of_one(value, [arg for arg in args if arg is not type(None)], where)
    if origin is typing.Literal:
        if any(value == arg and type(value) is type(arg) for arg in args):
            return value
        hint = nearest(value, map(str, args)) if isinstance(value, str) else ", ".join(map(repr, args))
        raise ConfigError(f"{where} = {value!r} is not among its values; {hint}")
    if origin is tuple and isinstance(value, list | tuple):
        return _tuple(value, args, where)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type) and isinstance(value, Mapping):
        return from_dict(kind, value, f"{where}.")
    if kind is Any or _fits(value, kind, origin):
        return value
    raise ConfigError(f"{where} = {value!r} has the wrong type; expected {_words(kind)}")


def _of_one(value: Any, kinds: list[Any], where: str) -> Any:
    for kind in kinds[:-1]:
        try:
            return _checked(value, kind, where)
        except ConfigError:
            continue  # another member of the union may take it; the last one says what is wrong
    return _checked(value, kinds[-1], where)


def _tuple(value: list[Any] | tuple[Any, ...], args: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_checked(item, args[0], f"{where}[{i}]") for i, item in enumerate(value))
    if len(value) != len(args):
        raise ConfigError(f"{where} = {value!r} has {len(value)} values; expected {len(args)}")
    return tuple(
        _checked(v, arg, f"{where}[{i}]") for i, (v, arg) in enumerate(zip(value, args, strict=True))
    )


def _fits(value: Any, kind: Any, origin: Any) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    wanted = origin or kind
    return isinstance(wanted, type) and isinstance(value, wanted)


def _words(kind: Any) -> str:
    names = {int: "an integer", float: "a finite number", bool: "true or false", str: "a text"}
    return names.get(kind) or str(kind).replace("typing.", "")


def added(default: Any) -> Any:
    """A field that came to a dataclass later: ``to_dict`` leaves it out where it has its default, so that
    what was written or hashed before the field came is still what would be written."""
    return dataclasses.field(default=default, metadata={"added": True})


def unused(field: dataclasses.Field[Any], config: Any) -> bool:
    """Whether a field is an ``added`` one with its default."""
    return bool(field.metadata.get("added")) and getattr(config, field.name) == field.default


def to_dict(config: Any) -> dict[str, Any]:
    """Plain data (JSON types) of a configuration dataclass; ``from_dict`` reads it back."""
    return {
        f.name: (
            to_dict(value)
            if dataclasses.is_dataclass(value := getattr(config, f.name))
            else (list(value) if isinstance(value, tuple) else value)
        )
        for f in dataclasses.fields(config)
        if not unused(f, config)
    }
