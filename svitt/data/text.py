"""Caption cleaning as in the released SViTT loaders, and a word-level tokenizer for small vocabularies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from svitt.config import require
from svitt.errors import ConfigError

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

_DELETED = re.compile(r"""[,.'!?"()*#:;~]""")
_SPACED = re.compile(r"[-/]")
_SIDE = re.compile(r"\b(left|right)\b")


def clean_caption(text: str) -> str:
    """Lower case, without punctuation; "-" and "/" become spaces, "<person>" the word, spaces single."""
    text = _SPACED.sub(" ", _DELETED.sub("", text.lower()))
    return " ".join(text.replace("<person>", "person").split())


def mirror_words(caption: str) -> str:
    """A caption with the words "left" and "right" swapped, for a horizontally flipped clip.

    Expects lower case (``clean_caption``). Where "right" does not mean a side, it is swapped too.
    """
    return _SIDE.sub(lambda match: "right" if match[0] == "left" else "left", caption)


def build_tokenizer(words: Iterable[str]) -> Tokenizer:
    """One token a word: [PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, [MASK] 4, then the words in sorted order.

    Lower-cases, splits at spaces and punctuation, and adds "[CLS] ... [SEP]" as BERT does. Saved with
    ``tokenizer.save(path)``, read back by ``load_tokenizer``.
    Errors: ConfigError for a word that the tokenizer would split.
    """
    known = sorted({word.lower() for word in words})
    for word in known:
        require(re.fullmatch(r"\w+", word) is not None, "words", word, "single words without punctuation")
    tokenizer = Tokenizer(
        models.WordLevel({w: i for i, w in enumerate((*SPECIAL_TOKENS, *known))}, unk_token="[UNK]")
    )
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(t, SPECIAL_TOKENS.index(t)) for t in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def load_tokenizer(path: str | Path) -> Tokenizer:
    """A tokenizer from its JSON file. Errors: ConfigError naming the file."""
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such tokenizer file; write one with tokenizer.save(path)")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for JSON that is no tokenizer
        raise ConfigError(f"{path}: not a tokenizer of the `tokenizers` library: {error}") from error


def encode(tokenizer: Tokenizer, texts: Sequence[str], max_length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token numbers and attention mask, both int64 (B, L), L = max_length, padded with [PAD].

    A longer text is cut and still ends with [SEP]. Errors: ConfigError for max_length below 3.
    """
    require(max_length >= 3, "max_length", max_length, "integers from 3: [CLS], a word, [SEP]")
    pad, end = tokenizer.token_to_id("[PAD]"), tokenizer.token_to_id("[SEP]")
    if pad is None or end is None:
        raise ConfigError("the tokenizer lacks [PAD] or [SEP]; make it with build_tokenizer")
    ids = torch.full((len(texts), max_length), pad, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, encoding in enumerate(tokenizer.encode_batch(list(texts))):
        tokens = encoding.ids
        if len(tokens) > max_length:
            tokens = [*tokens[: max_length - 1], end]
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    return ids, mask
