"""Sparse video-text transformers: the package behind the book.

``svitt.layers`` holds the sparse layers, ``svitt.models`` the encoders, ``svitt.experiments`` one
module per chapter, ``svitt.ledger`` what makes every number traceable.
"""

__version__ = "0.1.0"
