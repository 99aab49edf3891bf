"""Imports point one way, from room to room of the house.

errors, config, atomic <- layers <- losses, models <- integrations, training, profiling <-
experiments.shared <- experiments.chNN <- commands, book; records <- ledger, batch, experiments. A chapter
imports no other chapter.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "svitt").rglob("*.py"))

# What the modules of a room may import of svitt, besides itself, config, errors and atomic. Imports inside
# functions count as well. `commands`, `cli` and the package itself are the top: everything is allowed.
_MODELS = {"layers", "models"}
_EXPERIMENTS = _MODELS | {"losses", "data", "evaluation", "training", "profiling", "integrations"}
ALLOWED: dict[str, set[str]] = {
    "config": set(),
    "errors": set(),
    "atomic": set(),
    "layers": set(),
    "losses": {"layers"},
    "data": set(),
    "evaluation": set(),
    "viz": set(),
    "records": set(),
    "ledger": {"records"},
    "batch": {"records", "ledger"},
    "models": {"layers"},
    "integrations": {"data", *_MODELS},
    "profiling": _MODELS,
    "training": {"losses", "data", "evaluation", *_MODELS},
    "experiments": {"records", "ledger", *_EXPERIMENTS},
    "experiments.shared": {"experiments", "records", "ledger", *_EXPERIMENTS},
    "experiments.chapter": {"experiments", "experiments.shared", "records", "ledger", *_EXPERIMENTS},
}
TOP = {"__init__", "__main__", "cli", "commands"}

# Third-party libraries where a part promises to need few.
LIBRARIES: dict[str, set[str]] = {
    "svitt/config.py": set(),
    "svitt/errors.py": set(),
    "svitt/atomic.py": set(),
    "svitt/losses/*.py": {"torch"},
    "svitt/evaluation/metrics.py": {"numpy"},
    "svitt/layers/*.py": {"torch"},
    "svitt/layers/_edge_triton.py": {"torch", "triton"},  # imported where Triton is there
}
HEAVY = {"torch", "torchvision", "timm", "transformers", "accelerate"}


def imports(source: str) -> set[str]:
    """Dotted names a module imports, wherever the statement stands; ``from a import b`` gives ``a.b``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}; write it out"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(module: str) -> str:
    """The room of a dotted name below svitt: ``svitt.experiments.ch01_x.page`` -> experiments.chapter."""
    parts = module.split(".")[1:] or ["__init__"]
    if parts[0] != "experiments" or len(parts) < 2:
        return parts[0]
    if re.match(r"ch\d\d", parts[1]):
        return "experiments.chapter"
    return "experiments.shared" if parts[1] == "shared" else "experiments"


def chapter(module: str) -> str | None:
    """``ch01_x`` of a dotted name below it."""
    found = re.match(r"svitt\.experiments\.(ch\d\d\w*)", module)
    return found[1] if found else None


def dotted(module: Path) -> str:
    name = ".".join(module.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def forbidden(module: str, source: str) -> set[str]:
    """The imports of ``source`` that the module of that dotted name may not have."""
    wrong = {name for name in imports(source) if name.split(".")[0] in {"tests", "book"}}
    here = room(module)
    if here in TOP:
        return wrong
    allowed = ALLOWED[here] | {here, "config", "errors", "atomic"}
    inner = {name for name in imports(source) if name.startswith("svitt.")} - {"svitt.__version__"}
    wrong |= {name for name in inner if room(name) not in allowed}
    wrong |= {name for name in inner if chapter(name) not in (None, chapter(module))}
    if here in ("ledger", "records"):
        wrong |= {name for name in imports(source) if name.split(".")[0] in HEAVY}
    return wrong


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(module: Path) -> None:
    name = dotted(module)
    assert name == "svitt" or room(name) in TOP | set(ALLOWED), (
        f"{name} is a new room: say what it may import"
    )
    assert forbidden(name, module.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize("pattern", LIBRARIES)
def test_parts_that_need_few_libraries(pattern: str) -> None:
    named = {ROOT / name for name in LIBRARIES} - {ROOT / pattern}
    modules = sorted(set(ROOT.glob(pattern)) - named)
    assert modules
    allowed = LIBRARIES[pattern] | set(sys.stdlib_module_names) | {"svitt"}
    found = {m.name: {n.split(".")[0] for n in imports(m.read_text())} - allowed for m in modules}
    assert {name: extra for name, extra in found.items() if extra} == {}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("layers.x", "from svitt.models.video_encoder import VideoEncoder"),
        ("data.x", "def f():\n    import svitt.models"),
        ("ledger.x", "import torch.nn"),
        ("viz.x", "from svitt import data"),
        ("models.x", "from svitt.training import trainer"),
        ("experiments.ch01_x.page", "from svitt.cli import main"),
        ("experiments.ch01_x.page", "from svitt.experiments.ch02_y import experiment"),
        ("experiments.shared.x", "from svitt.experiments.ch01_x import experiment"),
        ("experiments.base", "from svitt.experiments.shared import batches"),
        ("records.x", "from svitt.ledger.claims import load_claims"),
        ("ledger.x", "from svitt.batch.grid import Job"),
        ("commands.x", "from tests.book import tools"),
    ],
)
def test_a_wrong_import_is_seen(module: str, source: str) -> None:
    assert forbidden(f"svitt.{module}", source)


def test_the_ledger_and_the_command_line_start_without_torch() -> None:
    names = [
        dotted(m) for m in MODULES if room(dotted(m)) in ("ledger", "records") and m.name != "__init__.py"
    ]
    assert names
    program = (
        "import importlib, sys\n"
        f"for name in ['svitt', 'svitt.cli', 'svitt.commands.claims', *{names!r}]:\n"
        "    importlib.import_module(name)\n"
        f"    heavy = {HEAVY!r} & set(sys.modules)\n"
        "    assert not heavy, (name, heavy)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=120)
