"""Whether a model's files are those that were saved, and its weights those of its configuration."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from svitt.config import to_dict
from svitt.errors import CheckpointError
from svitt.models.checkpoints.image_models import check_weights

CONFIG, WEIGHTS, TOKENIZER, CARD = "config.json", "model.safetensors", "tokenizer.json", "card.json"


def digests(config: dict[str, Any], files: Mapping[str, bytes]) -> dict[str, str]:
    """SHA-256 of the configuration's content and of the other files, by name."""
    return {CONFIG: _config_digest(config)} | {name: _digest(data) for name, data in files.items()}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _config_digest(config: Any) -> str:
    return _digest(json.dumps(config, sort_keys=True).encode())


def check_digests(head: dict[str, Any], folder: Path) -> None:
    """A changed number, such as a head count, may give another model that loads: what was saved is verified.

    A folder without digests (saved by an earlier version) passes. Errors: CheckpointError.
    """
    digests = head.get("sha256", {})
    if not isinstance(digests, dict) or not digests.keys() <= {CONFIG, WEIGHTS, TOKENIZER}:
        raise CheckpointError(f"{folder / CONFIG}: sha256 = {digests!r} names no files; copy it again")
    for name, expected in digests.items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file, and {CONFIG} names it; copy it again")
        found = _config_digest(head.get("config")) if name == CONFIG else _digest(path.read_bytes())
        if found != expected:
            raise CheckpointError(
                f"{path} is not as it was saved (its SHA-256 differs from that in {CONFIG}); copy it again, "
                "or change the loaded model and save it anew"
            )


def check_fit(cls: type[Any], config: Any, state: dict[str, Tensor], folder: Path) -> None:
    """Whether the weights are those of a model of this configuration, before any memory is taken for it: an
    edited number may ask for more than there is.

    Errors: CheckpointError.
    """
    tensors, most = max(1, len(state)), max((value.numel() for value in state.values()), default=1)
    for name, value in _integers(to_dict(config)):
        allowed = tensors if name.rpartition(".")[2] == "depth" else max(most, 10_000)
        if value > allowed:
            raise CheckpointError(
                f"{folder / CONFIG}: {name} = {value} is more than the {tensors} tensors of {WEIGHTS} can "
                "have; copy both files again"
            )
    try:
        with torch.device("meta"):
            shell = cls(config)
    except (ArithmeticError, IndexError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{folder / CONFIG}: no {cls.__name__} can be made of it ({reason}); copy it again"
        ) from error
    check_weights(shell, state, str(folder / WEIGHTS))


def _integers(values: dict[str, Any], where: str = "") -> Iterator[tuple[str, int]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _integers(value, f"{where}{name}.")
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, int):
                yield f"{where}{name}", item
