"""EgoClip: narrated clips of egocentric videos, as EgoVLP distributes them (``egoclip.csv``).

One clip a line, values parted by TAB, the first line their names. One code path for Ego4D's own file and for
worlds made here. A line that cannot be a clip is left out, and counted with its reason; what is wrong with
the file as a whole is an error. Source: Lin et al. 2022, arXiv:2206.01670.
"""

from __future__ import annotations

import ast
import functools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from svitt.errors import AnnotationError

Tags = tuple[int, ...]


class WrongRecord(Exception):
    """Why a record is left out: a reason that is counted, and what was found."""

    def __init__(self, reason: str, found: str) -> None:
        super().__init__(f"{reason}: {found}")
        self.reason = reason


@dataclass(frozen=True)
class EgoClip:
    """A narrated clip; the fields are the columns of the file. Times in seconds of the whole video.

    clip_start is 0 where the file has a negative one. tag_verb, tag_noun: numbers in the taxonomy of the
    data set (Ego4D: 118 verbs, 582 nouns); empty where none was recognised.
    """

    clip_idx: int
    video_uid: str
    video_dur: float
    narration_source: str
    narration_ind: int
    narration_time: float
    clip_start: float
    clip_end: float
    clip_text: str
    tag_verb: Tags
    tag_noun: Tags


COLUMNS = tuple(field.name for field in fields(EgoClip))


@dataclass(frozen=True)
class Skipped:
    """A record that was left out. where: line of the file, or number of the question."""

    where: str
    reason: str
    detail: str


@dataclass(frozen=True)
class EgoClips:
    """clips, in the file's order; skipped, what was left out."""

    clips: tuple[EgoClip, ...]
    skipped: tuple[Skipped, ...]

    def report(self) -> str:
        """One line: clips, videos, and what was left out for which reason."""
        videos = len({clip.video_uid for clip in self.clips})
        return f"{len(self.clips)} clips of {videos} videos; {report_of(self.skipped, 'lines')}"


def report_of(skipped: Sequence[Skipped], what: str) -> str:
    """ "3 lines left out (2 tags, 1 interval; the first: line 7: ...)"."""
    if not skipped:
        return f"no {what} left out"
    counts = ", ".join(f"{n} {reason}" for reason, n in Counter(s.reason for s in skipped).most_common())
    return f"{len(skipped)} {what} left out ({counts}; the first: {skipped[0].where}: {skipped[0].detail})"


def load_egoclip(path: str | Path) -> EgoClips:
    """The clips of an ``egoclip.csv``.

    Left out, by reason: "columns" (another number of values than columns), "number", "text" (no uid or no
    narration), "tags" (not a list of whole numbers), "interval" (ends before it starts), "duplicate" (a
    clip_idx or a whole clip that stands before), "duration" (its video had another one before: two videos
    of one uid).

    Errors: AnnotationError for a missing file, missing columns or a file without a single clip.
    """
    path = Path(path)
    if not path.is_file():
        raise AnnotationError(f"{path}: no such file; data/README.md says where annotation files come from")
    clips: list[EgoClip] = []
    skipped: list[Skipped] = []
    seen = _Seen()
    # Never split at form feeds and the like, which narrations may hold: only at the ends of lines.
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        names = file.readline().rstrip("\r\n").removeprefix("\ufeff").split("\t")
        _check_columns(path, names)
        for number, line in enumerate(file, start=2):
            try:
                clip = clip_from(_values(line, names))
                seen.check(clip)
            except WrongRecord as error:
                skipped.append(Skipped(f"line {number}", error.reason, str(error)))
            else:
                clips.append(clip)
    found = EgoClips(tuple(clips), tuple(skipped))
    if not clips:
        raise AnnotationError(f"{path}: not one clip; {found.report()}")
    return found


def clip_from(values: Mapping[str, Any]) -> EgoClip:
    """A clip from its values by name, texts or JSON types; without clip_idx and narration_ind -1."""
    start, end = _number(values, "clip_start"), _number(values, "clip_end")
    if end < start or end < 0:
        raise WrongRecord("interval", f"clip_start {start:g}, clip_end {end:g}")
    return EgoClip(
        clip_idx=int(_number(values, "clip_idx", -1)),
        video_uid=_text(values, "video_uid"),
        video_dur=_number(values, "video_dur"),
        narration_source=str(values.get("narration_source", "")),
        narration_ind=int(_number(values, "narration_ind", -1)),
        narration_time=_number(values, "narration_time"),
        clip_start=max(start, 0.0),
        clip_end=end,
        clip_text=_text(values, "clip_text"),
        tag_verb=_tags(values, "tag_verb"),
        tag_noun=_tags(values, "tag_noun"),
    )


