"""Trains a curriculum stage by stage; what is finished is found again, what was interrupted goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from svitt.atomic import replacing, write_atomically
from svitt.config import to_dict
from svitt.errors import CheckpointError
from svitt.models.video_encoder import VideoEncoderConfig
from svitt.training.captured_step import StepKind
from svitt.training.curriculum import Curriculum, Stage, carried
from svitt.training.trainer import Batch, TrainConfig, train

DESCRIPTION, WEIGHTS = "stage.json", "model.safetensors"


def stage_folder(folder: Path, number: int) -> Path:
    """Where a stage keeps its log, checkpoints and weights."""
    return folder / f"stage-{number:02d}"


def train_stages(
    curriculum: Curriculum,
    base: VideoEncoderConfig,
    recipe: TrainConfig,
    *,
    model_of: Callable[[VideoEncoderConfig], nn.Module],
    batches_of: Callable[[int, Stage], Callable[[int], Batch]],
    loss_of: Callable[[nn.Module, Batch], Tensor],
    folder: Path,
    prefix: str = "video_encoder.",
    device: str = "cpu",
    title: str = "stage",
    progress: bool = True,
    kind: StepKind = "plain",
) -> nn.Module:
    """The model after the last stage, in evaluation mode.

    base: the encoder but for what the stages change. model_of: a fresh model around an encoder.
    batches_of: (number, stage) -> step -> batch. prefix: of the encoder's names in the model's state.
    folder: keeps ``stage-00``, ``stage-01``, ...; a stage found finished there is not trained again. kind: of
    step, as ``train`` has it.

    Errors: CheckpointError where a folder holds another stage than the curriculum asks for.
    """
    state: Mapping[str, Tensor] | None = None
    model: nn.Module | None = None
    for number, stage in enumerate(curriculum.stages):
        config, place = curriculum.encoder(base, number), stage_folder(folder, number)
        settings = curriculum.training(number, recipe)
        told = {"encoder": to_dict(config), "training": to_dict(settings), "carry": curriculum.carry}
        _claim(place, number, told)
        model = model_of(config)
        if (place / WEIGHTS).is_file():
            model.load_state_dict(load_file(place / WEIGHTS))
        else:
            if state is not None:
                before = curriculum.encoder(base, number - 1)
                model.load_state_dict(carried(state, before, config, curriculum.carry, prefix))
            name = f"{title} {number + 1}/{len(curriculum.stages)}, {stage.num_frames} frames"
            batches = batches_of(number, stage)
            train(
                model, batches, loss_of, settings, place,
                device=device, progress=progress, title=name, kind=kind,
            )  # fmt: skip
            with replacing(place / WEIGHTS) as part:
                save_file(model.state_dict(), part)
        state = {name: value.cpu() for name, value in model.state_dict().items()}
    assert model is not None
    return model.to(device).eval()


def _claim(place: Path, number: int, description: dict[str, Any]) -> None:
    """Writes what a stage's folder is for, or checks that it is for this stage; those before it were checked
    before."""
    whole = json.loads(json.dumps(description | {"number": number}))
    file = place / DESCRIPTION
    if file.is_file():
        found = json.loads(file.read_text(encoding="utf-8"))
        if found != whole:
            differs = sorted(key for key in whole if found.get(key) != whole[key])
            raise CheckpointError(
                f"{place}: holds another stage (its {', '.join(differs)} differs); give another folder, or "
                "delete this one to train the stage anew"
            )
        return
    place.mkdir(parents=True, exist_ok=True)
    write_atomically(file, (json.dumps(whole, indent=1) + "\n").encode())
