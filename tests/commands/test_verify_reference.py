"""``svitt verify-reference`` on files of the recorded schema, made here by a plain second implementation."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from svitt.cli import main
from tests.models.plain_release import write_reference
from tests.models.plain_text import write_reference as write_text_reference

EDGES = {"local_blocks": 1, "random_blocks": 2, "block_size": 3}
CASES: dict[str, dict[str, Any]] = {
    "dense": {},
    "one_frame": {"frames": 1, "heads": 2},
    "edges": {"edges": EDGES},
    "nodes": {"keep_rate": 0.6, "prune_layers": [0, 1]},
    "padded": {"edges": {**EDGES, "block_size": 5, "random_blocks": 1}},
    "all": {
        "edges": {**EDGES, "block_size": 4, "random_blocks": 1},
        "keep_rate": 0.7,
        "prune_layers": [0, 1],
    },
    "other_sizes": {
        "frames": 3,
        "image_size": 8,
        "dim": 20,
        "heads": 5,
        "mlp_dim": 33,
        "layers": 2,
        "batch": 1,
    },
}


def verify(*files: Path) -> int:
    return main(["verify-reference", *map(str, files)])


@pytest.mark.parametrize("case", CASES)
def test_any_sizes_of_the_schema_agree(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_reference(tmp_path / f"{case}.safetensors", seed=len(case), **CASES[case])
    assert verify(path) == 0, capsys.readouterr().out
    out = capsys.readouterr().out
    assert "DIFFERS" not in out
    assert out.count("kept_tokens") == len(CASES[case].get("prune_layers", []))


def edited(path: Path, changes: dict[str, Any], config: dict[str, Any] | None = None, drop: str = "") -> Path:
    """A copy of a reference file with other tensors or settings."""
    with safe_open(path, "pt") as file:
        settings = json.loads(file.metadata()["config"])
    tensors = {k: v for k, v in (load_file(path) | changes).items() if k != drop}
    target = path.with_name("edited.safetensors")
    save_file(tensors, target, {"config": json.dumps(settings | (config or {}))})
    return target


def test_a_difference_above_the_tolerance_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_reference(tmp_path / "case.safetensors", **CASES["all"])
    tensors = load_file(good)
    for name, change in (("output.pooler_output", 2e-5), ("output.hidden_states.1", float("nan"))):
        wrong = tensors[name].clone()
        wrong.view(-1)[0] += change
        assert verify(edited(good, {name: wrong})) == 1
        assert capsys.readouterr().out.count("DIFFERS") == 1
    index = tensors["output.kept_tokens.layer1"].clone()
    index[0, 0] += 1
    bad = edited(good, {"output.kept_tokens.layer1": index})
    assert verify(bad) == 1
    assert "1 of" in capsys.readouterr().out
    assert verify(good, bad) == 1
    weight = tensors["weights.encoder.layer.1.attention.attention.key.weight"] * 1.01
    assert verify(edited(good, {"weights.encoder.layer.1.attention.attention.key.weight": weight})) == 1
    assert verify(edited(good, {"output.more": torch.zeros(1)})) == 1


def test_the_padding_switch_follows_the_file(tmp_path: Path) -> None:
    good = write_reference(tmp_path / "case.safetensors", **CASES["padded"])
    assert verify(edited(good, {}, {"padding_per_layer": [0, 0, 0]})) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"keep_rate": 0.4, "prune_layers": [1]},
        {"keep_rate": 0.6, "prune_layers": [1, 2], "strategy": "avg_attn"},
        {"lengths": (7, 4, 1), "keep_rate": 0.5, "prune_layers": [1]},
        {"lengths": (7, 4, 1), "keep_rate": 0.5, "prune_layers": [1, 2], "strategy": "avg_attn"},
        {"layers": 2, "fusion_layer": 0, "heads": 2, "video_dim": 24},
    ],
)
def test_text_cases_agree(
    changes: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_text_reference(tmp_path / "text.safetensors", **changes)
    assert verify(path) == 0, capsys.readouterr().out
    out = capsys.readouterr().out
    assert out.count(" ok") == 3 + len(changes.get("prune_layers", []))
    name = "weights.bert.encoder.layer.1.crossattention.self.value.weight"
    damaged = edited(path, {name: load_file(path)[name] + 0.01})
    assert verify(damaged) == 1
    assert "DIFFERS" in capsys.readouterr().out


def test_unusable_text_cases_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write_text_reference(tmp_path / "text.safetensors")
    head = "weights.cls.predictions.transform.dense.weight"
    cases: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
        ({}, {"strategy": "best"}, "", "strategy = 'best'"),
        ({}, {"fusion_layer": 3}, "", "fusion_layer"),
        ({}, {}, "input.video_tokens", "input.video_tokens"),
        ({head: torch.zeros(2, 2)}, {}, "", "(2, 2), the model (24, 24)"),
    ]
    for tensors, config, drop, message in cases:
        path = edited(good, tensors, config, drop)
        assert verify(path) == 2
        error = capsys.readouterr().err
        assert "CheckpointError" in error and path.name in error and message in error


def test_unusable_files_are_named_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write_reference(tmp_path / "case.safetensors", **CASES["edges"])
    truncated = tmp_path / "truncated.safetensors"
    truncated.write_bytes(good.read_bytes()[:-100])
    bare = tmp_path / "bare.safetensors"
    save_file({"x": torch.zeros(1)}, bare)
    weight = "weights.encoder.layer.0.attention.output.dense.weight"
    cases = [
        (tmp_path / "none.safetensors", "no such file"),
        (truncated, "not a readable .safetensors"),
        (bare, "metadata key 'config'"),
        (lambda: edited(good, {}, {"dim": 13}), "width = 13"),
        (lambda: edited(good, {}, {"edges": {"block_size": 3}}), "local_blocks"),
        (lambda: edited(good, {}, drop="input.edge_blocks.layer1"), "input.edge_blocks.layer1"),
        (lambda: edited(good, {}, drop=weight), "blocks.0.attn.proj.weight"),
        (lambda: edited(good, {weight: torch.zeros(2, 2)}), "(2, 2), the model (12, 12)"),
    ]
    for make, message in cases:
        path = make if isinstance(make, Path) else make()
        assert verify(path) == 2
        error = capsys.readouterr().err
        assert "CheckpointError" in error
        assert path.name in error
        assert message in error


def test_the_recorded_files_agree() -> None:
    shared = os.environ.get("SVITT_SHARED")
    if not shared:
        pytest.skip("SVITT_SHARED is unset: it names the folder with reference/*.safetensors")
    files = sorted((Path(shared) / "reference").glob("*.safetensors"))
    assert files
    assert verify(*files) == 0
