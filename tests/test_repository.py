"""What holds for the repository as a whole: sizes, versions, no traces of one machine, a README that runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
VENDORED = "book/_assets/vendor/"

# Paths of one machine and addresses of package registries or mirrors. Split so that this file passes.
TRACES = re.compile(
    r"(?<![\w.$})])/(?:" + "work|root|home|Users" + r")/[\w.]"
    r"|index-" + r"url|registry\." + r"npmjs|pypi\." + r"org|files\.python" + r"hosted|deb\." + r"debian\.org"
)
TEXT = {".py", ".md", ".yml", ".yaml", ".toml", ".txt", ".cfg", ".css", ".js", ".ipynb", ".json", ".bib", ""}


def tracked() -> list[Path]:
    """Files that git tracks, and new ones that it does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    files = [ROOT / name for name in listed if name and (ROOT / name).is_file()]
    assert len(files) > 20
    return files


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def requirements() -> list[str]:
    return [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line.strip()]


def environment_text() -> str:
    """``environment.yml``: conda's Python, and with pip exactly what ``requirements.txt`` locks."""
    lines = [
        "# The locked versions of requirements.txt for conda, for users with a GPU. Written by:",
        "#   python -m tests.test_repository",
        "name: svitt",
        "channels: [conda-forge, nodefaults]",
        "dependencies:",
        "  - python=3.11",
        "  - pip",
        "  - pip:",
        *(f"      - {line}" for line in requirements()),
    ]
    return "\n".join(lines) + "\n"


def test_no_file_is_larger_than_a_megabyte() -> None:
    large = {name(f): f.stat().st_size for f in tracked() if f.stat().st_size > 1_000_000}
    assert [f for f in large if not f.startswith(VENDORED)] == []


def test_no_traces_of_one_machine() -> None:
    found = {}
    for path in tracked():
        if path.suffix not in TEXT or name(path).startswith((VENDORED, "tests/test_repository.py")):
            continue
        if hits := {m.group() for m in TRACES.finditer(path.read_text(encoding="utf-8"))}:
            found[name(path)] = hits
    assert found == {}


@pytest.mark.parametrize(
    "text", ["see /" + "work/x", "'/home/ann'", "--index-" + "url=x", "https://pypi." + "org/a"]
)
def test_traces_are_seen(text: str) -> None:
    assert TRACES.search(text)


@pytest.mark.parametrize(
    "text", ["data/" + "work/x", "$HOME/" + "work/x", "https://example.org/x", "$(pwd)/root/x"]
)
def test_other_paths_are_no_traces(text: str) -> None:
    assert not TRACES.search(text)


def test_the_lock_is_exact_and_complete() -> None:
    lines = requirements()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.+!-]+", line)] == []
    locked = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {
        name: list(map(distribution, needs)) for name, needs in project["optional-dependencies"].items()
    }
    loose = set(map(distribution, project["dependencies"]))
    loose |= {name for names in extras.values() for name in names}
    assert {"torch", "numpy", "papermill", "pytest", "mujoco"} <= loose
    assert loose - locked - {"setuptools", "svitt"} == set()


def distribution(requirement: str) -> str:
    """``ipykernel<7.3`` -> ipykernel."""
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=;\[ ]", requirement)[0]).lower()


# Import name -> distribution, where they differ.
DISTRIBUTIONS = {
    "PIL": "pillow", "yaml": "pyyaml", "jupyter_book": "jupyter-book", "IPython": "ipykernel",
    "OpenGL": "mujoco",  # which brings it
}  # fmt: skip
# Room -> the extras it may need beside the core.
EXTRAS = {
    "layers": (),
    "losses": (),
    "evaluation": ("models",),
    "models": ("models",),
    "integrations": ("models", "data"),
    "profiling": ("models", "data", "book"),
    "training": ("models", "data"),
    "data": ("data", "worlds"),
}


# torch's CUDA builds bring it; where it is missing, edge-sparse attention takes another way.
# The worlds made by others are made by those who install them.
OPTIONAL = {"layers": {"triton"}, "data": {"minigrid"}}


