"""Caption cleaning (known answers of the released loaders) and the word-level tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from svitt.data.text import build_tokenizer, clean_caption, encode, load_tokenizer, mirror_words
from svitt.data.worlds.shapes.grammar import vocabulary
from svitt.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("A man's dog-house, is RED!!  (really)", "a mans dog house is red really"),
        ("<person> cuts/peels  a #C tomato.", "person cuts peels a c tomato"),
        ('"Holding [something]"; *quite*: ~so~?', "holding [something] quite so"),
        ("", ""),
    ],
)
def test_clean_caption(text: str, cleaned: str) -> None:
    assert clean_caption(text) == cleaned
    assert clean_caption(cleaned) == cleaned


def test_mirror_words_swaps_whole_words() -> None:
    assert mirror_words("left of the upright bar, then right") == "right of the upright bar, then left"
    assert mirror_words(mirror_words("a red ring moves left")) == "a red ring moves left"


def test_encoding_of_world_captions() -> None:
    tokenizer = build_tokenizer(["b", "A", "c", "a"])
    assert tokenizer.get_vocab_size() == 5 + 3
    ids, mask = encode(tokenizer, ["a B x", "c", "a b c a b c"], max_length=6)
    pad, unk, cls, sep, a, b, c = 0, 1, 2, 3, 5, 6, 7
    assert ids.tolist() == [
        [cls, a, b, unk, sep, pad],
        [cls, c, sep, pad, pad, pad],
        [cls, a, b, c, a, sep],
    ]
    assert mask.tolist() == [[1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0], [1] * 6]
    assert ids.dtype == mask.dtype == torch.int64
    assert tokenizer.token_to_id("[MASK]") == 4


def test_no_word_of_the_world_is_unknown() -> None:
    tokenizer = build_tokenizer(vocabulary())
    ids, _ = encode(tokenizer, [" ".join(vocabulary())], max_length=60)
    assert tokenizer.token_to_id("[UNK]") not in ids


def test_pairs_have_segments() -> None:
    encoding = build_tokenizer(["a", "b"]).encode("a", "b")
    assert encoding.tokens == ["[CLS]", "a", "[SEP]", "b", "[SEP]"]
    assert encoding.type_ids == [0, 0, 0, 1, 1]


def test_saved_and_loaded(tmp_path: Path) -> None:
    tokenizer = build_tokenizer(vocabulary())
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    text = ["a red ring moves left on sand"]
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    assert torch.equal(encode(loaded, text, 12)[0], encode(tokenizer, text, 12)[0])
    with pytest.raises(ConfigError, match=r"none.json: no such tokenizer"):
        load_tokenizer(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"bad.json: not a tokenizer"):
        load_tokenizer(tmp_path / "bad.json")


def test_bad_requests() -> None:
    with pytest.raises(ConfigError, match="two words"):
        build_tokenizer(["two words"])
    with pytest.raises(ConfigError, match="max_length = 2"):
        encode(build_tokenizer(["a"]), ["a"], 2)
