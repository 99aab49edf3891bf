"""A model trained now, or found where the same training has been finished before."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from svitt.atomic import replacing
from svitt.errors import ConfigError
from svitt.records.run_store import Run, RunStore
from svitt.records.training import PLAIN
from svitt.records.workspace import Workspace
from svitt.training.trainer import LOG

M = TypeVar("M", bound=nn.Module)
WEIGHTS = "model.safetensors"


def train_once(
    kind: str,
    config: Mapping[str, Any],
    seed: int,
    device: str,
    workspace: Workspace,
    *,
    code: str,
    steps: int,
    model: M,
    train: Callable[[Path], nn.Module],
    kept: Callable[[nn.Module], dict[str, Tensor]] | None = None,
) -> tuple[M, Run]:
    """``model`` with trained weights, on ``device`` and in evaluation mode, and the run they are kept in.

    kind, config, seed, code: what determines the weights; ``code`` is the hash of the caller. train: trains
    in the folder it is given, going on from what is there, and returns the trained module. kept: its weights
    that are worth keeping (default: all); the others stay as they are in ``model``. A workspace whose models
    are not trained plainly keeps its runs apart.

    Errors: ConfigError for a model of a stack that the stack has not trained.
    """
    with RunStore(workspace.runs).open(kind, run_key(config, device, workspace), seed, code) as run:
        if not run.finished:
            if workspace.training.stacked:
                raise ConfigError(
                    f"{kind}, seed {seed}: --stack trains no model of this kind; leave it out here"
                )
            before, began = spent(run.path), time.process_time()
            trained = train(run.path)
            weights = trained.state_dict() if kept is None else kept(trained)
            finish(run, weights, steps, before + time.process_time() - began)
        model.load_state_dict(load_file(run.path / WEIGHTS), strict=kept is None)
        return model.to(device).eval(), run


def run_key(config: Mapping[str, Any], device: str, workspace: Workspace) -> dict[str, Any]:
    """The configuration that a run is found by: with the kind of device, and the training where not plain."""
    key: dict[str, Any] = {**config, "device": torch.device(device).type}
    if workspace.training != PLAIN:
        key["training"] = workspace.training.model_dump(mode="json")
    return key


def finish(run: Run, weights: dict[str, Tensor], steps: int, cpu_seconds: float) -> None:
    """Keeps the weights of a run and marks it finished."""
    with replacing(run.path / WEIGHTS) as part:
        save_file(weights, part)
    run.finish({"steps": steps, "cpu_seconds": cpu_seconds})


def spent(folder: Path) -> float:
    """CPU seconds of the training steps that earlier, interrupted processes took in this folder."""
    lines = (line for log in sorted(folder.rglob(LOG)) for line in log.read_text().splitlines())
    return sum(float(json.loads(line).get("cpu_seconds", 0.0)) for line in lines if line.strip())
