"""A model in a folder, in the manner of Hugging Face: configuration, weights and tokenizer, a file each.

It knows no model itself: what a model's file says of it is its ``Kind``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from safetensors.torch import save
from tokenizers import Tokenizer
from torch import nn

from svitt.atomic import write_atomically
from svitt.config import from_dict, nearest, to_dict
from svitt.errors import CheckpointError, ConfigError
from svitt.models.checkpoints.image_models import load_weights, read_state
from svitt.models.checkpoints.integrity import (
    CARD,
    CONFIG,
    TOKENIZER,
    WEIGHTS,
    check_digests,
    check_fit,
    digests,
)

FORMAT = 1
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Kind(Generic[M]):
    """A class of models, made from a configuration alone, and what the file calls it.

    tied: names for one tensor that stands at several places of the model, each with the name under which the
    file keeps it.
    """

    name: str
    model: type[M]
    config: type[Any]
    tied: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Loaded(Generic[M]):
    """A loaded model, in evaluation mode, its tokenizer if the folder has one, and what is said of it:
    where it comes from, how clips are shown to it."""

    model: M
    tokenizer: Tokenizer | None
    card: dict[str, Any]


def write_model(
    model: Any,
    kind: Kind[Any],
    folder: Path,
    tokenizer: Tokenizer | None = None,
    card: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a model of that kind into ``folder``, each file at one stroke, the configuration last."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    for name in kind.tied:
        state.pop(name, None)
    files = {WEIGHTS: save(state, {"format": "pt"})}
    if tokenizer is not None:
        files[TOKENIZER] = tokenizer.to_str(pretty=False).encode()
    for name, content in files.items():
        write_atomically(folder / name, content)
    config = to_dict(model.config)
    head = {"model_type": kind.name, "format": FORMAT, "config": config, "sha256": digests(config, files)}
    if card is not None:
        write_atomically(folder / CARD, (json.dumps(card, indent=1) + "\n").encode())
    write_atomically(folder / CONFIG, (json.dumps(head, indent=1) + "\n").encode())
    return folder


def read_model(folder: Path, kinds: Sequence[Kind[M]], device: str = "cpu") -> Loaded[M]:
    """Reads what ``write_model`` wrote, a model of one of these kinds.

    Errors: CheckpointError for a missing or damaged file, another kind of model, and weights of other sizes
    (the first tensor that differs, with both shapes).
    """
    head = _read_json(folder / CONFIG)
    kind = _kind(head, folder / CONFIG, {kind.name: kind for kind in kinds})
    check_digests(head, folder)
    try:
        config = from_dict(kind.config, head["config"])
    except (ConfigError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder / CONFIG}: not a configuration of {kind.model.__name__} ({error})"
        ) from error
    state = read_state(folder / WEIGHTS)
    for name, source in kind.tied.items():
        if name not in state and source in state:
            state[name] = state[source]
    check_fit(kind.model, config, state, folder)
    model = kind.model(config)
    load_weights(model, state, str(folder / WEIGHTS))
    tokenizer = _read_tokenizer(folder / TOKENIZER) if (folder / TOKENIZER).is_file() else None
    card = _read_json(folder / CARD) if (folder / CARD).is_file() else {}
    return Loaded(model.to(device).eval(), tokenizer, card)


def _kind(head: Mapping[str, Any], path: Path, kinds: Mapping[str, Kind[M]]) -> Kind[M]:
    """The kind that a configuration file states. Errors: CheckpointError for another, or another format."""
    name = head.get("model_type")
    kind = kinds.get(str(name))
    if kind is None:
        raise CheckpointError(
            f"{path}: model_type = {name!r}; {nearest(str(name), kinds)}; save_model writes it"
        )
    if type(head.get("format")) is not int or head["format"] != FORMAT:
        raise CheckpointError(
            f"{path}: format {head.get('format')!r}, this version reads {FORMAT}; save the model anew"
        )
    return kind


def _read_tokenizer(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for JSON that is no tokenizer
        raise CheckpointError(f"{path}: not a tokenizer ({error}); copy it again") from error


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; expected a folder with {CONFIG} and {WEIGHTS}")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not a readable JSON file ({error}); copy it again") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: holds {type(data).__name__}, expected a JSON object")
    return data
