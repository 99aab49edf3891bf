"""Frozen dataclasses that describe layers, models and training.

``from_dict`` builds one from plain data and rejects unknown keys with the nearest known name;
every class checks its ranges when it is made.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, Union

from svitt.errors import ConfigError

C = TypeVar("C")

Selection = Literal["cls", "random", "lowest", "oracle"]


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


@dataclass(frozen=True)
class EdgeSparsity:
    """Which key blocks a query block attends to, besides CLS (SViTT section 3.2).

    num_local_blocks: odd window of blocks around the query block.
    num_random_blocks: further blocks, drawn without repetition.
    block_size: tokens a block.
    redraw: draw the random blocks anew at every layer and training step (evaluation stays fixed).
    attend_padding: reproduce the release, which attends to the zero padding of a last short block.
    neighbourhood: (frames, rows, columns) of a space-time block, whose product is block_size; None
        groups the tokens in sequence order.
    """

    num_local_blocks: int = 1
    num_random_blocks: int = 3
    block_size: int = 56
    redraw: bool = False
    attend_padding: bool = False
    neighbourhood: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        n = self.num_local_blocks
        require(isinstance(n, int) and n >= 1 and n % 2 == 1, "num_local_blocks", n, "odd integers from 1")
        n = self.num_random_blocks
        require(isinstance(n, int) and n >= 0, "num_random_blocks", n, "integers from 0")
        n = self.block_size
        require(isinstance(n, int) and n >= 1, "block_size", n, "integers from 1")
        if self.neighbourhood is not None:
            t, h, w = self.neighbourhood
            require(
                min(t, h, w) >= 1 and t * h * w == self.block_size,
                "neighbourhood",
                self.neighbourhood,
                f"three positive integers whose product is block_size = {self.block_size}",
            )


@dataclass(frozen=True)
class NodeSparsity:
    """Which video tokens survive (SViTT section 3.3).

    keep_rate: share of the patch tokens kept at each pruning layer, ceil(rate x tokens).
    prune_layers: layers (from 0) after which tokens are pruned.
    selection: by CLS attention, at random, lowest attention first, or by a given oracle mask.
    """

    keep_rate: float = 0.7
    prune_layers: tuple[int, ...] = (3, 6, 9)
    selection: Selection = "cls"

    def __post_init__(self) -> None:
        require(0 < self.keep_rate <= 1, "keep_rate", self.keep_rate, "0 < keep_rate <= 1")
        require(
            all(isinstance(n, int) and n >= 0 for n in self.prune_layers),
            "prune_layers",
            self.prune_layers,
            "layer numbers from 0",
        )
        known = typing.get_args(Selection)
        require(self.selection in known, "selection", self.selection, ", ".join(known))
