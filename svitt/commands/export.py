"""``svitt export``: the two-object model of a seed as a folder that ``svitt search`` reads."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from svitt.config import require
from svitt.experiments.base import settings_of
from svitt.experiments.ch03_edge_sparsity import experiment as edge_sparsity
from svitt.experiments.shared.two_object_world import trained_two_object_model, two_object_data
from svitt.models.checkpoints.io import save_model
from svitt.records.code_hash import code_hash
from svitt.records.workspace import Workspace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--out", type=Path, required=True, help="folder to write the model into")
    parser.add_argument("--scale", default="cpu", help="of chapter 3 (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--out-dir", default="", help="where worlds and runs are (default: the checkout's places)"
    )


def call(args: argparse.Namespace) -> int:
    """Writes the dense model of chapter 3, trained now if its run is not there."""
    require(args.seed >= 0, "--seed", args.seed, "integers from 0")
    settings = settings_of(edge_sparsity, args.scale).model
    workspace = Workspace.open(args.out_dir)
    data = two_object_data(settings, args.seed, workspace)
    model = trained_two_object_model(settings, data, args.seed, args.device, workspace)
    card = {
        "what": "dual encoder of chapter 3, dense, trained on clips of one and of two named objects",
        "command": f"svitt export --scale {args.scale} --seed {args.seed} --out DIR",
        "code": code_hash("svitt.experiments.shared.two_object_world")[0],
        "torch": torch.__version__,
        "frames": settings.num_frames,
        "image_size": settings.image_size,
        "caption": "a red ring moves left and a blue bar grows on sand",
    }
    save_model(model.cpu(), args.out, data.tokenizer, card)
    print(args.out)
    return 0
