"""Folders of models: what was saved is what is loaded; anything else is said, before memory is taken."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from svitt.errors import CheckpointError
from svitt.models.checkpoints.integrity import CONFIG, TOKENIZER, WEIGHTS
from svitt.models.checkpoints.io import load_model, save_model

CHECKPOINT = Path(__file__).parents[3] / "data" / "checkpoints" / "two_objects"
VALUES = (
    None, "x", -1, 0, 1, 2, 3, 7, 3.5, 10**9, 10**30, [], {}, [1], [3, 3, 3], True, False,
    float("nan"), float("inf"),
)  # fmt: skip


def leaves(values: dict[str, Any], where: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in values.items():
        yield (*where, name)
        if isinstance(value, dict):
            yield from leaves(value, (*where, name))


HEAD = json.loads((CHECKPOINT / CONFIG).read_text())
PLACES = [place for place in leaves(HEAD) if place[0] != "sha256"]


def put(place: tuple[str, ...], value: Any, *, delete: bool = False) -> dict[str, Any]:
    head = copy.deepcopy(HEAD)
    inner = head
    for name in place[:-1]:
        inner = inner[name]
    if delete:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return head


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CHECKPOINT, tmp_path / "model"))


@pytest.mark.parametrize("place", PLACES, ids=".".join)
def test_an_edited_configuration_is_refused(place: tuple[str, ...], folder: Path) -> None:
    """Also where the weights would still fit: a head count, a scale of positions."""
    heads = [put(place, value) for value in VALUES] + [put(place, None, delete=True)]
    for head in heads:
        if json.dumps(head, sort_keys=True) == json.dumps(HEAD, sort_keys=True):
            continue
        (folder / CONFIG).write_text(json.dumps(head))
        with pytest.raises(CheckpointError, match=str(folder)):
            load_model(folder)


@pytest.mark.parametrize("place", [p for p in PLACES if p[0] == "config" and len(p) > 1], ids=".".join)
def test_without_digests_a_configuration_that_fits_no_weights_is_refused(
    place: tuple[str, ...], folder: Path
) -> None:
    """As in folders of earlier versions: never a raw error, and no memory for what an edited number asks."""
    for value in VALUES:
        head = put(place, value)
        head.pop("sha256")
        (folder / CONFIG).write_text(json.dumps(head))
        try:
            load_model(folder)
        except CheckpointError as error:
            assert str(folder) in str(error)


@pytest.mark.parametrize("name", [WEIGHTS, TOKENIZER])
def test_one_flipped_bit_is_seen(name: str, folder: Path) -> None:
    data = bytearray((folder / name).read_bytes())
    data[-5] ^= 1
    (folder / name).write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match=f"{name} is not as it was saved"):
        load_model(folder)
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}: no such file"):
        load_model(folder)


def test_what_is_saved_is_loaded_and_what_is_changed_is_saved_anew(folder: Path, tmp_path: Path) -> None:
    saved = load_model(folder)
    again = load_model(save_model(saved.model, tmp_path / "again", saved.tokenizer, saved.card))
    assert again.card == saved.card and again.tokenizer is not None
    for name, value in saved.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value)
    with torch.no_grad():
        next(saved.model.parameters()).add_(1)
    changed = load_model(save_model(saved.model, tmp_path / "again"))
    assert torch.equal(next(changed.model.parameters()), next(saved.model.parameters()))
