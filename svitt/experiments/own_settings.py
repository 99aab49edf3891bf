"""A reader's own settings: changes of a scale, checked, recorded apart and never judged."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
from typing import Any

from svitt.config import from_dict, nearest, to_dict
from svitt.errors import ConfigError


def default_parameters(kind: type) -> dict[str, Any]:
    """The plain default of every field of a settings dataclass that has one, nested ones included."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if field.default is not dataclasses.MISSING:
            value = field.default
        elif field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        else:
            continue
        nested = dataclasses.is_dataclass(value) and not isinstance(value, type)
        found[field.name] = to_dict(value) if nested else list(value) if isinstance(value, tuple) else value
    return found


def parsed_changes(changes: str) -> dict[str, Any]:
    """``"keep_rates=(0.3,), model.width=32"`` -> {"keep_rates": (0.3,), "model.width": 32}.

    Errors: ConfigError where it is no list of ``field=value`` with plain values.
    """
    way_out = "write field=value, field=value with plain values, e.g. keep_rates=(0.3,), model.width=32"
    try:
        pieces = [piece for piece in _split(changes) if piece.strip()]
        pairs = [piece.split("=", 1) for piece in pieces]
        return {name.strip(): ast.literal_eval(value.strip()) for name, value in pairs}
    except (ValueError, SyntaxError) as error:
        raise ConfigError(f"changes = {changes!r} cannot be read ({error}); {way_out}") from error


def _split(text: str) -> list[str]:
    """At commas outside of brackets."""
    pieces, depth, start = [], 0, 0
    for i, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0:
            pieces.append(text[start:i])
            start = i + 1
    return [*pieces, text[start:]]


def changed_settings(settings: Any, changes: str) -> Any:
    """The settings with some fields changed, nested ones by dots.

    Errors: ConfigError with the nearest name, or for a value of another type.
    """
    plain = json.loads(json.dumps(to_dict(settings)))
    for name, value in parsed_changes(changes).items():
        place: Any = plain
        *path, last = name.split(".")
        for part in path:
            if not isinstance(place.get(part), dict):
                raise ConfigError(f"changes: {name!r} has no settings {part!r}; {nearest(part, place)}")
            place = place[part]
        if last not in place:
            raise ConfigError(f"changes: unknown setting {name!r}; {nearest(last, place)}")
        place[last] = json.loads(json.dumps(value))
    return from_dict(type(settings), plain)


def custom_scale(settings: Any, changes: str) -> str:
    """``custom-<8 hexadecimal digits>`` of the changed settings."""
    made = changed_settings(settings, changes)
    text = json.dumps(to_dict(made), sort_keys=True)
    return f"custom-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
