"""All results of a workspace in one file, renewed at one stroke after every seed."""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from pathlib import Path

from svitt.atomic import write_atomically
from svitt.errors import RecordError
from svitt.records.provenance import git_state
from svitt.records.revision import NAME, Revision, parse_revision

MOST_BYTES = 2**30  # of an archive, unpacked
_MEMBER = re.compile(r"results/(?:[A-Za-z0-9_-][A-Za-z0-9_.-]*/)*[A-Za-z0-9_-][A-Za-z0-9_.-]*")


def pack(results: Path, root: Path, archive: Path) -> Path:
    """Writes ``results`` (records, outcomes, lists of code, attempts) and the commit of the code at ``root``
    into ``archive``, a .tar.gz; returns its path."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        _add(tar, NAME, Revision(git_state(root)[0] or "", {}).to_json())
        for path in sorted(results.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                _add(tar, f"results/{path.relative_to(results).as_posix()}", path.read_bytes())
    archive.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(archive, buffer.getvalue())
    return archive


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def unpack(archive: Path, folder: Path) -> Revision:
    """Puts the results of an archive below ``folder`` (``<folder>/<scale>/<record set>/...``); returns the
    commit that made them.

    Errors: RecordError where it is missing, damaged, too large or holds anything but results.
    """
    way_out = "copy it again from where it was made"
    if not archive.is_file():
        raise RecordError(f"{archive} is missing; svitt run --record-only --archive FILE writes one")
    revision, total = None, 0
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                total += member.size
                if total > MOST_BYTES:
                    raise RecordError(f"{archive} unpacks to more than {MOST_BYTES // 2**20} MiB; {way_out}")
                file = tar.extractfile(member) if member.isreg() else None
                if file is None or (member.name != NAME and not _MEMBER.fullmatch(member.name)):
                    raise RecordError(f"{archive} holds {member.name!r}, which is no result; {way_out}")
                data = file.read()
                if member.name == NAME:
                    revision = parse_revision(data, f"{archive}: {NAME}")
                    continue
                path = folder / member.name.removeprefix("results/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise RecordError(f"{archive} cannot be read ({error}); {way_out}") from error
    if revision is None:
        raise RecordError(f"{archive} does not say of which commit it is (no {NAME}); {way_out}")
    return revision
