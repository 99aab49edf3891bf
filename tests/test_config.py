"""``from_dict`` takes no wrong type: every field of every configuration, with every kind of wrong value."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import pkgutil
import random
import typing
from typing import Any

import pytest

import svitt
from svitt.config import from_dict, to_dict
from svitt.errors import ConfigError

# Values of which at least all but one are wrong for any field.
WRONG: tuple[Any, ...] = (
    "no",
    "",
    3.5,
    3,
    -1,
    True,
    None,
    math.nan,
    math.inf,
    [],
    [1],
    ["x"],
    {},
    {"a": 1},
    [[1]],
)


def configurations() -> dict[str, Any]:
    """Every frozen dataclass of svitt that can be made from its defaults or is a scale's settings."""
    found: dict[str, Any] = {}
    for info in pkgutil.walk_packages(svitt.__path__, "svitt."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        for value in vars(module).values():
            for settings in value.values() if isinstance(value, dict) else [value]:
                if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
                    _collect(settings, found)
                elif isinstance(settings, type) and dataclasses.is_dataclass(settings):
                    _from_defaults(settings, found)
    return found


def _from_defaults(kind: Any, found: dict[str, Any]) -> None:
    name = f"{kind.__module__}.{kind.__name__}"
    required = [
        f for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]  # fmt: skip
    if name in found or required or not kind.__module__.startswith("svitt."):
        return
    made = kind()
    if all(_is_plain(getattr(made, f.name)) for f in dataclasses.fields(kind)):
        found[name] = made


def _collect(settings: Any, found: dict[str, Any]) -> None:
    kind = type(settings)
    if not kind.__module__.startswith("svitt."):
        return
    plain = all(_is_plain(getattr(settings, f.name)) for f in dataclasses.fields(kind))
    if plain:
        found.setdefault(f"{kind.__module__}.{kind.__name__}", settings)
        for f in dataclasses.fields(kind):
            value = getattr(settings, f.name)
            if dataclasses.is_dataclass(value) and not isinstance(value, type):
                _collect(value, found)


def _is_plain(value: Any) -> bool:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return all(_is_plain(getattr(value, f.name)) for f in dataclasses.fields(value))
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float | bool)


CONFIGURATIONS = configurations()


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a field's type: written apart from the code it tests."""
    if kind is Any:
        return True
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return any(type(value) is type(arg) and value == arg for arg in args)
    if origin in (tuple, list):
        if not isinstance(value, list):
            return False
        if args[-1:] == (Ellipsis,):
            return all(fits(v, args[0]) for v in value)
        return len(value) == len(args) and all(fits(v, arg) for v, arg in zip(value, args, strict=True))
    if args:  # a union
        return any(value is None if arg is type(None) else fits(value, arg) for arg in args)
    if kind is bool:
        return type(value) is bool
    if kind is int:
        return type(value) is int
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)
    if kind is str:
        return isinstance(value, str)
    return isinstance(value, dict)  # another configuration: judged field by field


def test_there_is_something_to_try() -> None:
    assert len(CONFIGURATIONS) >= 15
    names = {name.rsplit(".", 1)[1] for name in CONFIGURATIONS}
    assert {"EdgeSparsity", "NodeSparsity", "VideoEncoderConfig", "WorldSpec", "Settings"} <= names


@pytest.mark.parametrize("name", sorted(CONFIGURATIONS))
def test_what_is_written_is_read_back(name: str) -> None:
    settings = CONFIGURATIONS[name]
    plain = json.loads(json.dumps(to_dict(settings)))
    assert from_dict(type(settings), plain) == settings


@pytest.mark.parametrize("name", sorted(CONFIGURATIONS))
def test_no_wrong_type_is_taken_and_no_raw_error_comes_out(name: str) -> None:
    settings = CONFIGURATIONS[name]
    kind, hints = type(settings), typing.get_type_hints(type(settings))
    plain = json.loads(json.dumps(to_dict(settings)))
    rng = random.Random(0)
    for key in plain:
        for value in rng.sample(WRONG, len(WRONG)):
            try:
                from_dict(kind, {**plain, key: value})
            except ConfigError:
                continue
            assert fits(value, hints[key]), f"{key} = {value!r} was taken for {hints[key]}"


@pytest.mark.parametrize("name", sorted(CONFIGURATIONS))
def test_wrong_types_are_named(name: str) -> None:
    settings = CONFIGURATIONS[name]
    plain = json.loads(json.dumps(to_dict(settings)))
    hints = typing.get_type_hints(type(settings))
    for key in plain:
        wrong = next(value for value in (1.5, "no") if not fits(value, hints[key]))
        with pytest.raises(ConfigError, match=key):
            from_dict(type(settings), {**plain, key: wrong})


def test_unknown_and_missing_keys_are_named() -> None:
    from svitt.data.worlds.shapes.scene import WorldSpec
    from svitt.training.trainer import TrainConfig

    with pytest.raises(ConfigError, match="'sed' for WorldSpec; did you mean 'seed'"):
        from_dict(WorldSpec, {"sed": 1})
    with pytest.raises(ConfigError, match="TrainConfig lacks steps"):
        from_dict(TrainConfig, {})
    with pytest.raises(ConfigError, match=r"betas = \[0.9\] has 1 values; expected 2"):
        from_dict(TrainConfig, {"steps": 1, "betas": [0.9]})
    with pytest.raises(ConfigError, match=r"betas\[1\] = nan has the wrong type; expected a finite number"):
        from_dict(TrainConfig, {"steps": 1, "betas": [0.9, math.nan]})
    with pytest.raises(ConfigError, match="expected the fields of TrainConfig"):
        from_dict(TrainConfig, [1])  # type: ignore[arg-type]
