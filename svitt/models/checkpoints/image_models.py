"""Starting a video encoder from other people's weights: BEiT and ViT of timm, BEiT of transformers,
and checkpoints with the key names of the released SViTT code.

Everything is renamed to the key names of ``VideoEncoder`` (timm's BEiT), positions are fitted to the
clip, and the result is loaded strictly.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from svitt.errors import CheckpointError
from svitt.layers.relative_position import Grid, infer_grid, resize_embedding, resize_table
from svitt.models.video_encoder import VideoEncoder, VideoEncoderConfig

State = dict[str, Tensor]

# Old name -> ours, tried in this order. transformers renamed its BEiT in version 5; the release has
# the older names.
RENAMES = [
    (r"^(module\.)?(vision_encoder|beit)\.", ""),
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^(?:encoder\.layer|encoder\.layers|layers)\.(\d+)\.", r"blocks.\1."),
    (r"\.(?:lambda_|ls)(\d)(?:\.gamma)?$", r".gamma_\1"),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (
        r"(?:attention\.attention\.|encoder\.)?relative_position_bias\.(?=relative_position_bias_table)",
        "attn.",
    ),
    (r"\.attention\.(?:attention\.)?(?:query|q_proj)\.", ".attn.q."),
    (r"\.attention\.(?:attention\.)?(?:key|k_proj)\.", ".attn.k."),
    (r"\.attention\.(?:attention\.)?(?:value|v_proj)\.", ".attn.v."),
    (r"\.attention\.(?:output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"^(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
    (r"^pooler\.layernorm\.", "fc_norm."),
    (r"^(?:vision_)?layernorm\.", "norm."),
    (r"^(?:rel_pos_bias|shared_position_bias)\.", "attn."),
]
# Not part of an encoder, or recomputed.
DROPPED = re.compile(r"^head\.|relative_position_index$|^embeddings\.mask_token$|^mask_token$")
RELEASE_PREFIX = re.compile(r"^(module\.)?(vision_encoder|vision_layernorm)\.")


def convert_names(state: Mapping[str, Tensor]) -> State:
    """The state dict of a BEiT or ViT (timm, transformers, the release) under this package's names.

    Of a whole SViTT checkpoint only the video encoder and its LayerNorm are taken. Separate query, key
    and value maps are joined; a key bias is left out, because softmax does not see it; an absolute
    position of the CLS token is added to the token; a bias table shared by all layers is copied to each.
    """
    if any(RELEASE_PREFIX.match(name) for name in state):
        state = {name: value for name, value in state.items() if RELEASE_PREFIX.match(name)}
    renamed: State = {}
    for name, value in state.items():
        for pattern, new in RENAMES:
            name = re.sub(pattern, new, name)
        if not DROPPED.search(name):
            renamed[name] = value
    blocks = sorted({name.split(".")[1] for name in renamed if name.startswith("blocks.")}, key=int)
    shared = renamed.pop("attn.relative_position_bias_table", None)
    for block in (f"blocks.{i}.attn." for i in blocks):
        if f"{block}q.weight" in renamed:
            parts = [renamed.pop(f"{block}{x}.weight") for x in "qkv" if f"{block}{x}.weight" in renamed]
            renamed[f"{block}qkv.weight"] = torch.cat(parts)
        renamed.pop(f"{block}k.bias", None)
        for x in "qv":
            if f"{block}{x}.bias" in renamed:
                renamed[f"{block}{x}_bias"] = renamed.pop(f"{block}{x}.bias")
        if f"{block}qkv.bias" in renamed:
            q, _, v = renamed.pop(f"{block}qkv.bias").chunk(3)
            renamed[f"{block}q_bias"], renamed[f"{block}v_bias"] = q, v
        if shared is not None:
            own = renamed.get(f"{block}relative_position_bias_table")
            renamed[f"{block}relative_position_bias_table"] = shared if own is None else shared + own
    return renamed


def fit_positions(
    state: Mapping[str, Tensor], config: VideoEncoderConfig, source: Grid | None = None
) -> State:
    """Bias tables and absolute embeddings of ``state`` (our names) on the grid of ``config``.

    source: grid (T, H, W) the weights were made for; None infers it from the sizes.
    CheckpointError when it cannot be inferred.
    """
    fitted = dict(state)
    for name, value in state.items():
        if name.endswith("relative_position_bias_table"):
            grid = source or infer_grid(value.shape[0], config.grid)
            if grid is None:
                raise _unknown_grid(name, value, config)
            fitted[name] = resize_table(value, grid, config.grid)
        elif name == "pos_embed":
            _, h, w = config.grid
            tokens = value.shape[1]
            if tokens % (h * w) == 1 or round((tokens - 1) ** 0.5) ** 2 == tokens - 1:
                fitted["cls_token"] = fitted["cls_token"] + value[:, :1]
                value = value[:, 1:]
            frames, rest = divmod(value.shape[1], h * w)
            side = round(value.shape[1] ** 0.5)
            grid = source or ((frames, h, w) if rest == 0 else (1, side, side))
            if grid[0] * grid[1] * grid[2] != value.shape[1]:
                raise _unknown_grid(name, value, config)
            fitted[name] = resize_embedding(value, grid, config.grid)
    return fitted


def _unknown_grid(name: str, value: Tensor, config: VideoEncoderConfig) -> CheckpointError:
    return CheckpointError(
        f"{name} of shape {tuple(value.shape)} fits neither the grid {config.grid} (frames, rows, columns) "
        "nor a square image; give the grid it was made for as source"
    )


def load_weights(
    module: nn.Module, state: Mapping[str, Tensor], where: str, may_miss: tuple[str, ...] = ()
) -> None:
    """Loads strictly. ``may_miss``: prefixes of names that may be missing and then keep their value.

    CheckpointError names ``where`` and the first tensor that differs, with both shapes.
    """
    check_weights(module, state, where, may_miss)
    module.load_state_dict(dict(state), strict=False)


def check_weights(
    module: nn.Module, state: Mapping[str, Tensor], where: str, may_miss: tuple[str, ...] = ()
) -> None:
    """Whether the tensors are those of ``module``, which may be on the meta device. Errors: as
    ``load_weights``."""
    own = module.state_dict()
    for name, value in own.items():
        if name not in state:
            if name.startswith(may_miss) and may_miss:
                continue
            raise CheckpointError(
                f"{where}: no tensor for {name!r} of shape {tuple(value.shape)}; "
                "is it a checkpoint of this kind of model, with this depth and these settings?"
            )
        if state[name].shape != value.shape:
            raise CheckpointError(
                f"{where}: {name!r} has shape {tuple(state[name].shape)}, the model {tuple(value.shape)}; "
                "make the model with the sizes of the checkpoint"
            )
    for name, value in state.items():
        if name not in own:
            raise CheckpointError(
                f"{where}: {name!r} of shape {tuple(value.shape)} has no place in the model; "
                "make the model with the settings of the checkpoint"
            )


def read_state(path: Path) -> State:
    """The tensors of a .safetensors file, or of a torch checkpoint (its "model" or "state_dict" entry)."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; expected a .safetensors or torch checkpoint")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: cannot be read as a checkpoint ({reason}); copy it again") from error
    for entry in ("model", "state_dict"):
        loaded = loaded[entry] if isinstance(loaded, dict) and isinstance(loaded.get(entry), dict) else loaded
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise CheckpointError(
            f"{path}: holds no state dict of tensors, nor one under 'model' or 'state_dict'"
        )
    return loaded


