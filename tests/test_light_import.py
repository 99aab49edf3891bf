"""What an import costs: the layers bring torch and nothing else, `import svitt` not even that.

Measured with ``-X importtime`` against plain torch in a process of its own: names of modules, and a ratio.
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache

import pytest

# Of torch alone, with what it loads on first use of its own counter of operations.
TORCH = "import torch, torch.utils.flop_counter"
HEAVY = {"transformers", "timm", "torchvision", "pandas", "scipy", "matplotlib", "safetensors", "tokenizers"}


@cache
def imported(program: str) -> dict[str, int]:
    """Module -> microseconds of its import with all that it imported itself, in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", program], capture_output=True, text=True, check=True
    )
    found = re.findall(r"^import time:\s+\d+ \|\s+(\d+) \|\s+(\S+)$", done.stderr, re.MULTILINE)
    return {name: int(microseconds) for microseconds, name in found}


def packages(program: str) -> set[str]:
    """Top names of what a program imports, without Python's own."""
    return {name.split(".")[0] for name in imported(program)} - set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    "program",
    [
        "import svitt.layers",
        "from svitt.layers.attention import SelfAttention",
        "from svitt.layers.token_pruning import keep_top_tokens",
        "from svitt.losses import contrastive, matching",
        "from svitt import edge_attention",
    ],
)
def test_layers_bring_torch_and_nothing_else(program: str) -> None:
    brought = packages(program) - packages(TORCH)
    assert {name for name in brought if not name.startswith("__editable__")} <= {"svitt"}
    rooms = {name.split(".")[1] for name in imported(program) if name.startswith("svitt.")}
    assert rooms <= {"layers", "losses", "config", "errors"}


def test_layers_take_little_longer_than_torch() -> None:
    """In one process: what the layers add to torch is a small part of torch."""
    times = imported("import svitt.layers")
    assert times["svitt.layers"] - times["torch"] < 0.5 * times["torch"]


def test_the_package_alone_is_nearly_nothing() -> None:
    assert "torch" not in packages("import svitt") and "numpy" not in packages("import svitt")
    assert imported("import svitt")["svitt"] < 0.1 * imported(TORCH)["torch"]


def test_heavy_imports_would_be_seen() -> None:
    """The measure itself: a module that needs transformers is found out."""
    brought = packages("from svitt.models import text_encoder") - packages(TORCH)
    assert brought & HEAVY
