"""Generative video-language models of transformers: how likely is each caption, given the frames?

The score of a caption is the log-likelihood that the model answers a fixed question about the clip with it,
and with nothing more: log p of its tokens and of the end after them. The clip is read once; captions are
scored in batches behind its cached keys and values.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.video_utils import VideoMetadata

from svitt.config import require
from svitt.errors import CheckpointError
from svitt.integrations.similarity_pixels import Frames, Scores

# Model types that read a video as frames behind one placeholder of the prompt, with causal attention.
GENERATIVE = (
    "internvl",
    "llava_next_video",
    "llava_onevision",
    "qwen2_5_vl",
    "qwen2_vl",
    "qwen3_vl",
    "smolvlm",
)
QUESTION = "Describe the video in one sentence."
_SIDE = 336  # pixels of a frame, for models that take any: a multiple of the patches of Qwen-VL


@dataclass(frozen=True)
class Read:
    """A clip and the question, read.

    cache: keys and values of all tokens but the last; last: that token, (1, 1) int64. deltas: of models that
    count positions in space and time (Qwen-VL), how much the next position differs from the count of tokens.
    """

    cache: Any
    last: Tensor
    deltas: Tensor | None


@dataclass(frozen=True)
class GenerativeModel:
    """A model of ``AutoModelForImageTextToText`` with its processor.

    question: what the captions answer. batch: captions scored at once. Frames count as ``fps`` a second, the
    rate that the model's own processor samples at, or 1: how long the clip really was is not asked.
    """

    model: Any
    processor: Any
    num_frames: int = 8
    device: str = "cpu"
    question: str = QUESTION
    batch: int = 32

    def __post_init__(self) -> None:
        require(self.batch >= 1, "batch", self.batch, "integers from 1")

    @property
    def image_size(self) -> int:
        """Of the frames that the processor is given; it fits them to the model itself."""
        side = getattr(self.model.config.vision_config, "image_size", None)
        side = side[0] if isinstance(side, Sequence) else side
        return _SIDE if side is None else int(side)

    @property
    def prompt(self) -> str:
        """The question about a video in the model's own chat format, up to where the answer begins."""
        content = [{"type": "video"}, {"type": "text", "text": self.question}]
        asked = [{"role": "user", "content": content}]
        return str(self.processor.apply_chat_template(asked, add_generation_prompt=True))

    @torch.no_grad()
    def similarity(self, clips: Frames, texts: Sequence[str]) -> Scores:
        """Log-likelihoods (V, T), natural logarithm, summed over the tokens of a text and its end.

        Errors: CheckpointError for a prompt without a place for the video.
        """
        captions = [self.caption_tokens(text) for text in texts]
        # Captions of like length together: little padding.
        order = sorted(range(len(captions)), key=lambda index: len(captions[index]))
        chunks = [order[start : start + self.batch] for start in range(0, len(order), self.batch)]
        scores = np.zeros((len(clips), len(captions)), np.float32)
        # disable=None: no bar where the output is no terminal
        with tqdm(total=scores.size, desc="captions", unit="caption", leave=False, disable=None) as bar:
            for row, clip in enumerate(clips):
                read = self.read(clip)
                for chunk in chunks:
                    scores[row, chunk] = self.likelihoods(read, [captions[index] for index in chunk]).cpu()
                    bar.update(len(chunk))
        return scores

    def caption_tokens(self, text: str) -> list[int]:
        """The tokens of a text where the answer begins, and the end."""
        prompt, tokenizer = self.prompt, self.processor.tokenizer
        text = text if prompt[-1:].isspace() else f" {text}"

        def tokens(part: str) -> list[int]:
            return list(tokenizer(part, add_special_tokens=False).input_ids)

        # Some tokenizers put a mark of the beginning before any text; behind the prompt there is none.
        before, whole = tokens(prompt), tokens(prompt + text)
        told = whole[len(before) :] if whole[: len(before)] == before else tokens(text)
        return [*told, int(tokenizer.eos_token_id)]

    def inputs(self, clip: Frames) -> dict[str, Any]:
        """What the model reads of a clip (T, H, W, 3) and the prompt, in a batch of one.

        Errors: CheckpointError for a prompt without a place for the video.
        """
        prompt, tokenizer, video = self.prompt, self.processor.tokenizer, self.processor.video_processor
        if str(self.processor.video_token) not in prompt:
            raise CheckpointError(
                f"{tokenizer.name_or_path}: its chat template puts no {self.processor.video_token!r} into "
                f"{prompt!r}; take a model whose template knows content of type 'video'"
            )
        metadata = VideoMetadata(
            total_num_frames=len(clip),
            fps=float(getattr(video, "fps", None) or 1),
            frames_indices=list(range(len(clip))),
        )
        begins = tokenizer.bos_token is not None and prompt.startswith(tokenizer.bos_token)
        given = self.processor(
            text=[prompt],
            videos=[np.ascontiguousarray(clip)],
            video_metadata=[metadata],
            do_sample_frames=False,
            add_special_tokens=not begins,
            return_tensors="pt",
        )
        return dict(given.to(self.device, self.model.dtype))

    def read(self, clip: Frames) -> Read:
        """Reads a clip (T, H, W, 3) and the prompt."""
        given = self.inputs(clip)
        shape, last = given["input_ids"].shape, given["input_ids"][:, -1:]
        # The last token goes in front of every caption: what follows it is the first of the caption.
        short = {
            name: part[:, :-1] if isinstance(part, Tensor) and part.shape == shape else part
            for name, part in given.items()
        }
        cache = self.model(**short, use_cache=True, logits_to_keep=1).past_key_values
        return Read(cache, last, getattr(self.model.base_model, "rope_deltas", None))

    def likelihoods(self, read: Read, captions: Sequence[Sequence[int]]) -> Tensor:
        """(B,) float32, of captions given as token numbers.

        The attention is causal: what a shorter caption is padded with stands behind all that is counted.
        """
        count, longest = len(captions), max(len(caption) for caption in captions)
        ids = torch.zeros(count, longest, dtype=torch.int64, device=read.last.device)
        real = torch.zeros(count, longest, device=read.last.device)
        for row, caption in enumerate(captions):
            ids[row, : len(caption)] = torch.tensor(caption, device=ids.device)
            real[row, : len(caption)] = 1
        cache = copy.deepcopy(read.cache)
        cache.batch_repeat_interleave(count)
        if read.deltas is not None:
            self.model.base_model.rope_deltas = read.deltas  # the model keeps those of the clip it read last
        fed = torch.cat([read.last.expand(count, 1), ids[:, :-1]], dim=1)
        logits: Tensor = self.model(input_ids=fed, past_key_values=cache, use_cache=True).logits
        chosen = logits.float().log_softmax(dim=-1).gather(2, ids[:, :, None]).squeeze(2)
        return (chosen * real).sum(dim=1)


def open_generative(name: str, num_frames: int, device: str) -> GenerativeModel:
    """A generative model of a folder or hub name, of a type in ``GENERATIVE``, in its saved precision.

    Errors: CheckpointError for a processor that cannot be used for the probe, or that needs a package which
    is not installed; transformers' OSError and ValueError for what cannot be read.
    """
    try:
        processor = AutoProcessor.from_pretrained(name)
    except ImportError as error:
        raise CheckpointError(f"{name}: its processor needs another package: {error}") from error
    for part in ("video_processor", "tokenizer", "chat_template"):
        if getattr(processor, part, None) is None:
            raise CheckpointError(
                f"{name}: its processor has no {part}; take the version of the model that answers questions "
                "about videos, with all files of its processor"
            )
    if processor.tokenizer.eos_token_id is None:
        raise CheckpointError(
            f"{name}: its tokenizer has no end token; set eos_token in tokenizer_config.json"
        )
    model = AutoModelForImageTextToText.from_pretrained(name, dtype="auto")
    return GenerativeModel(model.to(device).eval(), processor, num_frames, device)
