"""The released video encoder written out plainly from its description, loops and all, to check ours.

Key names, table layout and padding are the release's; nothing of ``svitt`` is used.
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


def random_weights(c: dict[str, Any], g: torch.Generator) -> dict[str, Tensor]:
    """Small random weights with the release's key names."""
    d, m, p, side = c["dim"], c["mlp_dim"], c["patch_size"], c["image_size"] // c["patch_size"]
    rows = (2 * c["frames"] - 1) * (2 * side - 1) ** 2 + 3
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.cls_token": (1, 1, d),
        "embeddings.patch_embeddings.projection.weight": (d, 3, p, p),
        "embeddings.patch_embeddings.projection.bias": (d,),
        "pooler.layernorm.weight": (d,),
        "pooler.layernorm.bias": (d,),
    }
    for i in range(c["layers"]):
        n = f"encoder.layer.{i}."
        for x in ("query", "key", "value"):
            shapes[f"{n}attention.attention.{x}.weight"] = (d, d)
        for name, shape in {
            "attention.attention.query.bias": (d,),
            "attention.attention.value.bias": (d,),
            "attention.attention.relative_position_bias.relative_position_bias_table": (rows, c["heads"]),
            "attention.output.dense.weight": (d, d),
            "attention.output.dense.bias": (d,),
            "intermediate.dense.weight": (m, d),
            "intermediate.dense.bias": (m,),
            "output.dense.weight": (d, m),
            "output.dense.bias": (d,),
            **{f"layernorm_{x}.{y}": (d,) for x in ("before", "after") for y in ("weight", "bias")},
            "lambda_1": (d,),
            "lambda_2": (d,),
        }.items():
            shapes[n + name] = shape
    return {name: 0.3 * torch.randn(shape, generator=g) for name, shape in shapes.items()}


def forward(
    c: dict[str, Any], w: dict[str, Tensor], clips: Tensor, tables: list[Tensor] | None
) -> dict[str, Tensor]:
    """All outputs of the schema, one sample, head, query and key block at a time."""
    d, frames = c["dim"], c["frames"]
    side = c["image_size"] // c["patch_size"]
    places = [(t, y, x) for t in range(frames) for y in range(side) for x in range(side)]
    patch = F.conv2d(
        clips.flatten(0, 1),
        w["embeddings.patch_embeddings.projection.weight"],
        w["embeddings.patch_embeddings.projection.bias"],
        stride=c["patch_size"],
    )
    tokens = patch.flatten(2).transpose(1, 2).reshape(len(clips), -1, d)
    states = [[torch.cat([w["embeddings.cls_token"][0], s]) for s in tokens]]
    kept: dict[int, list[list[int]]] = {}
    numbers = [list(range(len(places))) for _ in clips]
    for i in range(c["layers"]):
        layer = {
            k.removeprefix(f"encoder.layer.{i}."): v
            for k, v in w.items()
            if k.startswith(f"encoder.layer.{i}.")
        }
        state = []
        for b, x in enumerate(states[-1]):
            coordinates = [None, *(places[n] for n in numbers[b])]
            table = None if tables is None else tables[i]
            y, row = attend(c, layer, norm(x, layer, "layernorm_before"), coordinates, table, side)
            x = x + layer["lambda_1"] * y
            y = F.gelu(
                norm(x, layer, "layernorm_after") @ layer["intermediate.dense.weight"].T
                + layer["intermediate.dense.bias"]
            )
            x = x + layer["lambda_2"] * (y @ layer["output.dense.weight"].T + layer["output.dense.bias"])
            if i in c["prune_layers"]:
                count = math.ceil(c["keep_rate"] * (len(x) - 1))
                best = sorted(torch.topk(row, count).indices.tolist())
                numbers[b] = [numbers[b][n] for n in best]
                kept.setdefault(i, []).append(numbers[b])
                x = x[[0, *(n + 1 for n in best)]]
            state.append(x)
        states.append(state)
    out = {f"hidden_states.{i}": torch.stack(s) for i, s in enumerate(states)}
    out |= {f"kept_tokens.layer{i}": torch.tensor(rows) for i, rows in kept.items()}
    last = torch.stack(states[-1])
    pooled = F.layer_norm(
        last[:, 1:].mean(1), (d,), w["pooler.layernorm.weight"], w["pooler.layernorm.bias"], 1e-12
    )
    return out | {"last_hidden_state": last, "pooler_output": pooled}


