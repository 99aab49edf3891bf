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
Stem = Literal["patch", "conv"]
Position = Literal["relative_3d", "absolute"]
Pooling = Literal["mean", "cls"]


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

    num_local_blocks: odd window of blocks around the query block; 0 leaves it out (a control).
    num_random_blocks: further blocks, drawn without repetition.
    block_size: tokens a block.
    redraw: draw the random blocks anew at every layer and training step (evaluation stays fixed).
    attend_padding: reproduce the release, which attends to the zero padding of a last short block.
    neighbourhood: (frames, rows, columns) of a space-time block, whose product is block_size; None
        groups the tokens in sequence order.
    seed: of the fixed patterns (one for every layer and number of blocks).
    """

    num_local_blocks: int = 1
    num_random_blocks: int = 3
    block_size: int = 56
    redraw: bool = False
    attend_padding: bool = False
    neighbourhood: tuple[int, int, int] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        n = self.num_local_blocks
        odd = isinstance(n, int) and (n == 0 or (n >= 1 and n % 2 == 1))
        require(odd, "num_local_blocks", n, "odd integers from 1, or 0 for none")
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
    seed: of a random selection for which the caller gives no generator.
    """

    keep_rate: float = 0.7
    prune_layers: tuple[int, ...] = (3, 6, 9)
    selection: Selection = "cls"
    seed: int = 0

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


@dataclass(frozen=True)
class TextConfig:
    """Sizes of the BERT text encoder (transformers' BertModel). init_std: of its initial weights."""

    vocab_size: int
    width: int = 64
    depth: int = 1
    num_heads: int = 2
    mlp_ratio: float = 2.0
    max_length: int = 16
    init_std: float = 0.125

    def __post_init__(self) -> None:
        require(self.init_std > 0, "init_std", self.init_std, "numbers above 0")
        for name in ("vocab_size", "width", "depth", "num_heads", "max_length"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "integers from 1")
        require(
            self.width % self.num_heads == 0, "width", self.width, f"multiples of num_heads {self.num_heads}"
        )


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    learning_rate: peak of a linear warm-up followed by a cosine to ``final_rate`` x peak.
    checkpoint_every: steps between checkpoints from which a killed run goes on.
    """

    steps: int
    batch_size: int = 64
    learning_rate: float = 3e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.02
    warmup_steps: int = 100
    final_rate: float = 0.0
    clip_norm: float = 1.0
    checkpoint_every: int = 100
    mixed_precision: Literal["no", "bf16"] = "no"

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "checkpoint_every"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "integers from 1")
        require(self.warmup_steps >= 0, "warmup_steps", self.warmup_steps, "integers from 0")
        require(self.learning_rate > 0, "learning_rate", self.learning_rate, "above 0")
        require(self.mixed_precision in ("no", "bf16"), "mixed_precision", self.mixed_precision, "no, bf16")


@dataclass(frozen=True)
class VideoEncoderConfig:
    """A BEiT-style video transformer (SViTT section 3; the defaults are BEiT-B/16 on 4 frames).

    image_size, patch_size: pixels. num_frames: the most frames of a clip.
    width, depth, num_heads, mlp_ratio: sizes of the transformer.
    stem: "patch", one linear map a patch, or "conv", 3 x 3 convolutions of stride 2 (patch_size must
        be a power of two).
    position: "relative_3d", a bias table per layer, or "absolute", a learnt space-time embedding
        that starts as low-frequency cosines times position_scale.
    layer_scale: start value of the residual scales; None leaves them out.
    pooling: "mean", LayerNorm of the mean patch token, or "cls", the normed CLS token.
    init_std: of the truncated normal of all weights; None takes Xavier's uniform (small widths).
    edges, nodes: None is dense.
    """

    image_size: int = 224
    patch_size: int = 16
    num_frames: int = 4
    width: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    in_channels: int = 3
    stem: Stem = "patch"
    position: Position = "relative_3d"
    position_scale: float = 0.5
    layer_scale: float | None = 0.1
    norm_eps: float = 1e-12
    pooling: Pooling = "mean"
    drop_path: float = 0.0
    init_std: float | None = 0.02
    edges: EdgeSparsity | None = None
    nodes: NodeSparsity | None = None

    def __post_init__(self) -> None:
        for field in ("image_size", "patch_size", "num_frames", "width", "depth", "num_heads", "in_channels"):
            n = getattr(self, field)
            require(isinstance(n, int) and n >= 1, field, n, "integers from 1")
        require(
            self.image_size % self.patch_size == 0,
            "image_size",
            self.image_size,
            f"multiples of patch_size = {self.patch_size}",
        )
        require(
            self.width % self.num_heads == 0,
            "width",
            self.width,
            f"multiples of num_heads = {self.num_heads}",
        )
        for field, kind in (("stem", Stem), ("position", Position), ("pooling", Pooling)):
            known = typing.get_args(kind)
            require(getattr(self, field) in known, field, getattr(self, field), ", ".join(known))
        n = self.patch_size
        require(
            self.stem != "conv" or (n >= 2 and n & (n - 1) == 0),
            "patch_size",
            n,
            "powers of 2 with stem = 'conv'",
        )
        for field in ("mlp_ratio", "position_scale", "norm_eps"):
            require(getattr(self, field) > 0, field, getattr(self, field), "numbers above 0")
        for field in ("layer_scale", "init_std"):
            value = getattr(self, field)
            require(value is None or value > 0, field, value, "numbers above 0, or none")
        require(0 <= self.drop_path < 1, "drop_path", self.drop_path, "0 <= drop_path < 1")
        if self.nodes is not None:
            last = max(self.nodes.prune_layers, default=-1)
            require(
                last < self.depth,
                "nodes.prune_layers",
                self.nodes.prune_layers,
                f"below depth = {self.depth}",
            )

    @property
    def grid(self) -> tuple[int, int, int]:
        """(frames, rows, columns) of the patch tokens of a full clip."""
        side = self.image_size // self.patch_size
        return self.num_frames, side, side
