"""The run store, the workspace and ``svitt runs``."""

import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from svitt.cli import main
from svitt.errors import ConfigError, RecordError
from svitt.records.code_hash import code_hash
from svitt.records.run_store import RunStore
from svitt.records.workspace import Workspace, project_root

CONFIG = {"width": 8, "layers": (1, 2), "optimiser": {"rate": 0.1}}


def test_same_content_same_folder_and_each_part_counts(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    path = store.open("train", CONFIG, 0, "c").path
    assert path.name.startswith("train-")
    assert len(path.name) == len("train-") + 12
    assert store.open("train", {**CONFIG, "layers": [1, 2]}, 0, "c").path == path
    assert store.open("train", dict(reversed(CONFIG.items())), 0, "c").path == path
    others = {
        store.open("tune", CONFIG, 0, "c").path,
        store.open("train", {**CONFIG, "width": 9}, 0, "c").path,
        store.open("train", CONFIG, 1, "c").path,
        store.open("train", CONFIG, 0, "d").path,
    }
    assert len(others | {path}) == 5


def test_finished_run_keeps_its_summary_and_is_not_finished_twice(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    with store.open("train", CONFIG, 3, "c") as run:
        assert not run.finished
        with pytest.raises(RecordError, match="not finished"):
            _ = run.summary
        run.finish({"loss": 0.5})
    config = json.loads((run.path / "config.json").read_text())
    assert config == {
        "kind": "train",
        "config": {"width": 8, "layers": [1, 2], "optimiser": {"rate": 0.1}},
        "seed": 3,
        "code": "c",
        "threads": torch.get_num_threads(),
    }
    with store.open("train", CONFIG, 3, "c") as again:
        assert again.finished
        assert again.summary == {"loss": 0.5}
        with pytest.raises(RecordError, match="unfinished run"):
            again.finish({"loss": 0.4})


def test_exception_leaves_the_run_unfinished_and_unlocked(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    with pytest.raises(ZeroDivisionError), store.open("train", CONFIG, 0, "c") as run:
        (run.path / "checkpoint").write_text("step 3")
        assert run.running
        _ = 1 / 0
    assert not run.running
    with store.open("train", CONFIG, 0, "c") as again:
        assert not again.finished
        assert (again.path / "checkpoint").read_text() == "step 3"


def train(root: Path, barrier: Any, trained: Any) -> None:
    barrier.wait()
    with RunStore(root).open("train", {}, 0, "c") as run:
        if not run.finished:
            with trained.get_lock():
                trained.value += 1
            time.sleep(0.3)
            run.finish({"value": 1})
        assert run.summary == {"value": 1}


def test_two_processes_train_a_run_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, trained = context.Barrier(2), context.Value("i", 0)
    processes = [context.Process(target=train, args=(tmp_path, barrier, trained)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
    assert [process.exitcode for process in processes] == [0, 0]
    assert trained.value == 1


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"a": {"b": object()}}, r"config\.a\.b"),
        ({"a": [1.0, float("nan")]}, r"config\.a\[1\]"),
        ({"a": {1: 2}}, r"config\.a: key 1"),
    ],
)
def test_config_that_is_not_plain_data_is_refused(tmp_path: Path, config: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        RunStore(tmp_path).open("train", config, 0, "c")


def test_bad_kind_and_seed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="kind = 'a/b'"):
        RunStore(tmp_path).open("a/b", {}, 0, "c")
    with pytest.raises(ConfigError, match="seed = -1"):
        RunStore(tmp_path).open("train", {}, -1, "c")


def test_edited_or_damaged_files_are_refused(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    with store.open("train", CONFIG, 0, "c") as run:
        run.finish({})
    (run.path / "summary.json").write_text("{")
    with pytest.raises(RecordError, match=r"summary\.json is damaged"):
        _ = run.summary
    text = (run.path / "config.json").read_text()
    (run.path / "config.json").write_text(text.replace('"width": 8', '"width": 9'))
    with pytest.raises(RecordError, match="was edited"), store.open("train", CONFIG, 0, "c"):
        pass


def test_command_lists_shows_and_cleans(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = RunStore(Workspace.open(tmp_path).runs)
    current = code_hash("svitt.experiments.shared.tiny_models:trained_dual_encoder").hash
    with store.open("current", CONFIG, 0, current) as kept:
        kept.finish({"loss": 0.5})
    with store.open("old", CONFIG, 0, "0" * 16) as stale:
        stale.finish({"loss": 0.6})
    with store.open("half", CONFIG, 0, current) as half:
        pass
    out = ["--out", str(tmp_path)]

    assert main(["runs", "list", *out]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "finished" in lines[kept.path.name]
    assert "stale" not in lines[kept.path.name]
    assert "finished, stale" in lines[stale.path.name]
    assert "unfinished" in lines[half.path.name]

    assert main(["runs", "show", "current", *out]) == 0
    shown = capsys.readouterr().out
    assert '"rate": 0.1' in shown
    assert '"loss": 0.5' in shown
    assert main(["runs", "show", "absent", *out]) == 2
    assert "'absent'" in capsys.readouterr().err

    assert main(["runs", "clean", "--stale", *out]) == 0
    assert stale.path.exists(), "without --yes nothing is deleted"
    assert main(["runs", "clean", "--stale", "--yes", *out]) == 0
    assert [run.path for run in store.list()] == [kept.path, half.path]
    assert main(["runs", "clean", "--unfinished", "--yes", *out]) == 0
    assert [run.path for run in store.list()] == [kept.path]
    assert main(["runs", "clean", "--all", "--yes", *out]) == 0
    assert list(store.list()) == []


def test_clean_leaves_a_running_run_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = RunStore(Workspace.open(tmp_path).runs)
    with store.open("train", CONFIG, 0, "c") as run:
        assert main(["runs", "clean", "--all", "--yes", "--out", str(tmp_path)]) == 2
        assert run.path.name in capsys.readouterr().err
        assert run.path.exists()


def test_workspace_of_a_folder_and_of_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = Workspace.open(tmp_path / "new" / "out")
    assert places.results == tmp_path / "new" / "out" / "results"
    assert places.runs.is_dir()
    checkout = tmp_path / "checkout"
    (checkout / "book").mkdir(parents=True)
    (checkout / "pyproject.toml").write_text('[project]\nname = "svitt"\n')
    monkeypatch.chdir(checkout / "book")
    assert project_root() == checkout
    assert Workspace.open() == Workspace(
        checkout / "runs", checkout / "worlds", checkout / "data" / "results"
    )


def test_unwritable_workspace_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    with pytest.raises(ConfigError, match=r"out_dir = .*file.*--out DIR"):
        Workspace.open(file)
    assert file.read_text() == "kept"
    with pytest.raises(ConfigError, match="cannot write to /proc/none"):
        Workspace.open("/proc/none")


def test_weights_of_a_finished_run_are_verified_when_it_is_opened(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    with store.open("train", CONFIG, 0, "c") as run:
        (run.path / "model.safetensors").write_bytes(b"weights")
        run.finish({"loss": 0.5})
    with store.open("train", CONFIG, 0, "c") as found:
        assert found.finished
    (run.path / "model.safetensors").write_bytes(b"weightz")
    with (
        pytest.raises(RecordError, match="its weights are not those it was finished with"),
        store.open("train", CONFIG, 0, "c"),
    ):
        pass
    (run.path / "model.safetensors").write_bytes(b"weights")
    (run.path / "digests.json").unlink()
    with pytest.raises(RecordError, match="not those"), store.open("train", CONFIG, 0, "c"):
        pass
