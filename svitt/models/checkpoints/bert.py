"""BERT weights for the text and fusion layers, and whole SViTT checkpoints under the release's key names.

Names of the video encoder, of BERT and of its word head are those of the recorded reference files. The
names of the projections and of the matching head (``vision_proj``, ``text_proj``, ``itm_head``, ``temp``)
are those of Singularity, on which the release builds; no public SViTT checkpoint exists to verify them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import BertModel

from svitt.errors import CheckpointError
from svitt.models.checkpoints.image_models import convert_names, load_weights, read_state
from svitt.models.multimodal_encoder import MultimodalEncoder

State = dict[str, Tensor]
_TABLE = "relative_position_bias_table"
# Our name -> the release's, of what is not inside the video encoder.
_PARTS = [
    (r"^multimodal_encoder\.", "text_encoder.bert."),
    (r"^mlm_head\.", "text_encoder.cls."),
    (r"^video_projection\.", "vision_proj."),
    (r"^text_projection\.", "text_proj."),
    (r"^matching_head\.linear\.", "itm_head."),
    (r"^temperature$", "temp"),
    (r"^answer_decoder\.bert\.", "text_decoder."),
]
# Inside the video encoder, after its attention maps are split.
_VIDEO = [
    (r"^norm\.", "vision_layernorm."),
    (r"^fc_norm\.", "vision_encoder.pooler.layernorm."),
    (r"^cls_token$", "vision_encoder.embeddings.cls_token"),
    (r"^patch_embed\.proj\.", "vision_encoder.embeddings.patch_embeddings.projection."),
    (r"^blocks\.(\d+)\.", r"vision_encoder.encoder.layer.\1."),
    (r"\.gamma_(\d)$", r".lambda_\1"),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (rf"\.attn\.{_TABLE}$", f".attention.attention.relative_position_bias.{_TABLE}"),
    (r"\.attn\.(query|key|value)\.", r".attention.attention.\1."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
]


@dataclass(frozen=True)
class LoadedText:
    """What of the text and fusion layers came from the source, and what keeps its fresh start; names."""

    loaded: tuple[str, ...]
    fresh: tuple[str, ...]


def load_bert(encoder: MultimodalEncoder, source: str | Path) -> LoadedText:
    """BERT's weights from a local folder or a hub name, e.g. ``bert-base-uncased``.

    Plain BERT has no cross-attention: those layers keep their fresh weights, and the result says so.
    Errors: CheckpointError saying what to fetch where there is nothing to read, and naming the first tensor
    of another size.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            bert = BertModel.from_pretrained(str(source), add_pooling_layer=False)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{source}: no BERT weights there ({reason}); fetch config.json, model.safetensors and vocab.txt "
            "of bert-base-uncased into a folder and give that folder, or leave the weights out to go on from "
            "random ones"
        ) from error
    own = encoder.state_dict()
    state = {name: value for name, value in bert.state_dict().items() if name in own}
    fresh = tuple(sorted(name for name in own if name not in state))
    unknown = [name for name in fresh if ".crossattention." not in name]
    if unknown:
        raise CheckpointError(
            f"{source}: lacks {unknown[0]!r}; is it a BERT of {encoder.config.depth} layers?"
        )
    dropped = sorted(set(bert.state_dict()) - set(own) - {"embeddings.position_ids"})
    if dropped:
        raise CheckpointError(
            f"{source}: {dropped[0]!r} has no place in an encoder of {encoder.config.depth} layers; "
            "set depth to that of the weights"
        )
    for name, value in state.items():
        if value.shape != own[name].shape:
            raise CheckpointError(
                f"{source}: {name!r} has shape {tuple(value.shape)}, the model {tuple(own[name].shape)}; "
                "make the model with the sizes of the weights"
            )
    encoder.load_state_dict({**own, **state})
    return LoadedText(tuple(sorted(state)), fresh)


def to_release(state: Mapping[str, Tensor]) -> State:
    """A SViTT's state dict under the release's names: query, key and value maps apart, no key bias.

    Errors: CheckpointError for a video encoder that the release does not have (absolute positions, a
    convolution stem).
    """
    released: State = {}
    for name, value in state.items():
        if not name.startswith("video_encoder."):
            released[_renamed(name, _PARTS)] = value
            continue
        name = name.removeprefix("video_encoder.")
        if name == "pos_embed" or re.match(r"patch_embed\.proj\.\d", name):
            raise CheckpointError(
                f"'video_encoder.{name}' has no name in the release; expected relative_3d positions and one "
                "linear map a patch"
            )
        if name.endswith("attn.qkv.weight"):
            for part, weight in zip(("query", "key", "value"), value.chunk(3), strict=True):
                released[_renamed(name.replace("qkv", part), _VIDEO)] = weight.clone()
            continue
        name = name.replace("attn.q_bias", "attn.query.bias").replace("attn.v_bias", "attn.value.bias")
        released[_renamed(name, _VIDEO)] = value
    return released


def from_release(state: Mapping[str, Tensor]) -> State:
    """The inverse of ``to_release``: a state dict of the release under this package's names."""
    video = convert_names(
        {k: v for k, v in state.items() if k.startswith(("vision_encoder.", "vision_layernorm."))}
    )
    ours = {f"video_encoder.{name}": value for name, value in video.items()}
    for name, value in state.items():
        for pattern, new in _PARTS:
            prefix = new.rstrip(".")
            if name == new or name.startswith(new):
                plain = pattern.strip("^$").replace("\\", "")
                ours[plain + name.removeprefix(new) if prefix != new else plain] = value
                break
    return ours


def load_release(model: torch.nn.Module, source: Path) -> None:
    """Loads a whole checkpoint of the release, strictly. Errors: CheckpointError as ``load_weights``."""
    load_weights(model, from_release(read_state(source)), str(source))


def _renamed(name: str, table: list[tuple[str, str]]) -> str:
    for pattern, new in table:
        name = re.sub(pattern, new, name)
    return name
