"""Making the files of a world, resumably, and reading them back with their manifest."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from filelock import FileLock
from tqdm.auto import tqdm

from svitt.atomic import write_atomically
from svitt.config import from_dict, to_dict
from svitt.data.workers import serve
from svitt.data.worlds.shapes.files import (
    FileEntry,
    append_journal,
    check_file,
    clip_names,
    make_clips,
    read_journal,
    read_json,
    remove_parts,
)
from svitt.data.worlds.shapes.grammar import CaptionKind, Mover, Scene
from svitt.data.worlds.shapes.scene import SPLITS, WorldSpec, clip_parameters
from svitt.errors import AnnotationError, ConfigError

FORMAT_VERSION = 1
MANIFEST, SPEC, JOURNAL, LOCK = "manifest.json", "spec.json", "journal.jsonl", ".lock"
_CHUNK = 25  # clips a task


@dataclass(frozen=True)
class ClipEntry:
    """A clip as the manifest lists it."""

    split: str
    index: int
    video: FileEntry
    truth: FileEntry
    scene: Scene
    threshold: float
    parameters: str


def make_files(spec: WorldSpec, folder: Path, workers: int, progress: bool) -> None:
    """Makes what is missing of a world's files, then its manifest."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        with lock:
            _make_locked(spec, folder, workers, progress)
    except OSError as error:
        raise AnnotationError(
            f"{folder}: cannot make a world here: {error.strerror or error} ({error.filename}); "
            "choose a folder that you can write to, with room for it"
        ) from error


def _make_locked(spec: WorldSpec, folder: Path, workers: int, progress: bool) -> None:
    _claim(spec, folder)
    remove_parts(folder)
    if (folder / MANIFEST).exists():
        entries = {f.name: f for c in _read_manifest(folder)[2] for f in (c.video, c.truth)}
    else:
        entries = read_journal(folder / JOURNAL)
    present = {name for name in entries if (folder / name).exists()}
    for name in present:
        check_file(folder, entries[name])
    todo: dict[str, list[int]] = {}
    for split in SPLITS:
        (folder / split).mkdir(exist_ok=True)
        names = (clip_names(split, i) for i in range(spec.count(split)))
        todo[split] = [i for i, pair in enumerate(names) if not present.issuperset(pair)]
    for made in _run(spec, folder, todo, workers, progress):
        for entry in made:
            if entries.setdefault(entry.name, entry) != entry:
                raise AnnotationError(
                    f"{folder / entry.name}: made anew, it differs from the manifest (another version of the "
                    f"encoder?); make the world in another folder"
                )
        if not (folder / MANIFEST).exists():
            append_journal(folder / JOURNAL, made)
    if not (folder / MANIFEST).exists():
        write_atomically(folder / MANIFEST, _manifest(spec, entries))
    (folder / JOURNAL).unlink(missing_ok=True)


def _claim(spec: WorldSpec, folder: Path) -> None:
    """Makes sure that the folder is new or holds a world of these very parameters."""
    wanted = _spec_record(spec)
    if (folder / SPEC).exists():
        found = read_json(folder / SPEC)
        if found != wanted:
            keys = [k for k in wanted if not isinstance(found, dict) or found.get(k) != wanted[k]]
            raise AnnotationError(
                f"{folder}: holds a world of other parameters (different: {', '.join(keys)}); nothing was "
                "changed. Choose another folder, or delete this one"
            )
        return
    others = sorted(p.name for p in folder.iterdir() if p.name != LOCK)
    if others:
        raise AnnotationError(
            f"{folder}: is neither empty nor a world (it holds {', '.join(others[:3])}); "
            "choose an empty folder"
        )
    write_atomically(folder / SPEC, (json.dumps(wanted, indent=1) + "\n").encode())


def _spec_record(spec: WorldSpec) -> dict[str, Any]:
    return {"format": FORMAT_VERSION, **to_dict(spec)}


def _run(
    spec: WorldSpec, folder: Path, todo: dict[str, list[int]], workers: int, progress: bool
) -> Iterator[list[FileEntry]]:
    """Yields the files made, task by task."""
    tasks = [
        (str(folder), spec, split, chunk)
        for split, indices in todo.items()
        for chunk in (indices[i : i + _CHUNK] for i in range(0, len(indices), _CHUNK))
    ]
    total = sum(len(indices) for indices in todo.values())
    with tqdm(total=total, desc="making clips", unit="clip", disable=not (progress and tasks)) as bar:
        if workers <= 1 or len(tasks) <= 1:
            for task in tasks:
                yield make_clips(task)
                bar.update(len(task[3]))
            return
        # Spawned, not forked: safe where the parent has threads (PyTorch, a notebook).
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(tasks)), context, serve, (os.getpid(),)) as pool:
            futures = {pool.submit(make_clips, task): len(task[3]) for task in tasks}
            try:
                for future in as_completed(futures):
                    yield future.result()
                    bar.update(futures[future])
            finally:
                pool.shutdown(cancel_futures=True)


