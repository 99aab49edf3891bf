"""Files of a made world: how clips are coded, and what is recorded about every file."""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import av
import numpy as np
import numpy.typing as npt

from svitt.atomic import write_atomically
from svitt.errors import AnnotationError

Frames = npt.NDArray[np.uint8]

# Every frame is coded alone, at one quantiser. Predicted frames carry traces of the frames before
# them, from which a model that never sees the order of frames could still read the direction of time;
# with these settings the reversed clip decodes to exactly the reversed frames.
_X264 = {"g": "1", "qp": "26", "preset": "veryfast"}


@dataclass(frozen=True)
class FileEntry:
    """name: relative to the world's folder; bytes: size; sha256: of the content."""

    name: str
    bytes: int
    sha256: str


def encode_mp4(frames: Frames, fps: int) -> bytes:
    """H.264 in MP4; frames (T, H, W, 3) uint8, even H and W. One thread: the bytes are reproducible."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options=_X264)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def write_new(path: Path, content: bytes) -> None:
    """Writes through a temporary name, so that no reader sees half a file.

    A file that is there already with this content is left alone; one with other content is never
    replaced. Errors: AnnotationError.
    """
    if path.exists():
        if path.read_bytes() == content:
            return
        raise AnnotationError(
            f"{path}: exists with other content than this world's; it was left as it is. "
            "Delete it, or make the world in another folder"
        )
    write_atomically(path, content)


def add_file(folder: Path, name: str, content: bytes) -> FileEntry:
    """Writes one file of a world (``write_new``) and returns what the manifest says of it."""
    write_new(folder / name, content)
    return FileEntry(name, len(content), hashlib.sha256(content).hexdigest())


def remove_parts(folder: Path) -> None:
    """Deletes what killed processes left half written; only under the folder's lock."""
    for part in folder.rglob(".*.part"):
        part.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_file(folder: Path, entry: FileEntry, full: bool = False) -> None:
    """Whether a file is as recorded: there, of its size and (``full``) of its content.

    Errors: AnnotationError naming the file and the way out.
    """
    path = folder / entry.name
    way_out = "delete it and make the world again with the same parameters: only what is missing is made"
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise AnnotationError(
            f"{path}: in the manifest, but not in the folder; make the world again with the same "
            "parameters: only what is missing is made"
        ) from None
    if size != entry.bytes:
        what = "truncated: " if size < entry.bytes else ""
        raise AnnotationError(f"{path}: {what}{size} bytes, the manifest says {entry.bytes}; {way_out}")
    if full and sha256_of(path) != entry.sha256:
        raise AnnotationError(f"{path}: its SHA-256 is not the manifest's; {way_out}")


def npz(**arrays: npt.NDArray[Any]) -> bytes:
    """A compressed NPZ file of these arrays; the same bytes for the same arrays."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def read_arrays(path: Path, *names: str) -> tuple[npt.NDArray[Any], ...]:
    """Arrays of an NPZ file of a world. Errors: AnnotationError for a missing or damaged file."""
    try:
        with np.load(path) as data:
            return tuple(data[name] for name in names)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise AnnotationError(
            f"{path}: not a ground-truth file of a world ({error}); delete it and make the world again: "
            "only what is missing is made"
        ) from error


def read_json(path: Path) -> Any:
    """JSON of a file of a world. Errors: AnnotationError naming the file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AnnotationError(
            f"{path}: not a readable JSON file ({error}); make the world anew in another folder"
        ) from error


def read_journal(path: Path) -> dict[str, FileEntry]:
    """Files that an interrupted making had finished; a torn last line is as if it were not there."""
    entries: dict[str, FileEntry] = {}
    if path.exists():
        lines = path.read_text(encoding="utf-8").split("\n")
        for line in lines[:-1]:  # what follows the last line end is torn, or empty
            entry = FileEntry(*json.loads(line))
            entries[entry.name] = entry
    return entries


def append_journal(path: Path, entries: Iterable[FileEntry]) -> None:
    """Records finished files, one JSON line each."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps([e.name, e.bytes, e.sha256]) + "\n" for e in entries)
