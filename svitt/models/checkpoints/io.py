"""Models in a folder, in the manner of Hugging Face: configuration, weights and tokenizer, a file each."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from tokenizers import Tokenizer
from torch import Tensor, nn

from svitt.config import from_dict, nearest, to_dict
from svitt.errors import CheckpointError, ConfigError
from svitt.models.checkpoints.image_models import check_weights, load_weights, read_state
from svitt.models.dual_encoder import DualEncoder, DualEncoderConfig
from svitt.models.svitt import SViTT
from svitt.models.svitt_config import SViTTConfig

FORMAT = 1
CONFIG, WEIGHTS, TOKENIZER, CARD = "config.json", "model.safetensors", "tokenizer.json", "card.json"
Model = SViTT | DualEncoder
_KINDS: dict[str, tuple[type[Any], type[Any]]] = {
    "svitt": (SViTT, SViTTConfig),
    "dual_encoder": (DualEncoder, DualEncoderConfig),
}
# Names for one tensor that stands at several places of a SViTT: kept once in the file.
_TIED = {
    "mlm_head.predictions.decoder.weight": "multimodal_encoder.embeddings.word_embeddings.weight",
    "mlm_head.predictions.decoder.bias": "mlm_head.predictions.bias",
}


@dataclass(frozen=True)
class SavedModel:
    """A loaded model, in evaluation mode, its tokenizer if the folder has one, and what is said of it:
    where it comes from, how clips are shown to it."""

    model: Model
    tokenizer: Tokenizer | None
    card: dict[str, Any]


def kind_of(model: nn.Module) -> str:
    """ "svitt" or "dual_encoder". Errors: ConfigError for another model."""
    for kind, (cls, _) in _KINDS.items():
        if type(model) is cls:
            return kind
    raise ConfigError(f"cannot save a {type(model).__name__}; known: {', '.join(_KINDS)}")


def save_model(
    model: Model, folder: Path, tokenizer: Tokenizer | None = None, card: dict[str, Any] | None = None
) -> Path:
    """Writes a model into ``folder``, each file at one stroke, the configuration last.

    card: JSON that travels with it. Errors: ConfigError for a model of another kind.
    """
    kind = kind_of(model)
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    for name in _TIED if kind == "svitt" else ():
        state.pop(name, None)
    files = {WEIGHTS: save(state, {"format": "pt"})}
    if tokenizer is not None:
        files[TOKENIZER] = tokenizer.to_str(pretty=False).encode()
    for name, content in files.items():
        _write(folder / name, content)
    config = to_dict(model.config)
    digests = {CONFIG: _config_digest(config)} | {name: _digest(data) for name, data in files.items()}
    head = {"model_type": kind, "format": FORMAT, "config": config, "sha256": digests}
    if card is not None:
        _write(folder / CARD, (json.dumps(card, indent=1) + "\n").encode())
    _write(folder / CONFIG, (json.dumps(head, indent=1) + "\n").encode())
    return folder


def load_model(folder: Path, device: str = "cpu") -> SavedModel:
    """Reads what ``save_model`` wrote.

    Errors: CheckpointError for a missing or damaged file, an unknown kind of model, and weights of other
    sizes (the first tensor that differs, with both shapes).
    """
    head = _read_json(folder / CONFIG)
    kind = head.get("model_type")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise CheckpointError(
            f"{folder / CONFIG}: model_type = {kind!r}; {nearest(str(kind), _KINDS)}; save_model writes it"
        )
    if type(head.get("format")) is not int or head["format"] != FORMAT:
        raise CheckpointError(
            f"{folder / CONFIG}: format {head.get('format')!r}, this version reads {FORMAT}; "
            "save the model anew"
        )
    _check_digests(head, folder)
    cls, config_cls = _KINDS[kind]
    try:
        config = from_dict(config_cls, head["config"])
    except (ConfigError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder / CONFIG}: not a configuration of {cls.__name__} ({error})"
        ) from error
    state = read_state(folder / WEIGHTS)
    for name, source in _TIED.items() if kind == "svitt" else ():
        if name not in state and source in state:
            state[name] = state[source]
    _fits(cls, config, state, folder)
    model = cls(config)
    load_weights(model, state, str(folder / WEIGHTS))
    tokenizer = None
    if (folder / TOKENIZER).is_file():
        try:
            tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        except Exception as error:  # the library raises bare Exception for JSON that is no tokenizer
            raise CheckpointError(
                f"{folder / TOKENIZER}: not a tokenizer ({error}); copy it again"
            ) from error
    card = _read_json(folder / CARD) if (folder / CARD).is_file() else {}
    return SavedModel(model.to(device).eval(), tokenizer, card)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _config_digest(config: Any) -> str:
    return _digest(json.dumps(config, sort_keys=True).encode())


def _check_digests(head: dict[str, Any], folder: Path) -> None:
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


def _fits(cls: type[Any], config: Any, state: dict[str, Tensor], folder: Path) -> None:
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


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    part.replace(path)
