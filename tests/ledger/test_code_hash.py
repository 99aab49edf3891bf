"""Which edits change the hash of an experiment's code, and which do not."""

from pathlib import Path

import pytest

from svitt.errors import ConfigError
from svitt.ledger.code_hash import code_hash, current_codes

ENTRY = "svitt.experiments.toy"
FILES = {
    "__init__.py": '__version__ = "1"\n',
    "experiments/__init__.py": "",
    "experiments/toy.py": (
        '"""An experiment."""\nfrom svitt.layers import blocks\nfrom svitt.ledger.record import keep\n'
        "def run():\n    from ..models.net import Net\n    return Net(blocks.WIDTH)\n"
    ),
    "layers/__init__.py": "from .scale import SCALE\n",
    "layers/scale.py": "SCALE = 2\n",
    "layers/blocks.py": (
        '"""Blocks."""\n# how wide\nWIDTH = 8\n\n\nclass Block:\n    """A block."""\n\n'
        '    def forward(self, x):\n        """Of x."""\n        return x * 2\n'
    ),
    "layers/unused.py": "OTHER = 1\n",
    "models/__init__.py": "",
    "models/net.py": "import importlib\ndef Net(width):\n    importlib.import_module('svitt.models.late')\n",
    "models/late.py": "RATE = 0.5\n",
    "ledger/__init__.py": "",
    "ledger/record.py": "import svitt.layers.unused\ndef keep():\n    pass\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / "svitt" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def edit(root: Path, name: str, old: str, new: str) -> None:
    file = root / "svitt" / name
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def test_closure_follows_packages_lazy_and_relative_imports_and_leaves_the_ledger_out(root: Path) -> None:
    assert set(code_hash(ENTRY, root)[1]) == {
        "svitt",
        "svitt.experiments",
        "svitt.experiments.toy",
        "svitt.layers",
        "svitt.layers.scale",
        "svitt.layers.blocks",
        "svitt.models",
        "svitt.models.net",
        "svitt.models.late",
    }


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("layers/blocks.py", "# how wide\n", "# the width of a block\n\n"),
        ("layers/blocks.py", '"""Blocks."""\n', ""),
        ("layers/blocks.py", '"""A block."""', '"""One block of a model."""'),
        ("layers/blocks.py", '        """Of x."""\n', ""),
        ("layers/blocks.py", "return x * 2", "return (x\n            *  2)"),
        ("__init__.py", '"1"', '"2"'),
        ("ledger/record.py", "pass", "return 1"),
        ("layers/unused.py", "OTHER = 1", "OTHER = 2"),
    ],
)
def test_edits_that_change_no_number_change_no_hash(root: Path, name: str, old: str, new: str) -> None:
    before = code_hash(ENTRY, root)
    edit(root, name, old, new)
    assert code_hash(ENTRY, root) == before


@pytest.mark.parametrize(
    ("name", "old", "new", "module"),
    [
        ("layers/blocks.py", "WIDTH = 8", "WIDTH = 9", "svitt.layers.blocks"),
        ("layers/blocks.py", "WIDTH = 8", "WIDTH = 8.0", "svitt.layers.blocks"),
        ("layers/blocks.py", "x * 2", "x + 2", "svitt.layers.blocks"),
        ("layers/scale.py", "SCALE = 2", "SCALE = 3", "svitt.layers.scale"),
        ("models/late.py", "RATE = 0.5", "RATE = 0.25", "svitt.models.late"),
    ],
)
def test_edits_of_code_change_the_hash_and_name_the_module(
    root: Path, name: str, old: str, new: str, module: str
) -> None:
    before, modules_before = code_hash(ENTRY, root)
    edit(root, name, old, new)
    after, modules_after = code_hash(ENTRY, root)
    assert after != before
    assert [m for m in modules_after if modules_after[m] != modules_before[m]] == [module]


def test_a_string_that_is_no_docstring_counts(root: Path) -> None:
    before = code_hash(ENTRY, root)[0]
    edit(root, "layers/scale.py", "SCALE = 2", 'SCALE = 2\nNAME = "a"')
    named = code_hash(ENTRY, root)[0]
    edit(root, "layers/scale.py", '"a"', '"b"')
    assert len({before, named, code_hash(ENTRY, root)[0]}) == 3


def test_hash_is_the_same_on_every_supported_python(root: Path) -> None:
    # A constant on purpose: a version of Python that adds fields to the syntax tree must not change it.
    assert code_hash("svitt.layers.blocks", root)[1]["svitt.layers.blocks"] == "a0bb164a987aaff2"


def test_current_codes_agree_with_code_hash(root: Path) -> None:
    codes = current_codes(root)
    assert codes[ENTRY] == code_hash(ENTRY, root)[0]
    assert not any(name.startswith("svitt.ledger") for name in codes)


def test_unknown_and_broken_modules_are_named(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"no module 'svitt\.experiments\.missing'"):
        code_hash("svitt.experiments.missing", root)
    edit(root, "layers/scale.py", "SCALE = 2", "SCALE = = 2")
    with pytest.raises(ConfigError, match=r"scale\.py, line 1"):
        code_hash(ENTRY, root)


def test_the_installed_package_has_a_hash() -> None:
    digest, modules = code_hash("svitt.config")
    assert len(digest) == 16
    assert {"svitt", "svitt.config", "svitt.errors"} <= set(modules)