def _manifest(spec: WorldSpec, entries: dict[str, FileEntry]) -> bytes:
    """The manifest: a header and one line a clip, the same bytes whatever the order of the making."""
    lines = []
    for split in SPLITS:
        for index in range(spec.count(split)):
            parameters = clip_parameters(spec, split, index)
            scene = parameters.scene
            video, truth = (entries[name] for name in clip_names(split, index))
            clip = {
                "split": split,
                "index": index,
                "video": [video.name, video.bytes, video.sha256],
                "truth": [truth.name, truth.bytes, truth.sha256],
                "movers": [[m.colour, m.shape, m.verb] for m in scene.movers],
                "background": scene.background,
                "captions": {kind: scene.caption(kind) for kind in get_args(CaptionKind)},
                "caption_threshold": parameters.caption_threshold,
                "parameters": parameters.digest(),
            }
            lines.append(json.dumps(clip))
    head = json.dumps({"format": FORMAT_VERSION, "spec": to_dict(spec)})[:-1]
    return (head + ', "clips": [\n' + ",\n".join(lines) + "\n]}\n").encode()


def load_entries(folder: Path, full: bool, progress: bool) -> tuple[WorldSpec, str, list[ClipEntry]]:
    """Spec, manifest digest and clips of a world, its files checked. Errors: AnnotationError."""
    if not (folder / MANIFEST).exists():
        state = "its making was interrupted" if (folder / SPEC).exists() else "not a world"
        raise AnnotationError(
            f"{folder}: no {MANIFEST}: {state}; make it with `svitt world make --out {folder}` "
            "(the same parameters go on where an interrupted making stopped)"
        )
    spec, digest, clips = _read_manifest(folder)
    if read_json(folder / SPEC) != _spec_record(spec):
        raise AnnotationError(f"{folder}: {SPEC} and {MANIFEST} disagree; make the world anew elsewhere")
    listed = set()
    for clip in tqdm(clips, desc="checking clips", unit="clip", disable=not (progress and full)):
        for entry in (clip.video, clip.truth):
            check_file(folder, entry, full)
            listed.add(entry.name)
        if full:
            _check_drawn(spec, clip, folder)
    for split in SPLITS:
        for path in sorted((folder / split).glob("*.mp4")):
            if f"{split}/{path.name}" not in listed:
                raise AnnotationError(f"{path}: not in the manifest; move it out of the world's folder")
    return spec, digest, clips


def _check_drawn(spec: WorldSpec, clip: ClipEntry, folder: Path) -> None:
    """That the manifest says of a clip what its seed and number give."""
    drawn = clip_parameters(spec, clip.split, clip.index)
    name = f"{folder / MANIFEST}: clip {clip.split}/{clip.index}"
    if drawn.digest() != clip.parameters:
        raise AnnotationError(
            f"{name} was drawn from other parameters than this version of svitt draws; make the world anew "
            "in another folder"
        )
    if (drawn.scene, drawn.caption_threshold) != (clip.scene, clip.threshold):
        raise AnnotationError(
            f"{name}: its objects or its caption threshold were edited; delete the folder and make the world "
            "anew"
        )


def _read_manifest(folder: Path) -> tuple[WorldSpec, str, list[ClipEntry]]:
    path = folder / MANIFEST
    data: Any = read_json(path)
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT_VERSION:
        raise AnnotationError(
            f"{path}: format {found!r}, this version of svitt reads {FORMAT_VERSION}; make the world anew"
        )
    try:
        spec = from_dict(WorldSpec, data["spec"])
        clips = [_clip_entry(item, path) for item in data["clips"]]
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise AnnotationError(
            f"{path}: damaged ({error!r}); make the world anew in another folder"
        ) from error
    expected = [(split, i) for split in SPLITS for i in range(spec.count(split))]
    if [(c.split, c.index) for c in clips] != expected:
        raise AnnotationError(
            f"{path}: lists {len(clips)} clips, not the {len(expected)} of its own parameters, in order; "
            "make the world anew in another folder"
        )
    for clip in clips:
        if (clip.video.name, clip.truth.name) != clip_names(clip.split, clip.index):
            raise AnnotationError(f"{path}: clip {clip.split}/{clip.index} names other files; make it anew")
    return spec, hashlib.sha256(path.read_bytes()).hexdigest(), clips


def _clip_entry(item: dict[str, Any], manifest: Path) -> ClipEntry:
    scene = Scene(tuple(Mover(*m) for m in item["movers"]), item["background"])
    for kind, caption in item["captions"].items():
        if caption != scene.caption(kind):
            raise AnnotationError(
                f"{manifest}: clip {item['split']}/{item['index']}: the {kind} caption {caption!r} does not "
                f"fit its attributes ({scene.caption(kind)!r}); restore the manifest or make the world anew"
            )
    return ClipEntry(
        item["split"],
        item["index"],
        FileEntry(*item["video"]),
        FileEntry(*item["truth"]),
        scene,
        item["caption_threshold"],
        item["parameters"],
    )
