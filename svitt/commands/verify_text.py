"""The text and fusion cases of ``svitt verify-reference``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.models.bert.modeling_bert import BertOnlyMLMHead

from svitt.errors import CheckpointError, ConfigError
from svitt.models.checkpoints.image_models import load_weights
from svitt.models.multimodal_encoder import MultimodalEncoder, bert_config
from svitt.models.svitt_config import CrossModalPruning, FusionTextConfig

SIZES = ("vocab", "dim", "layers", "fusion_layer", "heads", "mlp_dim", "video_dim")
SETTINGS = (*SIZES, "keep_rate", "prune_layers")
INPUTS = ("input.input_ids", "input.attention_mask", "input.video_tokens")
# The release averages over padded positions too.
_STRATEGIES = {"cls_attn": "text_cls", "avg_attn": "text_mean_padded"}


def text_outputs(path: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the text and fusion layers make of a file's inputs with its weights, named as its outputs.

    Errors: CheckpointError for what the file lacks or a setting that cannot be.
    """
    missing = [name for name in SETTINGS if name not in config]
    missing += [name for name in INPUTS if name not in tensors]
    if missing:
        raise CheckpointError(f"{path}: lacks {', '.join(missing)}; expected a text case of the schema")
    weights = {name.removeprefix("weights."): v for name, v in tensors.items() if name.startswith("weights.")}
    positions = weights.get("bert.embeddings.position_embeddings.weight")
    if positions is None:
        raise CheckpointError(f"{path}: lacks weights.bert.embeddings.position_embeddings.weight")
    fusion = int(config["fusion_layer"])
    strategy = config.get("strategy", "cls_attn")
    if strategy not in _STRATEGIES:
        raise CheckpointError(f"{path}: strategy = {strategy!r}; known: {', '.join(_STRATEGIES)}")
    try:
        settings = FusionTextConfig(
            config["vocab"], config["dim"], config["layers"], fusion, config["heads"],
            config["mlp_dim"] / config["dim"], len(positions),
        )  # fmt: skip
        # The file counts layers of the whole BERT.
        layers = tuple(layer - fusion for layer in config["prune_layers"])
        pruning = CrossModalPruning(config["keep_rate"], layers, _STRATEGIES[strategy]) if layers else None
    except (ConfigError, TypeError) as error:
        raise CheckpointError(f"{path}: 'config' cannot be used ({error})") from error
    encoder = MultimodalEncoder(settings, int(config["video_dim"])).eval()
    head = BertOnlyMLMHead(bert_config(settings)).eval()
    for module, prefix in ((encoder, "bert."), (head, "cls.")):
        part = {name.removeprefix(prefix): v for name, v in weights.items() if name.startswith(prefix)}
        load_weights(module, part, str(path))
    mask = tensors["input.attention_mask"]
    with torch.no_grad():
        text = encoder.encode_text(tensors["input.input_ids"], mask)
        fused = encoder.fuse(text, mask, tensors["input.video_tokens"], pruning=pruning)
        made = {
            "text_last_hidden_state": text,
            "fusion_last_hidden_state": fused.states,
            "mlm_logits": head(fused.states),
        }
    for layer, index in zip(sorted(layers), fused.kept, strict=True):
        made[f"kept_tokens.layer{layer + fusion}"] = index
    return made
