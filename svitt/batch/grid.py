"""A grid of chapter executions: which chapters, scales and seeds, checked before anything runs."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from svitt.config import nearest
from svitt.errors import ConfigError
from svitt.records.training import PLAIN, Training
from svitt.records.workspace import Workspace

PARAMETERS = ("scale", "seed", "device", "out_dir")
CHAPTER_NAME = re.compile(r"\d\d_\w+")


@dataclass(frozen=True)
class Chapter:
    """One chapter of the book.

    path: its notebook, ``book/NN_name.ipynb``. code: hash of the code that its numbers come from.
    scales: the scales it knows, each with its seeds. further: the record sets that the notebook makes beside
    its own, each with its scales and seeds. record_set: given where one record set is to be measured alone,
    without the notebook.
    """

    path: Path
    code: str
    scales: Mapping[str, Sequence[int]] = field(hash=False)
    further: Mapping[str, Mapping[str, Sequence[int]]] = field(default_factory=dict, hash=False)
    record_set: str = ""

    @property
    def name(self) -> str:
        """``NN_name``, or the record set's name."""
        return self.record_set or self.path.stem

    def recorded(self, scale: str, seed: int) -> list[tuple[str, int]]:
        """What one execution records: (record set, seed). A further record set has the seed of the
        execution, or, where it has seeds of its own (as tuning has), all of those."""
        found = [(self.name, seed)]
        for name, scales in self.further.items():
            own = scales.get(scale, ())
            shared = set(own) & set(self.scales.get(scale, ()))
            found += [(name, each) for each in ([seed] if shared else own)]
        return found


