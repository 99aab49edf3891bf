"""The manifest of a world of any kind: written from its files, read back, and checked against them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from svitt.atomic import write_atomically
from svitt.config import from_dict, require, to_dict
from svitt.data.worlds.base import AnySpec, C, Place, S, Split, World, WorldKind
from svitt.data.worlds.files import FileEntry, check_file, read_json
from svitt.errors import AnnotationError, ConfigError

MANIFEST, SPEC, JOURNAL, LOCK = "manifest.json", "spec.json", "journal.jsonl", ".lock"
FIRST_KIND = "shapes"  # its files were written before there were others and do not name it


@dataclass(frozen=True)
class _Item:
    place: Place
    facts: Mapping[str, Any]


def claim(kind: WorldKind[Any, Any], spec: AnySpec, folder: Path) -> None:
    """Makes sure that the folder is new or holds a world of these very parameters."""
    wanted = {**_head(kind), **to_dict(spec)}
    if (folder / SPEC).exists():
        found = read_json(folder / SPEC)
        if found != wanted:
            found = found if isinstance(found, dict) else {}
            keys = [k for k in dict.fromkeys([*wanted, *found]) if found.get(k) != wanted.get(k)]
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


def kind_name(folder: Path) -> str:
    """The name of the kind of the world in a folder. Errors: AnnotationError where there is none."""
    if not (folder / SPEC).exists():
        raise AnnotationError(_not_made(folder))
    found = read_json(folder / SPEC)
    name = found.get("kind", FIRST_KIND) if isinstance(found, dict) else None
    if not isinstance(name, str):
        raise AnnotationError(f"{folder / SPEC}: damaged; make the world anew in another folder")
    return name


def manifest_bytes(
    kind: WorldKind[Any, Any], spec: AnySpec, folder: Path, entries: Mapping[str, FileEntry]
) -> bytes:
    """The manifest: a header and one line an item, the same bytes whatever the order of the making."""
    lines = []
    for split in kind.splits:
        for index in range(spec.count(split)):
            files = {role: entries[name] for role, name in kind.names(split, index).items()}
            described = {role: [file.name, file.bytes, file.sha256] for role, file in files.items()}
            facts = kind.facts(spec, Place(folder, split, index, files))
            lines.append(json.dumps({"split": split, "index": index, **described, **facts}))
    head = json.dumps({**_head(kind), "spec": to_dict(spec)})[:-1]
    return (head + ', "clips": [\n' + ",\n".join(lines) + "\n]}\n").encode()


def _head(kind: WorldKind[Any, Any]) -> dict[str, Any]:
    named = {} if kind.name == FIRST_KIND else {"kind": kind.name}
    return {"format": kind.format, **named}


def load(kind: WorldKind[S, C], path: str | Path, check: str = "full", progress: bool = False) -> World[S, C]:
    """Reads a world and verifies that its manifest and files agree.

    check: "full": every file is there with its recorded SHA-256, no other clip is, and what is drawn and
    said of each is made anew and compared; "size": only the sizes of files.

    Errors: AnnotationError naming the first file or entry that disagrees and the way out.
    """
    require(check in ("size", "full"), "check", check, "size, full")
    folder, full = Path(path), check == "full"
    if not (folder / MANIFEST).exists():
        raise AnnotationError(_not_made(folder))
    spec, items = _read(kind, folder)
    if read_json(folder / SPEC) != {**_head(kind), **to_dict(spec)}:
        raise AnnotationError(f"{folder}: {SPEC} and {MANIFEST} disagree; make the world anew elsewhere")
    listed = set()
    records: dict[str, list[C]] = {split: [] for split in kind.splits}
    for item in tqdm(items, desc="checking clips", unit="clip", disable=not (progress and full)):
        clips = _clips(kind, spec, item)
        for entry in item.place.files.values():
            check_file(folder, entry, full)
            listed.add(entry.name)
        if full:
            _check_facts(kind, spec, item)
        records[item.place.split] += clips
    for split in kind.splits:
        for video in sorted((folder / split).glob("*.mp4")):
            if f"{split}/{video.name}" not in listed:
                raise AnnotationError(f"{video}: not in the manifest; move it out of the world's folder")
    digest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    world = World(folder, spec, digest, {name: Split(name, clips) for name, clips in records.items()})
    kind.verify(world)
    return world


def listed_files(kind: WorldKind[Any, Any], folder: Path) -> dict[str, FileEntry]:
    """Every file that the manifest lists, by name. Errors: AnnotationError for a damaged manifest."""
    return {file.name: file for item in _read(kind, folder)[1] for file in item.place.files.values()}


def _not_made(folder: Path) -> str:
    state = "its making was interrupted" if (folder / SPEC).exists() else "not a world"
    return (
        f"{folder}: no {MANIFEST}: {state}; make it with `svitt world make --out {folder}` "
        "(the same parameters go on where an interrupted making stopped)"
    )


def _check_facts(kind: WorldKind[S, C], spec: S, item: _Item) -> None:
    """That the manifest says of an item what its seed, number and files give."""
    anew = kind.facts(spec, item.place)
    different = [k for k in dict.fromkeys([*anew, *item.facts]) if anew.get(k) != item.facts.get(k)]
    name = f"{item.place.folder / MANIFEST}: clip {item.place.name}"
    if "parameters" in different:
        raise AnnotationError(
            f"{name} was drawn from other parameters than this version of svitt draws; make the world anew "
            "in another folder"
        )
    if different:
        raise AnnotationError(
            f"{name}: edited ({', '.join(different)}); delete the folder and make the world anew"
        )


def _clips(kind: WorldKind[S, C], spec: S, item: _Item) -> list[C]:
    try:
        return list(kind.clips(spec, item.place, item.facts))
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise AnnotationError(
            f"{item.place.folder / MANIFEST}: clip {item.place.name}: damaged ({error!r}); make the world "
            "anew in another folder"
        ) from error


def _read(kind: WorldKind[S, C], folder: Path) -> tuple[S, list[_Item]]:
    path = folder / MANIFEST
    data: Any = read_json(path)
    found = data if isinstance(data, dict) else {}
    head = _head(kind)
    if found.get("kind") != head.get("kind"):
        raise AnnotationError(f"{path}: a world of another kind ({found.get('kind')}), not {kind.name}")
    if found.get("format") != kind.format:
        raise AnnotationError(
            f"{path}: format {found.get('format')!r}, this version of svitt reads {kind.format}; "
            "make the world anew"
        )
    try:
        spec = from_dict(kind.spec, data["spec"])
        items = [_item(kind, folder, line) for line in data["clips"]]
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise AnnotationError(
            f"{path}: damaged ({error!r}); make the world anew in another folder"
        ) from error
    expected = [(split, i) for split in kind.splits for i in range(spec.count(split))]
    if [(item.place.split, item.place.index) for item in items] != expected:
        raise AnnotationError(
            f"{path}: lists {len(items)} clips, not the {len(expected)} of its own parameters, in order; "
            "make the world anew in another folder"
        )
    for item in items:
        named = {role: file.name for role, file in item.place.files.items()}
        if named != kind.names(item.place.split, item.place.index):
            raise AnnotationError(f"{path}: clip {item.place.name} names other files; make it anew")
    return spec, items


def _item(kind: WorldKind[S, C], folder: Path, line: Mapping[str, Any]) -> _Item:
    split, index = line["split"], line["index"]
    roles = kind.names(split, index)
    files = {role: FileEntry(*line[role]) for role in roles}
    facts = {key: value for key, value in line.items() if key not in {"split", "index", *roles}}
    return _Item(Place(folder, split, index, files), facts)
