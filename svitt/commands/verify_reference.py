"""``svitt verify-reference FILE...``: the layers against tensors recorded from the released code."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from svitt.commands.verify_text import text_outputs
from svitt.errors import CheckpointError, ConfigError
from svitt.layers.edges import EdgePattern, EdgeSparsity
from svitt.layers.token_pruning import NodeSparsity
from svitt.models.checkpoints.image_models import load_encoder
from svitt.models.video_encoder import VideoEncoder, VideoEncoderConfig

TOLERANCE = 1e-5
SIZES = ("frames", "image_size", "patch_size", "dim", "heads", "layers", "mlp_dim")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a .safetensors reference file")


def call(args: argparse.Namespace) -> int:
    """0: all agree; 1: some tensor differs."""
    return max(verify_file(path) for path in args.files)


def read_reference(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The ``config`` metadata and all tensors of a reference file. CheckpointError if unreadable."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; expected a recorded .safetensors reference")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        config = json.loads(metadata["config"])
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable .safetensors file ({error}); copy it again") from error
    except (KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: no JSON under the metadata key 'config' ({error!r})") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: 'config' holds {type(config).__name__}, expected a JSON object")
    return config, tensors


def section(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under ``prefix``, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def encoder_config(path: Path, config: Mapping[str, Any], channels: int) -> VideoEncoderConfig:
    """The encoder that a vision file describes. CheckpointError names a missing or impossible setting."""
    missing = [name for name in (*SIZES, "edges", "keep_rate", "prune_layers") if name not in config]
    if missing:
        raise CheckpointError(
            f"{path}: 'config' lacks {', '.join(missing)}; expected a vision case of the schema"
        )
    try:
        edges = config["edges"]
        return VideoEncoderConfig(
            image_size=config["image_size"],
            patch_size=config["patch_size"],
            num_frames=config["frames"],
            width=config["dim"],
            depth=config["layers"],
            num_heads=config["heads"],
            mlp_ratio=config["mlp_dim"] / config["dim"],
            in_channels=channels,
            norm_eps=1e-12,
            edges=None
            if edges is None
            else EdgeSparsity(
                num_local_blocks=edges["local_blocks"],
                num_random_blocks=edges["random_blocks"],
                block_size=edges["block_size"],
                attend_padding=any(config.get("padding_per_layer", ())),
            ),
            nodes=NodeSparsity(config["keep_rate"], tuple(config["prune_layers"]))
            if config["prune_layers"]
            else None,
        )
    except (ConfigError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: 'config' cannot be used ({error})") from error


def verify_file(path: Path) -> int:
    """Prints the largest absolute difference of every output tensor; returns 0 or 1 as ``call``."""
    config, tensors = read_reference(path)
    name = config.get("name", path.stem)
    if "vocab" in config or "input.input_ids" in tensors:
        made = text_outputs(path, config, tensors)
        print(f"{name}: keep rate {config['keep_rate']} after {config['prune_layers']}")
        return 0 if all(list(compare(made, section(tensors, "output.")))) else 1
    expected = section(tensors, "output.")
    if "input.pixel_values" not in tensors or not expected:
        raise CheckpointError(f"{path}: needs input.pixel_values and output.*; found {len(tensors)} tensors")
    clips = tensors["input.pixel_values"]
    encoder = VideoEncoder(encoder_config(path, config, clips.shape[2] if clips.dim() == 5 else 3))
    load_encoder(encoder, section(tensors, "weights."), where=str(path))
    encoder.eval()
    with torch.no_grad():
        features = encoder(
            clips, patterns=recorded_patterns(path, encoder.config, tensors), return_hidden_states=True
        )
    assert features.hidden_states is not None
    made = {f"hidden_states.{i}": state for i, state in enumerate(features.hidden_states)}
    nodes = encoder.config.nodes
    layers = [] if nodes is None else sorted(nodes.prune_layers)
    made |= {f"kept_tokens.layer{i}": index for i, index in zip(layers, features.kept, strict=True)}
    made |= {"last_hidden_state": features.hidden_states[-1], "pooler_output": features.pooled}
    print(f"{name}: edges {config['edges']}, keep rate {config['keep_rate']} after {config['prune_layers']}")
    agree = list(compare(made, expected))
    return 0 if all(agree) else 1


def recorded_patterns(
    path: Path, config: VideoEncoderConfig, tensors: Mapping[str, Tensor]
) -> list[EdgePattern] | None:
    """The block tables recorded for every layer; None for dense cases."""
    if config.edges is None:
        return None
    patterns = []
    for layer in range(config.depth):
        name = f"input.edge_blocks.layer{layer}"
        if name not in tensors:
            raise CheckpointError(f"{path}: edges without {name}; expected one block table a layer")
        patterns.append(EdgePattern(tensors[name], config.edges.block_size, config.edges.attend_padding))
    return patterns


def compare(made: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Iterator[bool]:
    """Prints one line a tensor; yields whether it agrees. Indices must be equal, numbers within 1e-5."""
    for name in sorted(expected, key=lambda n: (n.split(".")[0], len(n), n)):
        want = expected[name]
        if name not in made:
            print(f"  {name:24} not computed by this model  DIFFERS")
            yield False
            continue
        got = made[name]
        if got.shape != want.shape:
            print(f"  {name:24} shape {tuple(got.shape)}, recorded {tuple(want.shape)}  DIFFERS")
            yield False
        elif not want.is_floating_point():
            different = int((got != want).sum())
            verdict = "DIFFERS" if different else "ok"
            print(f"  {name:24} {different} of {want.numel()} indices differ  {verdict}")
            yield different == 0
        else:
            difference = float((got - want).abs().max())
            # Written so that a NaN counts as a difference.
            agrees = difference <= TOLERANCE
            print(f"  {name:24} {difference:.2e}  {'ok' if agrees else 'DIFFERS'}")
            yield agrees