@pytest.mark.parametrize("room", EXTRAS)
def test_a_room_needs_no_more_than_its_extras(room: str) -> None:
    from tests.test_imports import imports

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    allowed = set(map(distribution, project["dependencies"]))
    for extra in EXTRAS[room]:
        allowed |= set(map(distribution, project["optional-dependencies"][extra]))
    found = set()
    for module in (ROOT / "svitt" / room).rglob("*.py"):
        names = {name.split(".")[0] for name in imports(module.read_text())}
        found |= names - set(sys.stdlib_module_names) - {"svitt"} - OPTIONAL.get(room, set())
    missing = {name for name in found if DISTRIBUTIONS.get(name, name).lower() not in allowed}
    assert missing == set()


def test_layers_and_losses_import_with_torch_and_numpy_alone() -> None:
    program = """
import importlib, pkgutil, sys

OTHERS = {"timm", "transformers", "torchvision", "av", "pandas", "pydantic", "yaml", "tqdm"}

class Core:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in OTHERS:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Core())
import svitt, svitt.layers, svitt.losses
for package in (svitt.layers, svitt.losses):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
from svitt.layers.token_pruning import keep_top_tokens
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_environment_yml_has_the_locked_versions() -> None:
    written = (ROOT / "environment.yml").read_text()
    assert written == environment_text(), "out of date; run: python -m tests.test_repository"
    pip = next(entry["pip"] for entry in yaml.safe_load(written)["dependencies"] if isinstance(entry, dict))
    assert pip == requirements()


def test_modules_stay_short() -> None:
    lengths = {name(f): len(f.read_text().splitlines()) for f in (ROOT / "svitt").rglob("*.py")}
    assert {f: n for f, n in lengths.items() if n > 300} == {}


def test_outputs_of_both_commands_are_ignored() -> None:
    for path in (
        ".venv/x",
        "_build/html/index.html",
        "runs/x",
        "worlds/x",
        "book/_build/x",
        "svitt/__pycache__/x",
    ):
        done = subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT)
        assert done.returncode == 0, f"{path} is not ignored"


def test_the_ci_script_is_sound() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)
    targets = set(
        re.findall(
            r"\bmake ([a-z]+)\b",
            "\n".join(line for line in script.read_text().splitlines() if not line.lstrip().startswith("#")),
        )
    )
    assert {"site", "test"} <= targets
    assert targets <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def code_blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "page", ["README.md", "book/intro.md", "book/your_data.md", "book/api.md", "data/README.md"]
)
def test_commands_on_the_pages_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = (
        "\n".join(code_blocks(page, "bash"))
        + "\n"
        + "\n".join(re.findall(r"`([^`\n]+)`", (ROOT / page).read_text()))
    )
    assert set(re.findall(r"^make ([a-z-]+)", text, re.MULTILINE)) <= targets
    from svitt.cli import COMMANDS

    assert set(re.findall(r"^svitt ([a-z][a-z-]*)", text, re.MULTILINE)) <= set(COMMANDS)
    for file in re.findall(r"(?<![\w/.-])((?:book|svitt|data|tests)/[\w/.-]+\.\w+)", text):
        assert (ROOT / file).exists(), file


@pytest.mark.parametrize(
    "page", ["README.md", "data/README.md", *(f"book/{n}.md" for n in ("intro", "your_data", "api"))]
)
def test_links_to_files_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"


@pytest.mark.parametrize("page", ["README.md", "book/your_data.md", "book/api.md"])
def test_python_examples_run(page: str, tmp_path: Path) -> None:
    """The examples of a page, one after the other, as a reader would type them."""
    blocks = code_blocks(page, "python")
    assert blocks
    script = tmp_path / "examples.py"
    script.write_text(
        "if __name__ == '__main__':\n"
        + "".join("    " + line + "\n" if line else "\n" for block in blocks for line in block.splitlines())
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def test_readme_is_read_in_five_minutes() -> None:
    text = (ROOT / "README.md").read_text()
    assert 300 < len(re.sub(r"```.*?```", "", text, flags=re.DOTALL).split()) < 1000
    for needed in ("make book", "make test", "papermill", "ledger", "MIT"):
        assert needed in text, needed


if __name__ == "__main__":
    (ROOT / "environment.yml").write_text(environment_text())
