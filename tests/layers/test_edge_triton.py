"""The fused kernels, in Triton's interpreter on the CPU: values and gradients against float64."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from svitt.layers.edge_sparse_attention import is_fused

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="no Triton")
# Relative to the largest value: roundings of inputs to the gradients' products, and of the results.
TOLERANCE = {"float32": 2e-6, "float16": 1e-3, "bfloat16": 1.2e-2}


@pytest.mark.slow
def test_the_fused_kernels_equal_the_reference() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.layers.triton_cases"],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 22
    wrong = {
        name: errors for name, errors in found.items() if max(errors) > TOLERANCE[name.rsplit(", ", 1)[1]]
    }
    assert wrong == {}


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["forward_kernel", "query_gradient_kernel", "key_gradient_kernel"])
@pytest.mark.parametrize(("dtype", "dim"), [("fp32", 64), ("bf16", 64), ("bf16", 128)])
def test_the_kernels_compile_for_a_device_that_is_not_here(
    kernel: str, dtype: str, dim: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To machine code of an A100, in less shared memory than the smallest of its generation has."""
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from svitt.layers import _edge_triton

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    function = getattr(_edge_triton, kernel)
    constants = {"BIAS": True, "PADDING": True, "WIDE": False, "SIZE": 56, "SLOT": 64, "DIM": dim}
    constants = {name: value for name, value in constants.items() if name in function.arg_names}
    types = {"Q": dtype, "K": dtype, "V": dtype, "UP": dtype, "OUT": dtype, "CODES": "i32"}
    types |= dict.fromkeys(("BLOCKS", "ORDER", "STARTS"), "i64")
    signature = {
        name: "constexpr"
        if name in constants
        else f"*{types.get(name, 'fp32')}"
        if name.isupper()
        else "fp32"
        if name == "scale"
        else "i32"
        for name in function.arg_names
    }
    places = {(function.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(fn=function, signature=signature, constexprs=places)
    made = triton.compile(source, target=GPUTarget("cuda", 80, 32))
    assert made.asm["cubin"]
    assert made.metadata.shared <= 99 * 1024


def test_what_the_kernels_take() -> None:
    from svitt.layers import _edge_triton

    assert _edge_triton.usable(torch.zeros(1, 1, 9, 64), 56)
    assert not _edge_triton.usable(torch.zeros(1, 1, 9, 64, dtype=torch.float64), 56)
    assert not _edge_triton.usable(torch.zeros(1, 1, 9, 256), 56)
    assert not _edge_triton.usable(torch.zeros(1, 1, 9, 64), 64)
    assert _edge_triton.usable(torch.zeros(1, 1, 9, 64, dtype=torch.bfloat16), 127)
    assert not _edge_triton.usable(torch.zeros(1, 1, 9, 64, dtype=torch.bfloat16), 128)
    assert not is_fused(torch.zeros(1, 1, 9, 64), 56)  # on the CPU
