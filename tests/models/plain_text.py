"""BERT with fusion layers written out plainly from its description, to check ours.

Key names are the release's; nothing of ``svitt`` is used.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

CONFIG: dict[str, Any] = {
    "dim": 24, "heads": 3, "layers": 3, "fusion_layer": 1, "mlp_dim": 40, "vocab": 30, "video_dim": 16,
    "keep_rate": 1.0, "prune_layers": [], "strategy": "cls_attn",
}  # fmt: skip


def random_weights(c: dict[str, Any], g: torch.Generator, positions: int = 12) -> dict[str, Tensor]:
    """Small random weights."""
    d, m = c["dim"], c["mlp_dim"]
    shapes: dict[str, tuple[int, ...]] = {
        "bert.embeddings.word_embeddings.weight": (c["vocab"], d),
        "bert.embeddings.position_embeddings.weight": (positions, d),
        "bert.embeddings.token_type_embeddings.weight": (2, d),
        "cls.predictions.transform.dense.weight": (d, d),
        "cls.predictions.transform.dense.bias": (d,),
        "cls.predictions.bias": (c["vocab"],),
        "cls.predictions.decoder.weight": (c["vocab"], d),
    }
    norms = ["bert.embeddings", "cls.predictions.transform"]
    for i in range(c["layers"]):
        layer = f"bert.encoder.layer.{i}."
        kinds = ["attention"] + ["crossattention"] * (i >= c["fusion_layer"])
        for kind in kinds:
            for part in ("query", "key", "value"):
                width = c["video_dim"] if kind == "crossattention" and part != "query" else d
                shapes[f"{layer}{kind}.self.{part}.weight"] = (d, width)
                shapes[f"{layer}{kind}.self.{part}.bias"] = (d,)
            shapes[f"{layer}{kind}.output.dense.weight"] = (d, d)
            shapes[f"{layer}{kind}.output.dense.bias"] = (d,)
            norms.append(f"{layer}{kind}.output")
        shapes |= {f"{layer}intermediate.dense.weight": (m, d), f"{layer}intermediate.dense.bias": (m,)}
        shapes |= {f"{layer}output.dense.weight": (d, m), f"{layer}output.dense.bias": (d,)}
        norms.append(f"{layer}output")
    for norm in norms:
        shapes |= {f"{norm}.LayerNorm.weight": (d,), f"{norm}.LayerNorm.bias": (d,)}
    weights = {name: 0.2 * torch.randn(shape, generator=g) for name, shape in shapes.items()}
    for name in weights:
        if name.endswith("LayerNorm.weight"):
            weights[name] += 1
    weights["cls.predictions.decoder.bias"] = weights["cls.predictions.bias"].clone()
    return weights


class Plain:
    """One text and one video at a time."""

    def __init__(self, config: dict[str, Any], weights: dict[str, Tensor]) -> None:
        self.c, self.w = config, weights

    def linear(self, x: Tensor, name: str) -> Tensor:
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self.w[f"{name}.LayerNorm.weight"], self.w[f"{name}.LayerNorm.bias"]
        return F.layer_norm(x, (x.shape[-1],), weight, bias, 1e-12)

    def attend(self, x: Tensor, keys: Tensor, name: str, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Queries (L, D), keys (N, Dk) -> the layer's output and (heads, L, N).

        mask: (N,), 0 for padded keys, which the release gives 10000 less; None for none.
        """
        bias = 0 if mask is None else (1.0 - mask) * -10000.0
        heads, rows, size = [], [], self.c["dim"] // self.c["heads"]
        q, k, v = (
            self.linear(a, f"{name}.self.{part}")
            for a, part in ((x, "query"), (keys, "key"), (keys, "value"))
        )
        for h in range(self.c["heads"]):
            part = slice(h * size, (h + 1) * size)
            p = (q[:, part] @ k[:, part].T / math.sqrt(size) + bias).softmax(dim=-1)
            heads.append(p @ v[:, part])
            rows.append(p)
        out = self.linear(torch.cat(heads, dim=1), f"{name}.output.dense")
        return self.norm(out + x, f"{name}.output"), torch.stack(rows)

    def text(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Token numbers (L,), with a mask (L,) if some are padding -> states after the text layers.

        Padding has an embedding, a position and states of its own, as any word has; it is no key.
        """
        e = "bert.embeddings."
        x = self.w[f"{e}word_embeddings.weight"][ids] + self.w[f"{e}token_type_embeddings.weight"][0]
        x = self.norm(x + self.w[f"{e}position_embeddings.weight"][: len(ids)], "bert.embeddings")
        for i in range(self.c["fusion_layer"]):
            x = self.mlp(self.attend(x, x, f"bert.encoder.layer.{i}.attention", mask)[0], i)
        return x

    def mlp(self, x: Tensor, i: int) -> Tensor:
        layer = f"bert.encoder.layer.{i}."
        hidden = F.gelu(self.linear(x, f"{layer}intermediate.dense"))
        return self.norm(self.linear(hidden, f"{layer}output.dense") + x, f"{layer}output")

    def fuse(
        self, x: Tensor, video: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, dict[int, Tensor], list[Tensor]]:
        """-> states, kept patch tokens by layer, cross-attention by layer.

        Of the "avg_attn" strategy all positions of ``x`` count, padding too, as in the release.
        """
        kept, rows = {}, []
        for i in range(self.c["fusion_layer"], self.c["layers"]):
            x = self.attend(x, x, f"bert.encoder.layer.{i}.attention", mask)[0]
            x, p = self.attend(x, video, f"bert.encoder.layer.{i}.crossattention")
            rows.append(p)
            x = self.mlp(x, i)
            if i in self.c["prune_layers"]:
                row = p.mean(0).mean(0) if self.c["strategy"] == "avg_attn" else p.mean(0)[0]
                count = math.ceil(self.c["keep_rate"] * (len(video) - 1))
                kept[i] = row[1:].topk(count).indices.sort().values
                video = torch.cat([video[:1], video[1:][kept[i]]])
        return x, kept, rows

    def words(self, x: Tensor) -> Tensor:
        x = F.gelu(self.linear(x, "cls.predictions.transform.dense"))
        x = self.norm(x, "cls.predictions.transform")
        return x @ self.w["cls.predictions.decoder.weight"].T + self.w["cls.predictions.bias"]


def inputs(c: dict[str, Any], g: torch.Generator, lengths: tuple[int, ...] = (7, 4, 1)) -> dict[str, Tensor]:
    """Texts of these lengths, padded with 0, and as many videos of 1 + 10 tokens."""
    ids = torch.randint(1, c["vocab"], (len(lengths), max(lengths)), generator=g)
    mask = torch.tensor([[int(i < n) for i in range(max(lengths))] for n in lengths])
    video = torch.randn(len(lengths), 11, c["video_dim"], generator=g)
    return {"input_ids": ids * mask, "attention_mask": mask, "video_tokens": video}


def write_reference(path: Path, seed: int = 0, lengths: tuple[int, ...] = (6, 6, 6), **changes: Any) -> Path:
    """A reference file of the recorded schema for a text case: texts of these lengths, padded."""
    c = {**CONFIG, **changes, "name": path.stem}
    g = torch.Generator().manual_seed(seed)
    weights, given = random_weights(c, g), inputs(c, g, lengths)
    # In double precision, so that only the checked side rounds.
    plain = Plain(c, {name: weight.double() for name, weight in weights.items()})
    made: dict[str, list[Tensor]] = {}
    for ids, mask, video in zip(*given.values(), strict=True):
        state = plain.text(ids, mask)
        out, numbers, _ = plain.fuse(state, video.double(), mask)
        made.setdefault("text_last_hidden_state", []).append(state.float())
        made.setdefault("fusion_last_hidden_state", []).append(out.float())
        made.setdefault("mlm_logits", []).append(plain.words(out).float())
        for layer, index in numbers.items():
            made.setdefault(f"kept_tokens.layer{layer}", []).append(index)
    tensors = {f"weights.{k}": v for k, v in weights.items()} | {f"input.{k}": v for k, v in given.items()}
    tensors |= {f"output.{k}": torch.stack(v) for k, v in made.items()}
    save_file(tensors, path, {"config": json.dumps(c)})
    return path
