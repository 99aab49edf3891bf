"""The dual encoders of chapter 6: retrieval along the training, on held-out combinations, and fine-tuned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from torch import nn

from svitt.config import to_dict
from svitt.data.worlds.shapes.world import Split, WorldSpec
from svitt.experiments.ch06_retrieval_qa.training import TrainedVariant, training_flops
from svitt.experiments.shared.frame_sampling import shown_indices
from svitt.experiments.shared.tiny_models import WorldData, embed_clips, world_data
from svitt.experiments.shared.train_once import train_once
from svitt.experiments.shared.two_object_scores import TwoObjectTexts, embed, score
from svitt.experiments.shared.two_object_world import MAX_LENGTH, TwoObjectSettings, captioned, two_movers
from svitt.models.dual_encoder import DualEncoder
from svitt.records.code_hash import code_hash
from svitt.records.workspace import Workspace
from svitt.training.batches import Batches, CaptionedClips
from svitt.training.contrastive import staged_loss
from svitt.training.trainer import TrainConfig, train

Clips = npt.NDArray[np.uint8]
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class TuneSettings:
    """Held-out combinations: clips to fine-tune on and to test on, and the recipe of the former."""

    num_tune: int = 600
    num_test: int = 400
    steps: int = 150
    batch_size: int = 64
    learning_rate: float = 5e-4
    warmup_steps: int = 15


@dataclass(frozen=True)
class Bench:
    """Clips as a model is shown them, (N, T, H, W, C), with what they are compared with."""

    clips: Clips
    texts: TwoObjectTexts
    tokenizer: Tokenizer
    device: str

    def arrays(self, model: DualEncoder) -> Arrays:
        """rank, verb, flip, swap and relation of ``two_object_scores``."""
        embedded = embed(model, self.texts, self.tokenizer, self.device)
        return score(embed_clips(model, self.clips, self.device), embedded).arrays()


def bench_of(
    data: WorldData, name: str, pool_size: int, num_frames: int, seed: int, tokenizer: Tokenizer, device: str
) -> Bench:
    """The bench of a split, frames drawn as in chapter 1."""
    whole = data.clips(name)
    indices = shown_indices(len(whole), whole.shape[1], num_frames, seed)
    clips = whole[np.arange(len(whole))[:, None], indices]
    texts = TwoObjectTexts(data.world.spec, data.world.split(name), pool_size)
    return Bench(clips, texts, tokenizer, device)


def part_of(bench: Bench, start: int, stop: int) -> Bench:
    """Some of a bench's clips."""
    split = bench.texts.split
    texts = replace(bench.texts, split=Split(split.name, split[start:stop]))
    return replace(bench, clips=bench.clips[start:stop], texts=texts)


def recall(ranks: npt.NDArray[Any]) -> float:
    """R@1."""
    return float((ranks <= 1).mean())


def along_training(variant: TrainedVariant, validation: Bench, test: Bench) -> Arrays:
    """curve/rank (S, N) on the test clips after curve/steps (S,) steps that cost curve/flops (S,), the last
    one the end; last_gain: R@1 on the validation clips, the end minus the weights before it."""
    steps = variant.steps()
    ranks = [test.arrays(variant.after(step))["rank"] for step in steps]
    end, before = (recall(validation.arrays(variant.after(step))["rank"]) for step in (steps[-1], steps[-2]))
    counted = DualEncoder(variant.model.config)
    flops = [training_flops(counted, variant.settings, step) for step in steps]
    return {
        "curve/rank": np.stack(ranks),
        "curve/steps": np.array(steps),
        "curve/flops": np.array(flops, dtype=np.float64),
        "train_flops": np.array(float(flops[-1])),
        "last_gain": np.array(end - before),
    }


def held_out_spec(settings: TwoObjectSettings, tune: TuneSettings, seed: int) -> WorldSpec:
    """The world of combinations that no other split shows."""
    spec = two_movers(settings, seed)
    return replace(spec, num_train=0, num_validation=0, num_test=0, num_heldout=tune.num_tune + tune.num_test)


def held_out(settings: TwoObjectSettings, tune: TuneSettings, seed: int, workspace: Workspace) -> WorldData:
    """That world, made or found."""
    return world_data(held_out_spec(settings, tune, seed), workspace, settings.image_size)


def fine_tuned(
    variant: TrainedVariant,
    data: WorldData,
    tune: TuneSettings,
    tokenizer: Tokenizer,
    seed: int,
    device: str,
    workspace: Workspace,
) -> DualEncoder:
    """The variant's model after some steps on the first clips of the held-out split; a copy is trained."""
    model = DualEncoder(variant.model.config)
    model.load_state_dict(variant.model.state_dict())
    config = {"base": variant.folder.name, "tune": to_dict(tune)}

    def trained(folder: Path) -> nn.Module:
        every = captioned(data, "heldout", seed, True)
        n = tune.num_tune
        shown = CaptionedClips(every.clips[:n], every.captions[:n], every.wrong[:n])
        frames = variant.settings.num_frames
        batches = Batches([(0, shown)], tokenizer, frames, tune.batch_size, seed, MAX_LENGTH, device)
        recipe = TrainConfig(tune.steps, tune.batch_size, tune.learning_rate, warmup_steps=tune.warmup_steps)
        title, step = f"fine-tune {seed}", workspace.training.step
        return train(model, batches, staged_loss, recipe, folder, device=device, title=title, kind=step)

    code = code_hash(f"{__name__}:fine_tuned").hash
    return train_once(
        "fine_tuned", config, seed, device, workspace,
        code=code, steps=tune.steps, model=model, train=trained,
    )[0]  # fmt: skip
