"""Code of a few definitions, for records made by tests."""

from __future__ import annotations

from svitt.records.code_hash import Code, Definition, combined, sha


def toy_code(entry: str = "svitt.experiments.ch01_frame_shuffle.experiment:measure", **texts: str) -> Code:
    """A ``measure`` that refers to one definition of ``svitt.layers`` per text."""
    parts = {f"svitt.layers.{name}": Definition(sha(text), sha(text)) for name, text in sorted(texts.items())}
    whole = sha(" ".join(["measure", *(part.whole for part in parts.values())]))
    measure = Definition(sha("measure"), whole, tuple(parts))
    return Code(combined(whole, []), entry, {entry.replace(":", "."): measure, **parts})
