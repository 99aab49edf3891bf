"""Finds results that are typed into prose, where ``{measured}`` should print them from the records.

A result is a digit with the unit or the form of one. What is no result of this book: code, mathematics, a
sentence that says whose its numbers are (a citation, "the paper reports", "the article's"), and the settings
and margins in ``ALLOWED``, each with its reason. Of numbers in words, those before "points" and "of five
seeds" are found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

_WORD = (
    r"(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty|forty|fifty"
    r"|hundred)"
)
_NUMBER = r"\d*[.,]?\d+"
# In place of what is no prose: no digit, no letter.
_NOTHING, _CITED = "\N{WHITE DIAMOND}", "\N{SECTION SIGN}"

RESULTS = {
    "percent": rf"{_NUMBER}\s?%",
    "points": rf"(?:{_NUMBER}|\b{_WORD})\s+points?\b",
    "p-value or effect size": rf"\b[pd]\s*[=<>]\s*-?{_NUMBER}",
    "ratio": rf"{_NUMBER}\s?(?:x|\N{{MULTIPLICATION SIGN}}|times)(?!\w|\s+\d)",
    "factor": rf"\b(?:factors?|exponents?|ratios?|ranks?)\s+(?:of\s+|between\s+)?{_NUMBER}",
    "time": rf"{_NUMBER}\s+(?:CPU\s+)?(?:ms|s|seconds?|minutes?|hours?)\b",
    "memory": rf"{_NUMBER}\s+(?:[KMG]i?B|(?:kilo|mega|giga)?bytes)\b",
    "count": rf"\b(?:\d+|{_WORD})\s+of\s+(?:the\s+)?(?:\d+|{_WORD})\s+(?:seeds|models|runs)\b",
    "interval": rf"\[[-+]?{_NUMBER}%?\s*,[^\]]*\]",
    "spread": rf"\N{{PLUS-MINUS SIGN}}\s?{_NUMBER}",
    "difference": rf"(?<![\w.)])[-+]{_NUMBER}",
    "fraction": r"(?<![\w.])\d*\.\d+(?![\w.])",
}
# A sentence that says whose its numbers are; a figure in the genitive of its source.
_THEIRS = re.compile(
    rf"{_CITED}|\b(?:paper|papers|article|source|sources|authors)\s+(?:reports?|says?|states?|finds?)\b",
    re.IGNORECASE,
)
_THEIR_FIGURE = re.compile(rf"\b(?:paper|article|source)'s\s+{_NUMBER}(?:\s+to\s+{_NUMBER})?", re.IGNORECASE)

# Settings, levels and margins, with the reason why each may be typed; a test asks that each is used.
EVERYWHERE = {
    "95% t-interval": "level of every interval",
    "power .8": "power at which an effect counts as detectable",
    "8 times in 10": "power at which an effect counts as detectable",
    "false discovery rate of 5%": "level of the second edition's tests",
    "keep rate .5": "setting that the rules of pruning name",
    "the rule's two points": "margin of a rule",
}
ALLOWED: dict[str, dict[str, str]] = {
    "01_frame_shuffle": {
        "chance .5": "chance of a choice of two",
        "does not move by more than two points": "margin of a guard",
        "dials .25, .5 and .75": "settings to try",
    },
    "02_space_time_tradeoff": {
        "the learning rate of the other chapters (.003)": "learning rate",
        "at .001 slow events": "learning rate",
        "the rate of .003": "learning rate",
    },
    "03_edge_sparsity": {"an exponent above 2.4": "bound of the count beside it"},
    "04_node_sparsity": {
        "R@1 may not fall by two points": "margin of the rule",
        "keep rates from .7 down": "settings of the sweep",
        "at rate .5": "setting of the sweep",
        "at rate .7": "setting of the sweep",
        "down to rate .5": "setting of the sweep",
    },
    "05_efficiency": {
        "the 70% of the patches": "keep rate",
        "at keep rate .7 after layers": "setting of the bench",
        "keeping 70%": "keep rate",
    },
    "your_data": {
        "of 600 s": "length of EgoVLP's chunks",
        "of 300 s": "length of LaViLa's chunks",
    },
    "06_retrieval_qa": {
        "the .7 of the patches": "keep rate",
        "The three points of tolerance": "margin of the rule",
        "R@1 surely between .4 and .85": "bounds of a guard",
    },
    "07_curriculum": {
        "keep rates (.7, .5, .3": "keep rates",
        "points at keep .7": "keep rate",
        "at .3)": "keep rate",
        ".001 for direct sparse training, .002 for direct dense training": "learning rates that were chosen",
        "at rate .001": "learning rate",
        "every variant at .001": "learning rate",
        "direct sparse training at .002": "learning rate",
        "chance .17": "chance of a choice of six",
    },
    "ledger": {"the 95% one": "level of every interval"},
}


def prose(page: Path) -> str:
    """The text of a page: its markdown cells, or the whole of a markdown file."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".md":
        return text
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
    return "\n\n".join("".join(cell["source"]) for cell in cells)


def sentences(text: str) -> Iterator[str]:
    """What a reader reads as prose, sentence by sentence; an item or a row of a table is one of its own."""
    text = re.sub(r"^(`{3,}|~{3,}).*?^\1`*\s*$", "\n", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"\$\$.*?\$\$", _NOTHING, text, flags=re.DOTALL)
    text = re.sub(r"\{cite[:a-z]*\}`[^`]*`", _CITED, text)
    text = re.sub(r"(?:\{[\w:-]+\})?`[^`]*`", _NOTHING, text)
    text = re.sub(r"\$[^$\n]+\$", _NOTHING, text)
    text = re.sub(r"\]\([^)\s]*\)", "]", text)
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*|#]|\d+\.)\s?)", text):
        joined = " ".join(re.sub(r"^\s*(?:[-*#]+|\d+\.)\s+", "", block).split())
        yield from re.split(r"(?<=[.!?])[*\"')]*\s+(?=[A-Z*\"'(\[{])", joined)


def typed_results(text: str, allowed: dict[str, str]) -> list[str]:
    """One line per result that is typed: its kind, itself, its sentence."""
    found = []
    for sentence in sentences(text):
        left = sentence
        for snippet in allowed:
            left = left.replace(snippet, _NOTHING)
        left = _THEIR_FIGURE.sub(_NOTHING, left)
        if _THEIRS.search(left):
            continue
        for kind, pattern in RESULTS.items():
            found += [f"{kind}: {match[0]!r} in {sentence!r}" for match in re.finditer(pattern, left)]
    return found
