"""Trained once: found again, gone on with after a kill, its whole cost added up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from svitt.errors import ConfigError
from svitt.experiments.shared.train_once import WEIGHTS, spent, train_once
from svitt.records.training import Training
from svitt.records.workspace import Workspace


def run(
    workspace: Workspace, log: list[str], *, value: float = 2.0, fail: bool = False
) -> tuple[nn.Linear, object]:
    model = nn.Linear(2, 2)

    def train(folder: Path) -> nn.Module:
        log.append("trained")
        with (folder / "log.jsonl").open("a") as file:
            file.write(json.dumps({"step": len(log), "loss": 1.0, "cpu_seconds": 5.0}) + "\n")
        if fail:
            raise KeyboardInterrupt
        with torch.no_grad():
            model.weight.fill_(value)
        return model

    return train_once("toy", {"width": 2}, 0, "cpu", workspace, code="c", steps=3, model=model, train=train)


def test_trained_once_and_found_again(tmp_path: Path) -> None:
    workspace, log = Workspace.open(tmp_path), []
    first, _ = run(workspace, log)
    again, _ = run(workspace, log, value=9.0)
    assert log == ["trained"]
    assert torch.equal(first.weight, again.weight) and float(again.weight[0, 0]) == 2.0
    assert not again.training
    assert not list((workspace.runs).rglob("*.part"))


def test_the_cost_of_interrupted_trainings_is_added(tmp_path: Path) -> None:
    workspace, log = Workspace.open(tmp_path), []
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(workspace, log, fail=True)
    _, place = run(workspace, log)
    # Two interrupted processes took five seconds each; the last one counts by its own clock.
    summary = place.summary
    assert 10.0 <= summary["cpu_seconds"] < 11.0 and summary["steps"] == 3
    assert spent(place.path) == 15.0


def test_only_what_is_worth_keeping_is_kept(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path)
    model = nn.Linear(2, 2)
    before = model.bias.detach().clone()

    def train(folder: Path) -> nn.Module:
        trained = nn.Linear(2, 2)
        with torch.no_grad():
            trained.weight.fill_(7.0)
        return trained

    found, place = train_once(
        "toy", {}, 0, "cpu", workspace, code="c", steps=1, model=model, train=train,
        kept=lambda m: {"weight": m.state_dict()["weight"]},
    )  # fmt: skip
    assert float(found.weight[0, 0]) == 7.0 and torch.equal(found.bias, before)
    assert (place.path / WEIGHTS).is_file()


def test_models_of_another_training_are_kept_apart(tmp_path: Path) -> None:
    workspace, log = Workspace.open(tmp_path), []
    captured = replace(workspace, training=Training(step="captured"))
    places = [run(w, log)[1] for w in (workspace, captured, captured)]
    assert log == ["trained", "trained"]
    assert places[0].path != places[1].path == places[2].path
    assert "training" not in places[0].key["config"]
    assert places[1].key["config"]["training"] == {"step": "captured", "stacked": [], "code": ""}


def test_a_stack_is_never_completed_by_a_model_trained_alone(tmp_path: Path) -> None:
    log: list[str] = []
    stacked = replace(Workspace.open(tmp_path), training=Training(stacked=(0, 1)))
    with pytest.raises(ConfigError, match="toy, seed 0: --stack trains no model of this kind"):
        run(stacked, log)
    assert not log
