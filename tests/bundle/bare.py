"""A machine as bare as a PyTorch image: torch, timm, transformers, pandas; no git, no index, another HOME."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

PRESENT = ("torch", "timm", "transformers", "safetensors", "numpy", "pandas", "pip")
ABSENT = ("pydantic", "pydantic-core", "psutil", "accelerate", "av")  # the bundle brings them
PROGRAMS = ("bash", "mktemp", "dirname", "rm", "mv", "mkdir", "env", "uname")


def distributions() -> set[str]:
    """PRESENT and all that they need, by name."""
    found: set[str] = set()
    waiting = list(PRESENT)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found or name in ABSENT:
            continue
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        found.add(name)
        for need in needs:
            if "extra ==" not in need:
                match = re.match(r"[A-Za-z0-9._-]+", need)
                assert match is not None
                waiting.append(match[0])
    return found


def bare_machine(folder: Path) -> dict[str, str]:
    """The environment variables of such a machine, made below ``folder``."""
    packages = folder / "packages"
    packages.mkdir(parents=True)
    site = Path(sysconfig.get_paths()["purelib"])
    for name in distributions():
        files = importlib.metadata.files(name) or []
        for top in {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__", "bin")}:
            link = packages / top
            if not link.exists():
                link.symlink_to(site / top)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    home = next((folder / "venv" / "lib").glob("python3.*")) / "site-packages"
    (home / "bare.pth").write_text(f"{packages}\n")
    tools = folder / "tools"
    tools.mkdir()
    for program in PROGRAMS:
        path = shutil.which(program)
        assert path is not None, program
        (tools / program).symlink_to(path)
    (folder / "home").mkdir()
    return {
        "PATH": f"{folder / 'venv' / 'bin'}:{tools}",
        "HOME": str(folder / "home"),
        "PYTHON": str(folder / "venv" / "bin" / "python"),
        "PIP_NO_INDEX": "1",
        "OMP_NUM_THREADS": "1",
    }