def egoclip_bytes(clips: Iterable[EgoClip]) -> bytes:
    """Clips as an ``egoclip.csv``. Errors: AnnotationError for a text with a TAB or the end of a line."""
    lines = ["\t".join(COLUMNS)]
    for clip in clips:
        values = [str(value) for value in clip_values(clip).values()]
        if any(mark in value for value in values for mark in "\t\r\n"):
            raise AnnotationError(f"clip {clip.clip_idx}: {clip.clip_text!r} holds a TAB or an end of line")
        lines.append("\t".join(values))
    return ("\n".join(lines) + "\n").encode()


def clip_values(clip: EgoClip) -> dict[str, Any]:
    """A clip as the releases write it: tags as Python text, "[192, 115]"."""
    values = {name: getattr(clip, name) for name in COLUMNS}
    return values | {name: str(list(values[name])) for name in ("tag_verb", "tag_noun")}


class _Seen:
    """What stood before in a file."""

    def __init__(self) -> None:
        self._numbers: set[int] = set()
        self._clips: set[int] = set()  # hashes: Ego4D has millions
        self._durations: dict[str, float] = {}

    def check(self, clip: EgoClip) -> None:
        whole = (clip.video_uid, clip.narration_source, clip.clip_start, clip.clip_end, clip.clip_text)
        if clip.clip_idx in self._numbers:
            raise WrongRecord("duplicate", f"clip_idx {clip.clip_idx} stands before")
        if hash(whole) in self._clips:
            raise WrongRecord("duplicate", f"{clip.video_uid} at {clip.clip_start:g} s stands before")
        duration = self._durations.setdefault(clip.video_uid, clip.video_dur)
        if abs(duration - clip.video_dur) > 0.01:
            found = f"{clip.video_uid} lasts {clip.video_dur:g} s, before {duration:g} s"
            raise WrongRecord("duration", found)
        self._numbers.add(clip.clip_idx)
        self._clips.add(hash(whole))


def _check_columns(path: Path, names: Sequence[str]) -> None:
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        hint = "are the values parted by TAB?" if len(names) == 1 else f"it has {', '.join(names)}"
        raise AnnotationError(f"{path}: no column {', '.join(missing)}; {hint}")
    if len(set(names)) < len(names):
        raise AnnotationError(f"{path}: a column stands twice; it has {', '.join(names)}")


def _values(line: str, names: Sequence[str]) -> dict[str, str]:
    """Values by column. Quote marks part nothing (narrations hold unbalanced ones); a value that stands in
    quotes as a whole, its own doubled, was written by pandas and is freed of them."""
    values = line.rstrip("\r\n").split("\t")
    if len(values) != len(names):
        raise WrongRecord("columns", f"{len(values)} values, expected {len(names)}")
    return {name: _unquoted(value) for name, value in zip(names, values, strict=True)}


def _unquoted(value: str) -> str:
    inner = value[1:-1].replace('""', "")
    if len(value) >= 2 and value[0] == value[-1] == '"' and '"' not in inner:
        return value[1:-1].replace('""', '"')
    return value


def _number(values: Mapping[str, Any], name: str, default: float | None = None) -> float:
    value = values.get(name, default)
    try:
        number = float("nan") if isinstance(value, bool) or value is None else float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not math.isfinite(number):
        raise WrongRecord("number", f"{name} is {_short(value)}")
    return number


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str) or not value.strip():
        raise WrongRecord("text", f"{name} is {_short(value)}")
    return value


def _tags(values: Mapping[str, Any], name: str) -> Tags:
    value = values.get(name)
    found = _literal(value) if isinstance(value, str) else value
    if not isinstance(found, list | tuple) or not all(type(tag) is int and tag >= 0 for tag in found):
        raise WrongRecord("tags", f"{name} is {_short(value)}")
    return tuple(found)


@functools.lru_cache(maxsize=1 << 16)
def _literal(text: str) -> Any:
    """Python text as data; None for what is none. Never evaluated."""
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