def norm(x: Tensor, layer: dict[str, Tensor], name: str) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], layer[f"{name}.weight"], layer[f"{name}.bias"], 1e-12)


def attend(
    c: dict[str, Any], layer: dict[str, Tensor], x: Tensor, places: list[Any], table: Tensor | None, side: int
) -> tuple[Tensor, Tensor]:
    """One sample's attention; the mean over heads of the CLS row over patch tokens."""
    heads, frames, n = c["heads"], c["frames"], len(x)
    d = x.shape[1] // heads
    bias_table = layer["attention.attention.relative_position_bias.relative_position_bias_table"]
    rows = len(bias_table)
    size = None if table is None else c["edges"]["block_size"]
    padded = 0 if size is None else -(n - 1) % size
    blank = torch.zeros(padded, x.shape[1])
    q = x @ layer["attention.attention.query.weight"].T + layer["attention.attention.query.bias"]
    k = torch.cat([x @ layer["attention.attention.key.weight"].T, blank])
    v = torch.cat(
        [x @ layer["attention.attention.value.weight"].T + layer["attention.attention.value.bias"], blank]
    )
    out, cls_rows = torch.zeros_like(x), []
    for h in range(heads):
        part = slice(h * d, (h + 1) * d)
        for i in range(n):
            keys = list(range(n))
            if table is not None and i > 0:
                blocks = table[(i - 1) // size].tolist()
                keys = [0] + [1 + b * size + j for b in blocks for j in range(size)]
            bias = []
            for j in keys:
                if i == 0:
                    row = rows - 1 if j == 0 else rows - 3
                elif j == 0 or j >= n:  # the padding has the bias "to CLS"
                    row = rows - 2
                else:
                    dt, dy, dx = (a - b for a, b in zip(places[i], places[j], strict=True))
                    row = (
                        ((dt + frames - 1) * (2 * side - 1) + dy + side - 1) * (2 * side - 1) + dx + side - 1
                    )
                bias.append(bias_table[row, h])
            p = (k[keys, part] @ q[i, part] / math.sqrt(d) + torch.stack(bias)).softmax(0)
            out[i, part] = p @ v[keys, part]
            if i == 0:
                cls_rows.append(p[1:])
    out = out @ layer["attention.output.dense.weight"].T + layer["attention.output.dense.bias"]
    return out, torch.stack(cls_rows).mean(0)


def write_reference(path: Path, seed: int = 0, **sizes: Any) -> Path:
    """A file of the schema with random weights, inputs and block tables."""
    c: dict[str, Any] = {
        "name": path.stem, "batch": 2, "frames": 2, "image_size": 12, "patch_size": 4, "dim": 12, "heads": 3,
        "layers": 3, "mlp_dim": 20, "edges": None, "keep_rate": 1.0, "prune_layers": [],
        "padding_per_layer": [],
    } | sizes  # fmt: skip
    g = torch.Generator().manual_seed(seed)
    clips = torch.randn(c["batch"], c["frames"], 3, c["image_size"], c["image_size"], generator=g)
    weights, tables = random_weights(c, g), None
    if c["edges"] is not None:
        tables, tokens, c["padding_per_layer"] = (
            [],
            c["frames"] * (c["image_size"] // c["patch_size"]) ** 2,
            [],
        )
        for i in range(c["layers"]):
            count = -(-tokens // c["edges"]["block_size"])
            others = [
                [b for b in torch.randperm(count, generator=g).tolist() if b != n] for n in range(count)
            ]
            picks = c["edges"]["random_blocks"]
            tables.append(torch.tensor([[n, *sorted(o[:picks])] for n, o in enumerate(others)]))
            c["padding_per_layer"].append(-tokens % c["edges"]["block_size"])
            tokens = math.ceil(c["keep_rate"] * tokens) if i in c["prune_layers"] else tokens
    tensors = {f"weights.{k}": v for k, v in weights.items()} | {"input.pixel_values": clips}
    tensors |= {f"input.edge_blocks.layer{i}": t for i, t in enumerate(tables or [])}
    tensors |= {f"output.{k}": v.contiguous() for k, v in forward(c, weights, clips, tables).items()}
    save_file(tensors, path, {"config": json.dumps(c)})
    return path
