"""The clips with events of chapter 7, and a curriculum trained and scored on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from torch import nn

from svitt.config import to_dict
from svitt.data.text import build_tokenizer
from svitt.data.worlds.shapes.events import Event, event_caption, shown, vocabulary
from svitt.experiments.ch07_curriculum.settings import Settings
from svitt.experiments.shared.event_world import events_of, events_spec, right_events
from svitt.experiments.shared.frame_sampling import shown_indices
from svitt.experiments.shared.tiny_models import WorldData, world_data
from svitt.experiments.shared.train_once import train_once
from svitt.models.dual_encoder import DualEncoder, DualEncoderConfig
from svitt.models.text_encoder import TextConfig
from svitt.models.video_encoder import VideoEncoderConfig
from svitt.profiling.cost import encoder_cost
from svitt.records.code_hash import code_hash
from svitt.records.workspace import Workspace
from svitt.training.batches import one_stage
from svitt.training.contrastive import contrastive_loss
from svitt.training.curriculum import Curriculum, Stage
from svitt.training.curriculum_run import stage_folder, train_stages
from svitt.training.trainer import LOG, Batch, TrainConfig, TrainingLog


def step_flops(config: VideoEncoderConfig, batch_size: int) -> int:
    """FLOPs of one training step of the video encoder."""
    return encoder_cost(config, config.num_frames, batch_size).training


@dataclass(frozen=True)
class Bench:
    """The clips of a seed, as their events show them, and what is said of them. split: that models are
    scored on."""

    settings: Settings
    seed: int
    device: str
    workspace: Workspace
    data: WorldData
    words: Tokenizer
    clips: dict[str, npt.NDArray[np.uint8]]
    events: dict[str, list[Event]]
    split: str = "test"

    def model(self, video: VideoEncoderConfig) -> DualEncoder:
        """A fresh dual encoder around a video encoder."""
        text = TextConfig(self.words.get_vocab_size(), width=video.width, num_heads=video.num_heads)
        return DualEncoder(DualEncoderConfig(video, text, embed_dim=video.width), self.seed)

    def batches(self, number: int, stage: Stage) -> Callable[[int], Batch]:
        """Of a stage; every stage has its own order of clips."""
        captions = [event_caption(event.verb) for event in self.events["train"]]
        seed = self.seed + 100_000 * number
        return one_stage(
            self.clips["train"], captions, self.words, stage.num_frames, stage.batch_size, seed,
            device=self.device, max_shift=None,
        )  # fmt: skip

    def correct(self, model: DualEncoder, split: str, most: int | None = None) -> npt.NDArray[np.int8]:
        """(N,): the right event among the six of its kind."""
        clips = self.clips[split][:most]
        numbers = shown_indices(len(clips), clips.shape[1], model.config.video.num_frames, self.seed)
        chosen = clips[np.arange(len(clips))[:, None], numbers]
        return right_events(model, chosen, self.events[split][:most], self.words, self.device)


@dataclass(frozen=True)
class Trained:
    """A trained curriculum: what it scores, what it cost, its losses by step."""

    curriculum: Curriculum
    correct: npt.NDArray[np.int8]
    train_correct: float
    flops: float
    cpu_seconds: float
    losses: npt.NDArray[np.float32]


def bench_of(settings: Settings, seed: int, device: str, workspace: Workspace, split: str = "test") -> Bench:
    """The clips of a seed, made or found, for training and for scoring on a split."""
    events = settings.events
    data = world_data(events_spec(events, seed), workspace, events.event_size)
    happening = {part: events_of(events, data, part, seed) for part in ("train", split)}
    clips = {part: shown(data.clips(part), happening[part]) for part in happening}
    words = build_tokenizer(vocabulary())
    return Bench(settings, seed, device, workspace, data, words, clips, happening, split)


def run(bench: Bench, curriculum: Curriculum, rate: float, title: str) -> Trained:
    """Trains a curriculum now, or finds it, and scores it. rate: the learning rate of its stages."""
    s, base = bench.settings, bench.settings.base()
    recipe = TrainConfig(
        sum(stage.steps for stage in curriculum.stages), s.events.batch_size, rate,
        warmup_steps=s.events.warmup_steps, mixed_precision=s.events.mixed_precision,
    )  # fmt: skip
    config = {
        "world": to_dict(bench.data.world.spec),
        "event_length": s.events.event_length,
        "size": s.events.event_size,
        "base": to_dict(base),
        "stages": [to_dict(stage) for stage in curriculum.stages],
        "how": [list(curriculum.prune_layers), curriculum.schedule, curriculum.carry],
        "recipe": to_dict(recipe),
    }
    final = bench.model(curriculum.encoder(base, len(curriculum.stages) - 1))

    def trained(folder: Path) -> nn.Module:
        return train_stages(
            curriculum, base, recipe, model_of=bench.model, batches_of=bench.batches,
            loss_of=contrastive_loss, folder=folder, device=bench.device, title=f"{title} {bench.seed}",
            kind=bench.workspace.training.step,
        )  # fmt: skip

    model, place = train_once(
        "curriculum", config, bench.seed, bench.device, bench.workspace,
        code=code_hash(f"{__name__}:run").hash, steps=recipe.steps, model=final, train=trained,
    )  # fmt: skip
    seconds = float(place.summary["cpu_seconds"])
    losses = [
        loss
        for i in range(len(curriculum.stages))
        for _, loss in sorted(TrainingLog(stage_folder(place.path, i) / LOG).losses().items())
    ]
    return Trained(
        curriculum,
        bench.correct(model, bench.split),
        float(bench.correct(model, "train", len(bench.clips[bench.split])).mean()),
        float(curriculum.flops(base, step_flops)),
        seconds,
        np.array(losses, dtype=np.float32),
    )
