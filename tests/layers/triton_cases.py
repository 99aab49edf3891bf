"""Largest errors of Triton's kernels in its interpreter, against float64: printed as JSON, one a case.

A process of its own (``test_edge_triton.py``): Triton reads TRITON_INTERPRET when it is first imported.
"""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

import torch

from svitt.layers import edge_sparse_attention
from svitt.layers.edges import EdgePattern
from tests.layers.test_edge_sparse_attention import make_case, run

CASES: dict[str, dict[str, Any]] = {
    "no bias": {"bias": False, "padding": False},
    "bias, tokens of each sample's own, a short last block": {"drop": 3},
    "padding attended": {"drop": 3, "padding": True},
    "padding attended, no bias": {"drop": 3, "padding": True, "bias": False},
    "sizes that are no powers of two": {"block_size": 7, "dim": 20, "window": 1, "num_random": 2},
    "no window, few blocks": {"block_size": 20, "window": 0, "num_random": 3},
    "blocks of 56": {"grid": (2, 7, 11), "block_size": 56, "batch": 1, "heads": 1, "dim": 16},
}
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def errors(sizes: dict[str, Any], dtype: torch.dtype, twice: bool = False) -> list[float]:
    """Of output, CLS row and all gradients: relative to the largest value."""
    tensors, pattern, position = make_case(dtype=torch.float32, **sizes)
    if twice:
        pattern = EdgePattern(torch.tensor([[0, 0], [1, 3], [2, 2], [3, 0], [4, 1]]), 5)
    halves = [x.detach().to(dtype).requires_grad_() for x in tensors[:3]] + tensors[3:]
    wide = [x.detach().double().requires_grad_() for x in halves]
    exact = run((wide, pattern, _with_table(position, wide)), "oracle")
    with (
        patch.object(edge_sparse_attention, "is_fused", lambda q, block_size: True),
        patch.object(edge_sparse_attention, "is_bfloat16", lambda q: False),  # as it is on a GPU
    ):
        made = run((halves, pattern, _with_table(position, halves)), "chunked")
    pairs = zip(made, exact, strict=True)
    return [float((a.double() - b).detach().abs().max() / b.detach().abs().max()) for a, b in pairs]


def _with_table(position: Any, tensors: list[torch.Tensor]) -> Any:
    return None if position is None else type(position)(tensors[3], position.codes, position.offset)


if __name__ == "__main__":
    found = {f"{n}, {d}": errors(s, dtype) for n, s in CASES.items() for d, dtype in DTYPES.items()}
    found["a block named twice, float32"] = errors({}, torch.float32, twice=True)
    print(json.dumps(found))
