"""Sparsified vision towers of transformers: their list of layers runs all of them by ``run_blocks``.

The model's own loop ``for layer in self.layers`` then sees one layer, which takes the tokens through all.
Nothing of transformers is imported; models are known by the names of their classes (version 5).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from svitt.errors import ConfigError
from svitt.integrations.pooling_attention import probe_row
from svitt.integrations.sparse_blocks import Stack, TokenPruning, run_blocks


@dataclass(frozen=True)
class Tower:
    """A vision tower. layers: where its list of layers stands. prefix: tokens in front of the patch tokens,
    with CLS first if any; registers: the name in the configuration of how many more there are. extra: tokens
    that attention sees behind them. models: classes whose heads take any number of tokens."""

    layers: str
    prefix: int
    models: tuple[str, ...]
    registers: str | None = None
    extra: int = 0


TOWERS = {
    "ViTModel": Tower("layers", 1, ("ViTForImageClassification",)),
    "DeiTModel": Tower("layers", 2, ("DeiTForImageClassification",)),
    "Dinov2Model": Tower("encoder.layer", 1, ("Dinov2ForImageClassification",)),
    "Dinov2WithRegistersModel": Tower(
        "encoder.layer", 1, ("Dinov2WithRegistersForImageClassification",), "num_register_tokens"
    ),
    "CLIPVisionModel": Tower(
        "encoder.layers", 1, ("CLIPModel", "CLIPVisionModelWithProjection", "CLIPForImageClassification")
    ),
    "SiglipVisionModel": Tower("encoder.layers", 0, ("SiglipModel", "SiglipForImageClassification")),
    "VideoMAEModel": Tower("encoder.layer", 0, ("VideoMAEForVideoClassification",)),
    "XCLIPVisionModel": Tower("encoder.layers", 1, (), extra=1),
}


def tower(model: nn.Module) -> nn.Module | None:
    """The vision tower of a model of transformers, or None where it is of another kind."""
    name = _name(model)
    if name in TOWERS:
        return model
    for module in model.modules():
        known = TOWERS.get(_name(module))
        if known is not None and name in known.models:
            return module
    return None


def _name(module: nn.Module) -> str:
    """The name of its class, if it is one of transformers."""
    cls = type(module)
    return cls.__name__ if cls.__module__.startswith("transformers.models.") else ""


def layers_of(vision: nn.Module) -> nn.ModuleList:
    """The layers of a tower."""
    return cast("nn.ModuleList", vision.get_submodule(TOWERS[type(vision).__name__].layers))


def has_cls(vision: nn.Module) -> bool:
    """Whether the first token is a CLS token."""
    return TOWERS[type(vision).__name__].prefix > 0


def has_pooling(vision: Any) -> bool:
    """Whether the head is one of attention."""
    return hasattr(getattr(vision, "head", None), "probe")


class SparseLayers(nn.ModuleList):
    """A list of layers; whoever goes through it meets one function that runs all."""

    token_pruning: TokenPruning
    vision: tuple[Any]  # in a tuple: the tower is above, not below

    def __iter__(self) -> Iterator[Any]:
        return iter((self.run,))

    def run(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """What the loop calls. hidden_states (B, P+N, D). Errors: ConfigError where checkpointing of
        transformers, which starts inside a layer, would run attention again without what it needs of us."""
        merging = self.token_pruning.score is None
        masked = any(isinstance(given, Tensor) for given in (*args, *kwargs.values()))
        again = any(getattr(layer, "gradient_checkpointing", False) for layer in self._modules.values())
        if again and self.training and self.token_pruning.active and (merging or masked):
            what = "selection = 'merge'" if merging else "an attention mask"
            raise ConfigError(
                f"{what} does not go with gradient checkpointing in a sparsified model of transformers; "
                "model.gradient_checkpointing_disable()"
            )
        [vision] = self.vision
        known = TOWERS[type(vision).__name__]
        more = 0 if known.registers is None else getattr(vision.config, known.registers)
        pool = probe_row(vision.head, vision.post_layernorm) if has_pooling(vision) else None
        layers: list[Any] = [_Called(layer, args, kwargs) for layer in self._modules.values()]
        stack = Stack(layers, known.prefix + more, lambda number, kept: {}, pool, known.extra)
        return run_blocks(self.token_pruning, stack, hidden_states)[0]


class _Called:
    """A layer with what the model's loop hands to each."""

    def __init__(self, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.layer, self.args, self.kwargs = layer, args, kwargs

    def __call__(self, x: Tensor) -> Tensor:
        y = self.layer(x, *self.args, **self.kwargs)
        if not isinstance(y, Tensor):
            raise ConfigError(f"{type(self.layer).__name__} returns a {type(y).__name__}; use transformers 5")
        return y


def install(vision: Any, pruning: TokenPruning) -> None:
    """From now on the tower prunes."""
    layers = layers_of(vision)
    layers.__class__ = SparseLayers
    sparse = cast("SparseLayers", layers)
    sparse.token_pruning = pruning
    sparse.vision = (vision,)


def remove(vision: nn.Module) -> None:
    """The tower is again as it was."""
    layers: Any = layers_of(vision)
    del layers.token_pruning
    del layers.vision
    layers.__class__ = nn.ModuleList
