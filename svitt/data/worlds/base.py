"""What all kinds of made worlds share: a kind, its worlds, their splits and clips.

A kind says what its clips are and how they are made; ``making.py`` and ``manifest.py`` do the rest for every
kind alike: the lock, the journal, workers, resuming, the manifest and its checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, overload

from svitt.config import require
from svitt.data.worlds.files import FileEntry


class AnySpec(Protocol):
    """What the parameters of every world have: a frozen dataclass that ``from_dict`` can read.

    size: frame side in pixels; num_frames a clip, at fps; count(split): items that a split has.
    """

    @property
    def seed(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def num_frames(self) -> int: ...
    @property
    def fps(self) -> int: ...
    def count(self, split: str) -> int: ...


class AnyClip(Protocol):
    """What a clip of every world has: its place, its file, what can be said of it."""

    @property
    def split(self) -> str: ...
    @property
    def index(self) -> int: ...
    @property
    def path(self) -> Path: ...
    def caption_at(self, dial: float) -> str: ...


S = TypeVar("S", bound=AnySpec)
C = TypeVar("C", bound=AnyClip)


class Split(Sequence[C]):
    """The clips of one split, in order; a slice is a list."""

    def __init__(self, name: str, records: Sequence[C]) -> None:
        self.name = name
        self._records = list(records)

    @overload
    def __getitem__(self, index: int) -> C: ...
    @overload
    def __getitem__(self, index: slice) -> list[C]: ...
    def __getitem__(self, index: int | slice) -> C | list[C]:
        return self._records[index]

    def __len__(self) -> int:
        return len(self._records)

    def captions(self, dial: float) -> list[str]:
        """One caption a clip, at a dial from 0 (static) to 1 (temporal)."""
        return [record.caption_at(dial) for record in self._records]


@dataclass(frozen=True)
class World(Generic[S, C]):
    """A made world. digest: SHA-256 of its manifest, which lists the SHA-256 of every file."""

    folder: Path
    spec: S
    digest: str
    splits: dict[str, Split[C]]

    def split(self, name: str) -> Split[C]:
        """One of the kind's splits. Errors: ConfigError for another name."""
        require(name in self.splits, "split", name, ", ".join(self.splits))
        return self.splits[name]

    def __iter__(self) -> Iterator[C]:
        for split in self.splits.values():
            yield from split


class Task(NamedTuple):
    """Items that one process makes in one go. folder: the world's."""

    folder: str
    spec: Any
    split: str
    indices: list[int]


@dataclass(frozen=True)
class Place:
    """Where an item stands: the world's folder, its split, its number, its files by role."""

    folder: Path
    split: str
    index: int
    files: Mapping[str, FileEntry]

    def path(self, role: str) -> Path:
        """The file of a role."""
        return self.folder / self.files[role].name

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.split}/{self.index}"


@dataclass(frozen=True)
class Option:
    """An option of ``svitt world make``: --flag sets a field of the spec, of the type of its default."""

    flag: str
    field: str
    help: str


def _nothing_to_set() -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class WorldKind(Generic[S, C]):
    """A kind of world: what ``making`` and ``manifest`` need to know of it. An *item* is what is made at one
    go and has one line in the manifest: usually a clip, with its files.

    name: as in ``--kind``. spec: its parameters. splits: their names, training first; the others have
    clips // shares[split] items by default on the command line. options: more of the command line.

    names(split, index): an item's files relative to the world's folder, by role; all have the same roles.
    make(task): makes the files of some items, a pure function of spec, split and index; runs in a worker
    process, so it is a function of a module.
    facts(spec, place): what else the manifest says of an item, JSON types: drawn from the spec, or read from
    the item's files. Made anew and compared when a world is checked in full; "parameters" is the digest of
    all that is drawn.
    clips(spec, place, facts): the item's clips as records. Errors: AnnotationError for facts that do not fit.
    verify(world): raises AnnotationError where splits share what they must not.
    environment(): variables that the workers need, or the one clear error why this machine cannot make it.

    format: of spec and manifest; another one is refused. chunk: items a task.
    in_process: whether a single worker may be this process; otherwise all tasks run in workers.
    """

    name: str
    spec: type[S]
    splits: tuple[str, ...]
    names: Callable[[str, int], dict[str, str]]
    make: Callable[[Task], list[FileEntry]]
    facts: Callable[[S, Place], dict[str, Any]]
    clips: Callable[[S, Place, Mapping[str, Any]], Sequence[C]]
    verify: Callable[[World[S, C]], None]
    shares: Mapping[str, int]
    options: tuple[Option, ...] = ()
    environment: Callable[[], dict[str, str]] = _nothing_to_set
    format: int = 1
    chunk: int = 25
    in_process: bool = True
