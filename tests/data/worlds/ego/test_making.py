"""Making an egocentric world: the same files however it is made, showing what the game says they show."""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from svitt import cli
from svitt.data.video.decode import probe, read_clip
from svitt.data.worlds.ego import world as ego_world
from svitt.data.worlds.ego.grammar import NOUNS, VERBS
from svitt.data.worlds.ego.spec import CHUNKS, EgoSpec
from svitt.data.worlds.ego.truth import DOOR, HAND, SHAPE_OF, encode_truth, read_truth, view_cell
from svitt.data.worlds.ego.world import World, load_world, make_world
from svitt.errors import AnnotationError, ConfigError
from tests.data.worlds.shapes.test_world import contents

SPEC = EgoSpec(seed=4, num_train=3, num_validation=1, num_test=2)
needs_minigrid = pytest.mark.skipif(
    importlib.util.find_spec("minigrid") is None, reason="making a world needs minigrid (extra worlds)"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    pytest.importorskip("minigrid")
    return make_world(SPEC, tmp_path_factory.mktemp("ego") / "w", workers=1, progress=False)


def test_the_same_files_in_parallel_and_from_a_larger_world(
    made: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ego_world, "EGO", dataclasses.replace(ego_world.EGO, chunk=2))
    larger = dataclasses.replace(SPEC, num_train=4)
    world = make_world(larger, tmp_path / "larger", workers=2, progress=False)
    ours, theirs = contents(made.folder), contents(world.folder)
    files = [name for name in ours if name.endswith((".mp4", ".npz"))]
    assert len(files) == 6 * (CHUNKS + 1)
    assert all(ours[name] == theirs[name] for name in files)
    assert ours["test/egomcq.json"] == theirs["test/egomcq.json"]
    again = make_world(SPEC, tmp_path / "again", workers=1, progress=False)
    assert contents(again.folder) == ours and again.digest == made.digest


def test_an_interrupted_making_goes_on_where_it_stopped(
    made: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, calls = ego_world.EGO, []

    def stop_at_second(task):  # type: ignore[no-untyped-def]
        if calls:
            raise KeyboardInterrupt
        calls.append(task.indices)
        return kind.make(task)

    monkeypatch.setattr(ego_world, "EGO", dataclasses.replace(kind, make=stop_at_second, chunk=1))
    with pytest.raises(KeyboardInterrupt):
        make_world(SPEC, tmp_path / "w", workers=1, progress=False)
    (tmp_path / "w" / "train" / "train-00001" / "0.mp4").parent.mkdir()
    (tmp_path / "w" / "train" / "train-00001" / ".0.mp4.1.part").write_bytes(b"half")
    resumed: list[tuple[str, list[int]]] = []

    def note(task):  # type: ignore[no-untyped-def]
        resumed.append((task.split, task.indices))
        return kind.make(task)

    monkeypatch.setattr(ego_world, "EGO", dataclasses.replace(kind, make=note, chunk=1))
    world = make_world(SPEC, tmp_path / "w", workers=1, progress=False)
    assert resumed == [("train", [1]), ("train", [2]), ("validation", [0]), ("test", [0]), ("test", [1])]
    assert contents(world.folder) == contents(made.folder)


def test_only_what_is_missing_is_made_again(made: World, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made.folder, tmp_path / "copy"))
    (folder / "test/test-00001/2.mp4").unlink()
    (folder / "test/egomcq.json").unlink()
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*.mp4")}
    assert contents(make_world(SPEC, folder, workers=1, progress=False).folder) == contents(made.folder)
    assert all(p.stat().st_mtime_ns == time for p, time in before.items())
    (folder / "test/egomcq.json").write_text("{}")
    with pytest.raises(AnnotationError, match=r"egomcq.json: exists with other content"):
        make_world(SPEC, folder, workers=1, progress=False)


def test_chunks_are_the_frames_that_the_game_draws(made: World) -> None:
    """The frames are drawn from the recorded views; the game draws its own at every step."""
    from svitt.data.worlds.ego.episode import draw_frames, run_episode
    from svitt.data.worlds.ego.house import House, Resident

    record = made.split("test")[0]
    truth = record.truth()
    frames = draw_frames(truth.views, SPEC.tile)
    step = SPEC.chunk_seconds * SPEC.fps
    for number in range(CHUNKS):
        path = made.folder / "test" / record.clip.video_uid / f"{number}.mp4"
        shown = frames[number * step : (number + 1) * step]
        info = probe(path)
        assert (info.num_frames, info.fps, info.height, info.width) == (len(shown), 5.0, 56, 56)
        assert np.abs(read_clip(path, range(len(shown))).astype(int) - shown).mean() < 6

    house = House(np.random.default_rng(3))
    house.draw.integers(1)  # the length that ``episode`` draws first
    twin = np.random.default_rng(3)
    twin.integers(1)
    truth = run_episode(twin, 60)
    house.reset(seed=int(house.draw.integers(2**31)))
    resident = Resident(house)
    for t in range(60):
        assert np.array_equal(draw_frames(truth.views[t : t + 1], 8)[0], house.get_pov_render(8))
        x, y = (int(at) for at in house.agent_pos)
        for dx, dy in ((0, 0), (1, 2), (-3, 1), (0, -4), (2, -6), (6, 0)):
            column, row = house.get_view_coords(x + dx, y + dy)
            inside = 0 <= row < 7 and 0 <= column < 7
            assert view_cell(truth.agent[t], (x + dx, y + dy)) == ((row, column) if inside else None)
        house.step(resident.next_action())


def test_moments_are_seen_in_the_views(made: World) -> None:
    """Every moment against what the frames before and after it show, in MiniGrid's own numbers."""
    changes = {"open": (1, 0), "close": (0, 1), "unlock": (2, 0)}
    for record in made:
        truth, moment = record.truth(), record.moment
        verb, noun = VERBS[moment.action.verb], NOUNS[moment.action.noun]
        before, after = truth.views[moment.frame - 1], truth.views[moment.frame]
        front = (HAND[0] - 1, HAND[1])
        if verb in changes:
            assert (before[front][0], after[front][0]) == (DOOR, DOOR)
            assert (before[front][2], after[front][2]) == changes[verb]
        elif verb in ("pick up", "put down"):
            at = (before, after) if verb == "pick up" else (after, before)
            shape, colour, _ = at[0][front]
            assert SHAPE_OF[int(shape)] == noun.split()[1]
            assert tuple(at[1][HAND][:2]) == (shape, colour)
        else:
            door = truth.doors[moment.door]
            assert truth.agent[moment.frame - 1][:2].tolist() == door[:2].tolist()


@needs_minigrid
def test_no_verb_is_rare() -> None:
    """Every verb has between half of an equal share and twice of it: not so in BabyAI's own levels."""
    from svitt.data.worlds.ego.episode import episode

    spec = EgoSpec(seed=5)
    verbs = Counter(
        VERBS[moment.action.verb] for index in range(24) for moment in episode(spec, "train", index).moments
    )
    total = sum(verbs.values())
    assert {verb: n / total for verb, n in verbs.items() if not 1 / 12 <= n / total <= 1 / 3} == {}
    assert len(verbs) == 6


@needs_minigrid
def test_the_sample_is_what_its_seed_gives(sample: World) -> None:
    from svitt.data.worlds.ego.episode import episode

    videos = {(record.split, record.index): record for record in sample}
    assert len(videos) == 10
    for (split, index), record in videos.items():
        drawn = episode(sample.spec, split, index)
        assert read_truth(record.truth_path).moments == drawn.moments
        assert encode_truth(record.truth()) == encode_truth(drawn)


@needs_minigrid
def test_other_hash_seeds_give_the_same_episode() -> None:
    program = (
        "import hashlib; from svitt.data.worlds.ego.episode import episode;"
        "from svitt.data.worlds.ego.spec import EgoSpec;"
        "print(hashlib.sha256(episode(EgoSpec(seed=4), 'test', 1).views.tobytes()).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_the_command(made: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--clips", "3", "--validation", "1", "--test", "2", "--seed", "4", "--workers", "1"]
    assert cli.main(["world", "make", "--kind", "ego", "--out", str(tmp_path / "w"), *options]) == 0
    assert f"manifest {made.digest[:12]}" in capsys.readouterr().out
    assert cli.main(["world", "check", "--dir", str(tmp_path / "w")]) == 0
    assert "are as the manifest says" in capsys.readouterr().out
    wrong = ["world", "make", "--kind", "ego", "--out", str(tmp_path / "x"), "--movers", "2"]
    assert cli.main(wrong) != 0
    assert "a ego world has no such option" in capsys.readouterr().err


def test_without_minigrid_there_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "minigrid" else find(name))
    with pytest.raises(AnnotationError, match=r"made with minigrid, which is not installed; .*samples/ego"):
        make_world(SPEC, tmp_path / "w", workers=1, progress=False)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tile", 7),
        ("min_frames", 80),
        ("min_frames", 121),
        ("min_moments", 21),
        ("clip_scale", 0.0),
        ("fps", 0),
    ],
)
def test_parameters_out_of_range(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{field} = {value}"):
        EgoSpec(**{field: value})  # type: ignore[arg-type]


@needs_minigrid
def test_moments_that_no_episode_has(monkeypatch: pytest.MonkeyPatch) -> None:
    from svitt.data.worlds.ego import episode as module

    monkeypatch.setattr(module, "_ATTEMPTS", 5)
    spec = EgoSpec(min_frames=17, chunk_seconds=1, fps=8, min_moments=20)
    with pytest.raises(AnnotationError, match=r"video train/0: none of 5 episodes has 20 to 20 moments"):
        module.episode(spec, "train", 0)


def test_two_videos_that_show_the_same(made: World) -> None:
    first = made.split("train")[0]
    twin = dataclasses.replace(made.split("test")[0], parameters=first.parameters)
    splits = {**made.splits, "test": type(made.split("test"))("test", [twin])}
    with pytest.raises(AnnotationError, match="train-00000 and test-00000 show the same"):
        ego_world.EGO.verify(dataclasses.replace(made, splits=splits))


def test_a_manifest_that_was_edited(made: World, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made.folder, tmp_path / "copy"))
    manifest = folder / "manifest.json"
    text = made.split("train")[0].clip.clip_text
    sound = manifest.read_text()
    manifest.write_text(sound.replace(text, "#C C sleeps", 1))
    with pytest.raises(AnnotationError, match=r"train/0: edited \(moments\)"):
        load_world(folder)
    manifest.write_text(sound.replace('"pick up"', '"steal"', 1))
    with pytest.raises(AnnotationError, match="damaged"):
        load_world(folder)
