"""Worlds of every kind behind one interface; those made before there were kinds are read as they are."""

from __future__ import annotations

import dataclasses
import inspect
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from svitt.data.worlds import manifest, registry
from svitt.data.worlds.base import Task
from svitt.data.worlds.files import FileEntry
from svitt.data.worlds.shapes.world import SHAPES, WorldSpec
from svitt.errors import AnnotationError, ConfigError

TINY = {"seed": 5, "num_train": 1, "num_validation": 0, "num_test": 0, "num_heldout": 0}
# Written by the code before there were kinds.
OLD_SPEC = """{
 "format": 1,
 "seed": 5,
 "num_train": 1,
 "num_validation": 0,
 "num_test": 0,
 "num_heldout": 0,
 "size": 64,
 "num_frames": 16,
 "fps": 8,
 "num_movers": 1,
 "clutter": 2,
 "object_size": 0.28
}
"""
OLD_MANIFEST = (
    '{"format": 1, "spec": {"seed": 5, "num_train": 1, "num_validation": 0, "num_test": 0, "num_heldout": 0, '
    '"size": 64, "num_frames": 16, "fps": 8, "num_movers": 1, "clutter": 2, "object_size": 0.28}, '
    '"clips": [\n'
    '{"split": "train", "index": 0, "video": ["train/00000.mp4", 12, "aa"], '
    '"truth": ["train/00000.npz", 34, "bb"], @FACTS@}\n]}\n'
)


@pytest.mark.parametrize("name", registry.kinds())
def test_every_kind_has_what_the_interface_asks(name: str) -> None:
    kind = registry.kind_of(name)
    spec = registry.spec_for(name)
    assert kind.name == name and isinstance(spec, kind.spec)
    defaults = {field.name for field in dataclasses.fields(kind.spec)}
    assert {"seed", "fps", *(f"num_{split}" for split in kind.splits)} <= defaults
    assert spec.size % 2 == 0 and spec.num_frames > 1
    assert {option.field for option in kind.options} <= defaults
    assert set(kind.shares) <= set(kind.splits[1:])
    assert kind.names("train", 3).keys() == kind.names(kind.splits[-1], 0).keys()
    assert inspect.unwrap(pickle.loads(pickle.dumps(kind.make))) is kind.make
    assert pickle.loads(pickle.dumps(Task("w", spec, "train", [1]))).spec == spec
    assert sorted(kind.order(spec, "train", [3, 1, 2])) == [1, 2, 3]
    with pytest.raises(ConfigError, match="num_train = -1"):
        registry.spec_for(name, num_train=-1)


def test_worlds_made_before_there_were_kinds_have_the_same_bytes(tmp_path: Path) -> None:
    spec = WorldSpec(**TINY)
    manifest.claim(SHAPES, spec, tmp_path)
    assert (tmp_path / "spec.json").read_text() == OLD_SPEC
    files = [FileEntry("train/00000.mp4", 12, "aa"), FileEntry("train/00000.npz", 34, "bb")]
    written = manifest.manifest_bytes(SHAPES, spec, tmp_path, {file.name: file for file in files}).decode()
    line: dict[str, Any] = json.loads(written)["clips"][0]
    facts = {k: v for k, v in line.items() if k not in ("split", "index", "video", "truth")}
    keys = ["movers", "background", "captions", "caption_threshold", "parameters"]
    assert list(facts) == keys
    assert written == OLD_MANIFEST.replace("@FACTS@", json.dumps(facts)[1:-1])
    assert manifest.kind_name(tmp_path) == "shapes"


def test_a_folder_says_its_kind(tmp_path: Path) -> None:
    world = registry.make_world(registry.spec_for("shapes", **TINY), tmp_path / "w", 1, progress=False)
    assert registry.load_world(tmp_path / "w").digest == world.digest
    robot = registry.spec_for("robot", seed=5)
    with pytest.raises(AnnotationError, match=r"other parameters \(different: kind, "):
        registry.make_world(robot, tmp_path / "w", progress=False)
    spec = tmp_path / "w/spec.json"
    written = spec.read_text()
    for kind, named in (
        ("robots", "did you mean 'robot'"),
        ("robot", "manifest.json: a world of another kind"),
    ):
        spec.write_text(json.dumps({**json.loads(written), "kind": kind}))
        with pytest.raises((AnnotationError, ConfigError), match=named):
            registry.load_world(tmp_path / "w")
    spec.write_text('{"kind": 3}')
    with pytest.raises(AnnotationError, match=r"spec.json: damaged"):
        registry.load_world(tmp_path / "w")
    with pytest.raises(AnnotationError, match="not a world"):
        registry.load_world(tmp_path / "none")


def test_what_is_no_spec_or_no_kind(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no spec of a world"):
        registry.make_world(7, tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"kind = 'shape'.*did you mean 'shapes'"):
        registry.spec_for("shape")
    with pytest.raises(ConfigError, match="unknown key 'clips'"):
        registry.spec_for("robot", clips=3)
