"""Imports point one way: layers <- models <- training, profiling <- experiments <- commands, book."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "svitt").rglob("*.py"))

# What the modules of a part may import of svitt, besides itself, config and errors. Imports inside
# functions count as well. `commands`, `cli` and the package itself are the top: everything is allowed.
ALLOWED: dict[str, set[str]] = {
    "config": set(),
    "errors": set(),
    "layers": set(),
    "losses": set(),
    "fusion_losses": set(),
    "data": set(),
    "evaluation": set(),
    "viz": set(),
    "ledger": set(),
    "models": {"layers"},
    "profiling": {"layers", "models"},
    "training": {"layers", "models", "losses", "fusion_losses", "data", "evaluation"},
    "experiments": {
        "layers",
        "models",
        "losses",
        "fusion_losses",
        "data",
        "evaluation",
        "training",
        "profiling",
        "ledger",
    },
}
TOP = {"__init__", "__main__", "cli", "commands"}

# Third-party libraries where a part promises to need few.
LIBRARIES: dict[str, set[str]] = {
    "svitt/config.py": set(),
    "svitt/errors.py": set(),
    "svitt/losses.py": {"torch"},
    "svitt/fusion_losses.py": {"torch"},
    "svitt/evaluation/metrics.py": {"numpy"},
    "svitt/layers/*.py": {"torch", "timm", "numpy"},
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


def part_of(module: Path) -> str:
    return module.relative_to(ROOT / "svitt").parts[0].removesuffix(".py")


def forbidden(part: str, source: str) -> set[str]:
    """The imports of ``source`` that a module of ``part`` may not have."""
    if part in TOP:
        return {name for name in imports(source) if name.split(".")[0] in {"tests", "book"}}
    allowed = ALLOWED[part] | {part, "config", "errors"}
    inner = {name for name in imports(source) if name.split(".")[0] == "svitt"}
    wrong = {name for name in inner - {"svitt", "svitt.__version__"} if name.split(".")[1] not in allowed}
    if part == "ledger":
        wrong |= {name for name in imports(source) if name.split(".")[0] in HEAVY}
    return wrong | {name for name in imports(source) if name.split(".")[0] in {"tests", "book"}}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(module: Path) -> None:
    part = part_of(module)
    assert part in TOP or part in ALLOWED, f"{part} is a new part: say in ALLOWED what it may import"
    assert forbidden(part, module.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize("pattern", LIBRARIES)
def test_parts_that_need_few_libraries(pattern: str) -> None:
    modules = list(ROOT.glob(pattern))
    assert modules
    allowed = LIBRARIES[pattern] | set(sys.stdlib_module_names) | {"svitt"}
    found = {m.name: {n.split(".")[0] for n in imports(m.read_text())} - allowed for m in modules}
    assert {name: extra for name, extra in found.items() if extra} == {}


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("layers", "from svitt.models.video_encoder import VideoEncoder"),
        ("data", "def f():\n    import svitt.models"),
        ("ledger", "import torch.nn"),
        ("viz", "from svitt import data"),
        ("models", "from svitt.training import trainer"),
        ("experiments", "from svitt.cli import main"),
        ("commands", "from tests.book import tools"),
    ],
)
def test_a_wrong_import_is_seen(part: str, source: str) -> None:
    assert forbidden(part, source)


def test_the_ledger_and_the_command_line_start_without_torch() -> None:
    names = [
        ".".join(m.relative_to(ROOT).with_suffix("").parts)
        for m in MODULES
        if part_of(m) == "ledger" and m.name != "__init__.py"
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
