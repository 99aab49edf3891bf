"""Sparse video-text transformers: the package behind the book.

``svitt.layers`` holds the sparse layers, ``svitt.models`` the encoders, ``svitt.experiments`` one
module per chapter, ``svitt.ledger`` what makes every number traceable.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# What one uses in one's own model; imported on first use, so that `import svitt` does not wait for torch.
_EXPORTS = {
    "sparsify": "svitt.integrations.sparsify",
    "unsparsify": "svitt.integrations.sparsify",
    "edge_attention": "svitt.layers.edge_sparse_attention",
}
__all__ = ["__version__", "edge_attention", "sparsify", "unsparsify"]

if TYPE_CHECKING:
    from svitt.integrations.sparsify import sparsify, unsparsify
    from svitt.layers.edge_sparse_attention import edge_attention


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