@dataclass(frozen=True)
class Job:
    """One execution of a chapter: a cell of the grid.

    display: executed for the page after the grid, always anew; it reads what the grid recorded.
    out_dir: as the notebook's parameter: empty, or an absolute folder. changes: a reader's own settings,
    measured without a notebook; kept_as: the scale that their record stands under. training: how models are
    trained, of what is measured without a notebook.
    """

    chapter: Chapter
    scale: str
    seed: int
    device: str
    out_dir: str
    display: bool = False
    changes: str = ""
    kept_as: str = ""
    training: Training = PLAIN

    @property
    def label(self) -> str:
        """For progress and messages."""
        scale = self.kept_as or self.scale
        return f"{self.chapter.name} {scale} " + ("display" if self.display else f"seed {self.seed}")

    @property
    def parameters(self) -> dict[str, Any]:
        """The notebook's parameters."""
        return {"scale": self.scale, "seed": self.seed, "device": self.device, "out_dir": self.out_dir}

    def notebook(self, workspace: Workspace) -> Path:
        """Where the executed notebook is kept; the log and unfinished notebooks stand beside it. What is
        measured without a notebook has the log alone."""
        kind = "records" if self.chapter.record_set else "notebooks"
        folder = workspace.runs / kind / (self.kept_as or self.scale) / self.chapter.name
        return folder / ("display.ipynb" if self.display else f"seed{self.seed}.ipynb")

    def record(self, workspace: Workspace) -> Path:
        """Where the chapter records its result."""
        return self.records(workspace)[0]

    def records(self, workspace: Workspace) -> list[Path]:
        """Where it records, the further record sets of the chapter included; its own first."""
        folder = workspace.results / (self.kept_as or self.scale)
        found = self.chapter.recorded(self.scale, self.seed)
        return [folder / name / f"seed{seed}.json" for name, seed in found]

    def key(self) -> str:
        """A hash of what determines the outcome: the notebook's source, the parameters, the code.

        ``out_dir`` says where results go, not what they are, and does not count.
        """
        notebook = json.loads(self.chapter.path.read_text(encoding="utf-8"))
        cells = [
            (c["cell_type"], "".join(c["source"]), sorted(c["metadata"].get("tags", [])))
            for c in notebook["cells"]
        ]
        parameters = {k: v for k, v in self.parameters.items() if k != "out_dir"}
        text = json.dumps([cells, parameters, self.chapter.code], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def chapter_names(book: Path) -> list[str]:
    """The chapters in a book's folder. Errors: ConfigError when there are none."""
    names = sorted(p.stem for p in book.glob("*.ipynb") if CHAPTER_NAME.fullmatch(p.stem))
    if not names:
        raise ConfigError(f"no chapter (NN_name.ipynb) in {book}; run the command inside the checkout")
    return names


def notebook_of(name: str, names: Iterable[str]) -> str | None:
    """The chapter whose notebook records ``name``: itself, or, for a further experiment of a chapter such as
    ``04_node_sparsity_movers``, that chapter. None where there is none."""
    fitting = [n for n in names if name == n or name.startswith(f"{n}_")]
    return max(fitting, key=len, default=None)


def select_chapters(names: Sequence[str], wanted: Iterable[str]) -> list[str]:
    """Full chapter names for ``all``, ``01_frame_shuffle``, ``frame_shuffle`` or ``01``; a further
    experiment of a chapter stands for its chapter.

    Errors: ConfigError with the nearest known name.
    """
    chosen: set[str] = set()
    for want in wanted:
        stem = want.removesuffix(".ipynb").rpartition("/")[2]
        found = [n for n in names if want == "all" or stem in (n, n[:2], n[3:])]
        found = found or [n for n in [notebook_of(stem, names)] if n is not None]
        if not found:
            raise ConfigError(f"unknown chapter {want!r}; {nearest(stem, names)}")
        chosen.update(found)
    return [name for name in names if name in chosen]


def parse_seeds(text: str) -> tuple[int, ...]:
    """``"0-4"``, ``"0,2"``, ``"3"`` or a mixture -> seeds, ascending. Errors: ConfigError."""
    seeds: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if match is None or (match[2] and int(match[2]) < int(match[1])):
            raise ConfigError(f"seeds = {text!r}: cannot read {part!r}; write 0-4, 0,2 or 3")
        seeds.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return tuple(sorted(seeds))


def parse_shard(text: str) -> tuple[int, int]:
    """``"2/5"`` -> (2, 5): the second of five parts. Errors: ConfigError."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ConfigError(f"shard = {text!r}; write I/N with 1 <= I <= N, such as 2/5")
    return int(match[1]), int(match[2])


def seconds(text: str | None) -> float | None:
    """``"90s"``, ``"8m"``, ``"2h"`` -> seconds; None for None. Errors: ConfigError."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if match is None or float(match[1]) == 0:
        raise ConfigError(f"time limit = {text!r}; write 90s, 8m or 2h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def check_parameters(notebook: Path) -> dict[str, Any]:
    """The defaults of a chapter's parameters.

    Papermill only warns of a parameter that the notebook does not have, and the run would then be of
    another scale or seed than its name says. Errors: ConfigError naming what is missing.
    """
    import papermill  # here: a machine that records without notebooks need not have it

    known = papermill.inspect_notebook(str(notebook))
    for name in PARAMETERS:
        if name not in known:
            what = nearest(name, known) if known else "it has no cell tagged `parameters`"
            raise ConfigError(
                f"{notebook}: no parameter {name!r}; {what}. A chapter's parameters: {', '.join(PARAMETERS)}"
            )
    defaults = {}
    for name in PARAMETERS:
        text = known[name]["default"]
        try:
            defaults[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError) as error:
            raise ConfigError(f"{notebook}: parameter {name} = {text}; write a plain value there") from error
    return defaults


def build_grid(
    chapters: Sequence[Chapter],
    scale: str,
    seeds: Sequence[int] | None,
    device: str,
    out_dir: str,
    shard: tuple[int, int] = (1, 1),
) -> list[Job]:
    """The jobs of chapters x seeds, or the I-th of N parts of them (every N-th job).

    seeds: None takes the seeds that each chapter's scale names. Errors: ConfigError for a scale that
    a chapter does not know or a notebook without the parameters.
    """
    jobs = []
    for chapter in chapters:
        if scale not in chapter.scales:
            raise ConfigError(f"{chapter.name}: unknown scale {scale!r}; {nearest(scale, chapter.scales)}")
        if not chapter.record_set:
            check_parameters(chapter.path)
        chosen = chapter.scales[scale] if seeds is None else seeds
        if not chosen:
            raise ConfigError(f"{chapter.name}: scale {scale!r} names no seeds; give them with --seeds")
        for seed in chosen:
            jobs.append(Job(chapter, scale, seed, device, out_dir))
    index, count = shard
    return jobs[index - 1 :: count]
