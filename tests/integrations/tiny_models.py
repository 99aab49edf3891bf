"""Random models of transformers in folders, with their processors, small enough for a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import Tokenizer, processors

from svitt.data.text import build_tokenizer
from svitt.data.worlds.shapes.grammar import vocabulary

SPECIAL = {
    "image_token": "<image>", "video_token": "<video>", "fake_image_token": "<fake>",
    "global_image_token": "<global>", "end_of_utterance_token": "<end>", "vision_bos_token": "<vision>",
    "vision_eos_token": "</vision>", "start_image_token": "<img>", "end_image_token": "</img>",
    "context_image_token": "<context>",
}  # fmt: skip
TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'video' %}<vision><video></vision>{% else %} {{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %} sand :{% endif %}"
)
TEXT = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "bos_token_id": None, "eos_token_id": None,
    "pad_token_id": 0,
}  # fmt: skip
VISION = {
    "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "patch_size": 4, "image_size": 16,
}  # fmt: skip
QWEN = {
    "depth": 2, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "patch_size": 4,
    "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": 32,
}  # fmt: skip
ROPE = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
SQUARE = {"height": 16, "width": 16}
KINDS = ("qwen2_5_vl", "smolvlm", "llava_onevision", "llava_next_video", "qwen2_vl", "qwen3_vl", "internvl")


def fast_tokenizer(**settings: Any) -> Any:
    """The world's words, as a tokenizer of transformers."""
    made: Tokenizer = build_tokenizer(vocabulary())
    if "eos_token" in settings:  # a language model's tokenizer adds nothing to a text
        made.post_processor = processors.Sequence([])
    return hf.PreTrainedTokenizerFast(tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", **settings)


def spread(model: Any, target: Path) -> Path:
    """Weights far from the start, where all texts look alike; saved."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.3)
    model.save_pretrained(target)
    return target


def save_generative(kind: str, target: Path) -> Path:
    """A generative model of a type in ``KINDS``. SmolVLM's processor needs ``num2words``."""
    tokenizer = fast_tokenizer(eos_token="[SEP]", extra_special_tokens=SPECIAL)
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in SPECIAL.items()}
    text = TEXT | {"vocab_size": len(tokenizer)}
    both = {"image_token_id": ids["image_token"], "video_token_id": ids["video_token"]}
    config, processor = getattr(_Make(tokenizer, ids, text, both), kind)()
    processor.chat_template = TEMPLATE
    processor.save_pretrained(target)
    return spread(hf.AutoModelForImageTextToText.from_config(config), target)


class _Make:
    """Configuration and processor of every kind."""

    def __init__(
        self, tokenizer: Any, ids: dict[str, int], text: dict[str, Any], both: dict[str, int]
    ) -> None:
        self.tokenizer, self.ids, self.text, self.both = tokenizer, ids, text, both

    def _qwen(self, config: Any, processor: Any, video: Any, **vision: Any) -> tuple[Any, Any]:
        marks = {
            "vision_start_token_id": self.ids["vision_bos_token"],
            "vision_end_token_id": self.ids["vision_eos_token"],
        }
        text = self.text | {"rope_parameters": ROPE, "head_dim": 8}
        made = config(text_config=text, vision_config=QWEN | vision, **self.both, **marks)
        size = {"shortest_edge": 64, "longest_edge": 1024}
        images = hf.Qwen2VLImageProcessor(patch_size=4, size=size)
        return made, processor(images, self.tokenizer, video(patch_size=4, size=size))

    def qwen2_vl(self) -> tuple[Any, Any]:
        vision = {"embed_dim": 16, "hidden_size": 32, "mlp_ratio": 1}
        return self._qwen(hf.Qwen2VLConfig, hf.Qwen2VLProcessor, hf.Qwen2VLVideoProcessor, **vision)

    def qwen2_5_vl(self) -> tuple[Any, Any]:
        vision = {"window_size": 16, "fullatt_block_indexes": [1]}
        return self._qwen(hf.Qwen2_5_VLConfig, hf.Qwen2_5_VLProcessor, hf.Qwen2VLVideoProcessor, **vision)

    def qwen3_vl(self) -> tuple[Any, Any]:
        vision = {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]}
        return self._qwen(hf.Qwen3VLConfig, hf.Qwen3VLProcessor, hf.Qwen3VLVideoProcessor, **vision)

    def smolvlm(self) -> tuple[Any, Any]:
        config = hf.SmolVLMConfig(
            text_config=self.text | {"model_type": "llama"}, vision_config=VISION,
            image_token_id=self.ids["image_token"], scale_factor=2, pad_token_id=0,
        )  # fmt: skip
        size = {"longest_edge": 16}
        images = hf.SmolVLMImageProcessor(size=size, max_image_size=size, do_image_splitting=False)
        videos = hf.SmolVLMVideoProcessor(size=size, max_image_size=size, num_frames=4, fps=1)
        return config, hf.SmolVLMProcessor(images, self.tokenizer, videos, image_seq_len=4)

    def llava_onevision(self) -> tuple[Any, Any]:
        vision = VISION | {"model_type": "siglip_vision_model", "vision_use_head": False}
        config = hf.LlavaOnevisionConfig(
            text_config=self.text | {"model_type": "qwen2"}, vision_config=vision,
            image_grid_pinpoints=[[16, 16]], **self.both,
        )  # fmt: skip
        images = hf.LlavaOnevisionImageProcessor(size=SQUARE, image_grid_pinpoints=[[16, 16]])
        videos = hf.LlavaOnevisionVideoProcessor(size=SQUARE)
        return config, hf.LlavaOnevisionProcessor(
            images, self.tokenizer, videos, num_image_tokens=16, vision_feature_select_strategy="full"
        )

    def llava_next_video(self) -> tuple[Any, Any]:
        config = hf.LlavaNextVideoConfig(
            text_config=self.text | {"model_type": "llama"}, spatial_pool_stride=2,
            vision_config=VISION | {"model_type": "clip_vision_model"}, image_grid_pinpoints=[[16, 16]],
            **self.both,
        )  # fmt: skip
        images = hf.LlavaNextImageProcessor(size=SQUARE, crop_size=SQUARE, image_grid_pinpoints=[[16, 16]])
        videos = hf.LlavaNextVideoVideoProcessor(size=SQUARE, crop_size=SQUARE)
        return config, hf.LlavaNextVideoProcessor(
            videos, images, self.tokenizer, patch_size=4, vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
        )  # fmt: skip

    def internvl(self) -> tuple[Any, Any]:
        config = hf.InternVLConfig(
            text_config=self.text | {"model_type": "qwen2"},
            vision_config=VISION | {"patch_size": [4, 4], "image_size": [16, 16]},
            image_token_id=self.ids["context_image_token"], image_seq_length=4, downsample_ratio=0.5,
        )  # fmt: skip
        images = hf.GotOcr2ImageProcessor(size=SQUARE, crop_to_patches=False)
        videos = hf.InternVLVideoProcessor(size=SQUARE)
        return config, hf.InternVLProcessor(images, self.tokenizer, videos, image_seq_length=4)
