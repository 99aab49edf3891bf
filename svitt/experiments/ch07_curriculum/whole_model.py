"""What a curriculum costs when the text encoder counts as well: chapter 7 equalised the video alone."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from svitt.data.text import build_tokenizer
from svitt.data.worlds.shapes.events import vocabulary
from svitt.experiments.ch07_curriculum.harness import step_flops
from svitt.experiments.ch07_curriculum.settings import Kind, Settings
from svitt.models.dual_encoder import DualEncoder, DualEncoderConfig
from svitt.models.text_encoder import TextConfig


def text_flops(settings: Settings) -> int:
    """Of the text encoder in one training step: three times its forward pass on a batch of captions."""
    video = settings.base()
    words = build_tokenizer(vocabulary()).get_vocab_size()
    text = TextConfig(words, width=video.width, num_heads=video.num_heads)
    model = DualEncoder(DualEncoderConfig(video, text, embed_dim=video.width), 0)
    ids = torch.zeros(settings.events.batch_size, text.max_length, dtype=torch.long)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.encode_text(ids, torch.ones_like(ids))
    return 3 * int(counter.get_total_flops())


def whole_model_flops(
    settings: Settings, kind: Kind, keep_rate: float, budget: int, sparse: bool = True
) -> int:
    """Of a whole training, text included. budget: the number of one of the settings' budgets."""
    length = settings.lengths[-1]
    curriculum = settings.curriculum(kind, length, keep_rate, sparse, budget, step_flops)
    steps = sum(stage.steps for stage in curriculum.stages)
    return int(curriculum.flops(settings.base(), step_flops)) + steps * text_flops(settings)


def expansion_over_direct(settings: Settings) -> dict[str, float]:
    """Whole-model training FLOPs of expansion over those of direct training, per budget and keep rate."""
    return {
        f"budget {number + 1}, keep {rate:g}": whole_model_flops(settings, "expansion", rate, number)
        / whole_model_flops(settings, "direct", rate, number)
        for number in range(len(settings.budgets))
        for rate in settings.keep_rates
    }
