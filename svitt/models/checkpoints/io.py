"""Saves and loads any model of this package; see ``folder`` for what the files hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from torch import nn

from svitt.errors import ConfigError
from svitt.models.checkpoints.folder import Kind, Loaded, read_model, write_model
from svitt.models.checkpoints.integrity import CONFIG, WEIGHTS
from svitt.models.dual_encoder import DualEncoder, DualEncoderConfig
from svitt.models.svitt import KIND, SViTT

__all__ = ["CONFIG", "WEIGHTS", "Model", "SavedModel", "kind_of", "load_model", "save_model"]

Model = SViTT | DualEncoder
SavedModel = Loaded[Model]
KINDS: tuple[Kind[Any], ...] = (KIND, Kind("dual_encoder", DualEncoder, DualEncoderConfig))


def kind_of(model: nn.Module) -> Kind[Any]:
    """What the file calls a model. Errors: ConfigError for a model of another class."""
    for kind in KINDS:
        if type(model) is kind.model:
            return kind
    known = ", ".join(kind.name for kind in KINDS)
    raise ConfigError(f"cannot save a {type(model).__name__}; known: {known}")


def save_model(
    model: Model, folder: Path, tokenizer: Tokenizer | None = None, card: dict[str, Any] | None = None
) -> Path:
    """Writes a model into ``folder``, each file at one stroke, the configuration last.

    card: JSON that travels with it. Errors: ConfigError for a model of another class.
    """
    return write_model(model, kind_of(model), folder, tokenizer, card)


def load_model(folder: Path, device: str = "cpu") -> SavedModel:
    """Reads what ``save_model`` wrote.

    Errors: CheckpointError for a missing or damaged file, an unknown kind of model, and weights of other
    sizes (the first tensor that differs, with both shapes).
    """
    return read_model(folder, KINDS, device)
