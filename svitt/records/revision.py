"""The file REVISION of a bundle: which commit its code is, and the SHA-256 of every file of it.

It stands in git's place where there is none (``svitt bundle``).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from svitt.errors import RecordError

NAME = "REVISION"


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    commit: str
    files: dict[str, str]


@dataclass(frozen=True)
class Revision:
    """commit: 40 hexadecimal digits. files: path in the bundle -> SHA-256."""

    commit: str
    files: dict[str, str]

    def to_json(self) -> bytes:
        """The content of the file."""
        return (_File(commit=self.commit, files=self.files).model_dump_json(indent=1) + "\n").encode()

    def changed(self, root: Path) -> list[str]:
        """The files below ``root`` that are not those of the commit, code that was added included."""
        wrong = [
            name
            for name, sha256 in self.files.items()
            if not (root / name).is_file() or _sha256(root / name) != sha256
        ]
        code = {path.relative_to(root).as_posix() for path in (root / "svitt").rglob("*.py")}
        return sorted([*wrong, *(code - self.files.keys())])


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_revision(root: Path, commit: str) -> Path:
    """Writes REVISION for all that stands below ``root``; returns its path."""
    files = {
        path.relative_to(root).as_posix(): _sha256(path)
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != NAME
    }
    (root / NAME).write_bytes(Revision(commit, files).to_json())
    return root / NAME


def parse_revision(data: bytes, where: str) -> Revision:
    """Errors: RecordError naming ``where``."""
    try:
        file = _File.model_validate_json(data)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise RecordError(f"{where} is no REVISION of a bundle ({reason}); make the bundle anew") from error
    return Revision(file.commit, file.files)


def read_revision(root: Path) -> Revision | None:
    """The revision of the bundle at ``root``; None where there is no such file. Errors: RecordError."""
    path = root / NAME
    return parse_revision(path.read_bytes(), str(path)) if path.is_file() else None
