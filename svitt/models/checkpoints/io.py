"""Models in a folder, in the manner of Hugging Face: configuration, weights and tokenizer, a file each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save
from tokenizers import Tokenizer
from torch import nn

from svitt.atomic import write_atomically
from svitt.config import from_dict, nearest, to_dict
from svitt.errors import CheckpointError, ConfigError
from svitt.models.checkpoints.image_models import load_weights, read_state
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
    head = {"model_type": kind, "format": FORMAT, "config": to_dict(model.config)}
    write_atomically(folder / WEIGHTS, save(state, {"format": "pt"}))
    if tokenizer is not None:
        write_atomically(folder / TOKENIZER, tokenizer.to_str(pretty=False).encode())
    if card is not None:
        write_atomically(folder / CARD, (json.dumps(card, indent=1) + "\n").encode())
    write_atomically(folder / CONFIG, (json.dumps(head, indent=1) + "\n").encode())
    return folder


def load_model(folder: Path, device: str = "cpu") -> SavedModel:
    """Reads what ``save_model`` wrote.

    Errors: CheckpointError for a missing or damaged file, an unknown kind of model, and weights of other
    sizes (the first tensor that differs, with both shapes).
    """
    head = _read_json(folder / CONFIG)
    kind = head.get("model_type")
    if kind not in _KINDS:
        raise CheckpointError(
            f"{folder / CONFIG}: model_type = {kind!r}; {nearest(str(kind), _KINDS)}; save_model writes it"
        )
    if head.get("format") != FORMAT:
        raise CheckpointError(
            f"{folder / CONFIG}: format {head.get('format')!r}, this version reads {FORMAT}; "
            "save the model anew"
        )
    cls, config_cls = _KINDS[kind]
    try:
        config = from_dict(config_cls, head["config"])
    except (ConfigError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder / CONFIG}: not a configuration of {cls.__name__} ({error})"
        ) from error
    model = cls(config)
    state = read_state(folder / WEIGHTS)
    for name, source in _TIED.items() if kind == "svitt" else ():
        if name not in state and source in state:
            state[name] = state[source]
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