def load_encoder(
    encoder: VideoEncoder,
    source: Path | Mapping[str, Tensor],
    grid: Grid | None = None,
    where: str = "state dict",
) -> None:
    """Loads a checkpoint file or state dict of any known naming into ``encoder``, positions fitted.

    grid: (T, H, W) of the source; None infers it. where: how errors call a state dict.
    The final LayerNorm of the tokens keeps its start value where the source has none (BEiT).
    """
    where, state = (str(source), read_state(source)) if isinstance(source, Path) else (where, source)
    load_weights(encoder, fit_positions(convert_names(state), encoder.config, grid), where, ("norm.",))


def config_like(model: nn.Module, num_frames: int = 1) -> VideoEncoderConfig:
    """The configuration of a dense video encoder with the sizes of a timm ViT/BEiT or a BeitModel.

    CheckpointError for a model of another kind.
    """
    state = convert_names(model.state_dict())
    if "blocks.0.attn.qkv.weight" not in state or "patch_embed.proj.weight" not in state:
        raise CheckpointError(
            f"{type(model).__name__} is not a ViT or BEiT of timm, nor a BeitModel of transformers"
        )
    settings = getattr(model, "config", None)
    if settings is not None:
        heads, size = settings.num_attention_heads, settings.image_size
        mean, eps = settings.use_mean_pooling, settings.layer_norm_eps
    else:
        first: Any = model.blocks[0]  # type: ignore[index]
        heads, size = first.attn.num_heads, model.patch_embed.img_size  # type: ignore[union-attr]
        mean, eps = model.global_pool == "avg", first.norm1.eps
    width, channels, patch, _ = state["patch_embed.proj.weight"].shape
    return VideoEncoderConfig(
        image_size=size if isinstance(size, int) else size[0],
        patch_size=patch,
        num_frames=num_frames,
        width=width,
        depth=1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks.")),
        num_heads=heads,
        mlp_ratio=state["blocks.0.mlp.fc1.weight"].shape[0] / width,
        in_channels=channels,
        position="absolute" if "pos_embed" in state else "relative_3d",
        layer_scale=0.1 if "blocks.0.gamma_1" in state else None,
        norm_eps=eps,
        pooling="mean" if mean else "cls",
    )


def encoder_like(model: nn.Module, num_frames: int = 1, **changes: Any) -> VideoEncoder:
    """A video encoder with the weights of an image model: a timm ViT or BEiT, or transformers' BeitModel.

    num_frames: of the clips; positions are inflated over time. changes: further fields of
    ``VideoEncoderConfig``, such as ``edges``, ``nodes`` or ``image_size``.
    """
    config = replace(config_like(model, num_frames), **changes)
    encoder = VideoEncoder(config)
    load_encoder(encoder, model.state_dict())
    return encoder
