"""Which edits of the package make which chapters' records stale: the table that the hash must tell apart."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import svitt
from svitt.errors import ConfigError
from svitt.records.code_graph import Package
from svitt.records.code_hash import changes, code_hash
from svitt.records.entry_points import entry_point

CHAPTERS = (
    "01_frame_shuffle",
    "02_space_time_tradeoff",
    "03_edge_sparsity",
    "04_node_sparsity",
    "04_node_sparsity_movers",
    "05_efficiency",
    "06_retrieval_qa",
    "07_curriculum",
    "07_curriculum_tuning",
)
SOURCE = Path(svitt.__file__).parent
Edit = Callable[[Path], None]


def codes(root: Path) -> dict[str, str]:
    package = Package(root)
    return {name: code_hash(entry_point(name), package).hash for name in CHAPTERS}


@pytest.fixture(scope="module")
def before() -> dict[str, str]:
    return codes(SOURCE.parent)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copytree(SOURCE, tmp_path / "svitt", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def replace(name: str, old: str, new: str) -> Edit:
    def edit(root: Path) -> None:
        file = root / "svitt" / name
        text = file.read_text()
        assert old in text, f"{name} no longer holds {old!r}; mend the table"
        file.write_text(text.replace(old, new))

    return edit


def append(name: str, text: str) -> Edit:
    def edit(root: Path) -> None:
        file = root / "svitt" / name
        file.write_text(file.read_text() + "\n\n" + text)

    return edit


def both(*edits: Edit) -> Edit:
    def edit(root: Path) -> None:
        for one in edits:
            one(root)

    return edit


def rename(old: str, new: str) -> Edit:
    """In every module."""

    def edit(root: Path) -> None:
        for file in (root / "svitt").rglob("*.py"):
            file.write_text(re.sub(rf"\b{old}\b", new, file.read_text()))

    return edit


def move_module(root: Path) -> None:
    (root / "svitt" / "layers" / "rooms").mkdir()
    (root / "svitt" / "layers" / "rooms" / "__init__.py").touch()
    (root / "svitt" / "layers" / "patch_embed.py").rename(root / "svitt" / "layers" / "rooms" / "patches.py")
    rename(r"svitt\.layers\.patch_embed", "svitt.layers.rooms.patches")(root)


def move_function(root: Path) -> None:
    """``num_kept`` to a module of its own."""
    file = root / "svitt" / "layers" / "token_pruning.py"
    text = file.read_text()
    start, end = text.index("def num_kept"), text.index("def keep_top_tokens")
    head = "import math\n\nfrom svitt.config import require\n\n\n"
    (root / "svitt" / "layers" / "counts.py").write_text(head + text[start:end])
    moved = text[:start] + text[end:]
    file.write_text(
        moved.replace(
            "from torch import Tensor", "from torch import Tensor\nfrom svitt.layers.counts import num_kept"
        )
    )


TABLE: dict[str, tuple[Edit, int | str]] = {
    "comment": (replace("layers/token_pruning.py", "import math\n", "# a remark\nimport math\n"), 0),
    "docstring": (replace("layers/token_pruning.py", "order unchanged.", "in their order."), 0),
    "reworded error": (replace("config.py", "is out of range; allowed", "is not allowed; expected"), 0),
    "unused dataclass": (append("config.py", "@dataclass(frozen=True)\nclass Unused:\n    a: int = 0\n"), 0),
    "new error class": (append("errors.py", "class OtherError(SvittError):\n    pass\n"), 0),
    "new loss": (
        append("losses/contrastive.py", "def other(x: Tensor) -> Tensor:\n    return x.sum()\n"),
        0,
    ),
    "new metric": (append("evaluation/metrics.py", "def other(x: float) -> float:\n    return x\n"), 0),
    "new scale": (
        replace("experiments/shared/one_object_model.py", '"smoke": ', '"tiny": Settings(),\n    "smoke": '),
        0,
    ),
    "lazy export": (
        replace("__init__.py", '"sparsify": ', '"other": "svitt.layers.edges",\n    "sparsify": '),
        0,
    ),
    "module moved": (move_module, 0),
    "function moved": (move_function, 0),
    "function renamed": (rename("keep_top_tokens", "keep_best_tokens"), 0),
    "class renamed": (rename("TwoObjectSettings", "PairSettings"), 0),
    "annotation": (
        replace("layers/token_pruning.py", "keep_rate: float) -> int", "keep_rate: int) -> float"),
        0,
    ),
    "local import": (
        replace("layers/token_pruning.py", "    return math.ceil(", "    import json\n    return math.ceil("),
        0,
    ),
    "registered function": (
        replace("layers/token_pruning.py", "    return -clues.cls_row", "    return -2 * clues.cls_row"),
        9,
    ),
    "swapped aliases": (
        replace(
            "experiments/ch06_retrieval_qa/fusion_tokens.py",
            "normalise, sample_frames, shift_clips",
            "normalise, sample_frames as shift_clips, shift_clips as sample_frames",
        ),
        1,
    ),
    "swapped vocabularies": (
        both(
            replace(
                "data/worlds/shapes/spec.py",
                "grammar import Names, vocabulary",
                "grammar import Names\nfrom svitt.data.worlds.shapes.events import vocabulary",
            ),
            replace(
                "data/worlds/shapes/events.py",
                "grammar import vocabulary as",
                "relations import vocabulary as",
            ),
        ),
        8,
    ),
    "constant overridden by an if": (
        append("data/worlds/shapes/scene.py", "if len(SPLITS) > 3:\n    _SIDE_JITTER = 0.2\n"),
        "some",
    ),
    "assignment into a class": (
        append("layers/block.py", "Block.scale = 0.5\n"),
        9,
    ),
    "constant of the positions": (
        replace("layers/relative_position.py", "+ 0.5 for n in grid", "+ 0.25 for n in grid"),
        9,
    ),
    "resize mode": (replace("training/curriculum.py", 'mode="nearest"', 'mode="linear"'), 2),
    "epsilon of hard negatives": (replace("losses/matching.py", "1e-6", "1e-5"), 1),
    "outside import": (replace("layers/token_pruning.py", "import math\n", "import cmath as math\n"), 9),
}


@pytest.mark.parametrize("name", TABLE)
def test_what_an_edit_makes_stale(name: str, root: Path, before: dict[str, str]) -> None:
    edit, expected = TABLE[name]
    edit(root)
    now = codes(root)
    stale = [chapter for chapter in CHAPTERS if now[chapter] != before[chapter]]
    assert len(stale) > 0 if expected == "some" else len(stale) == expected, stale


# A package of a few lines, for what the real one does not hold.
TOY = {
    "__init__.py": "",
    "experiments/__init__.py": "",
    "experiments/toy.py": (
        "from svitt.layers import blocks\nfrom svitt.records.record import keep\n"
        "from svitt.layers.blocks import WIDTH as width\n\n\n"
        "def measure(x):\n    keep(x)\n    return even(x) * blocks.Block(width).forward(x)\n\n\n"
        "def even(n):\n    return n == 0 or odd(n - 1)\n\n\ndef odd(n):\n    return n != 0 and even(n - 1)\n"
    ),
    "layers/__init__.py": "",
    "layers/blocks.py": (
        "import math\nfrom svitt.layers.scale import SCALE\nWIDTH = 8\n\n\nclass Block:\n"
        "    def __init__(self, width):\n        self.width = width\n\n"
        "    def forward(self, x):\n        scale = SCALE\n        return math.sqrt(x) * scale\n"
    ),
    "layers/scale.py": (
        "SCALE = 2\nTABLE = {}\n\n\ndef register(f):\n    TABLE[f.__name__] = f\n    return f\n"
    ),
    "ledger/__init__.py": "",
    "records/record.py": "def keep(x):\n    pass\n",
}
ENTRY = "svitt.experiments.toy:measure"


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    for name, text in TOY.items():
        file = tmp_path / "svitt" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("edit", "causes"),
    [
        (replace("layers/scale.py", "SCALE = 2", "SCALE = 3"), ["svitt.layers.scale.SCALE"]),
        (replace("layers/scale.py", "SCALE = 2", "SCALE = 2.0"), ["svitt.layers.scale.SCALE"]),
        (replace("layers/blocks.py", "WIDTH = 8", "WIDTH = 4 * 2"), ["svitt.layers.blocks.WIDTH"]),
        (replace("layers/blocks.py", "math.sqrt", "math.exp"), ["svitt.layers.blocks.Block"]),
        (replace("layers/blocks.py", "import math", "import cmath as math"), ["svitt.layers.blocks.Block"]),
        (replace("experiments/toy.py", "n != 0", "n > 0"), ["svitt.experiments.toy.odd"]),
        (
            append("layers/scale.py", "@register\ndef f(x):\n    return x\n"),
            [
                "svitt.layers.scale.TABLE",
                "svitt.layers.scale.f",
                "svitt.layers.scale.f [effect 1]",
                "svitt.layers.scale.register",
            ],
        ),
    ],
)
def test_what_changed_is_named_and_not_what_depends_on_it(toy: Path, edit: Edit, causes: list[str]) -> None:
    before = code_hash(ENTRY, Package(toy))
    edit(toy)
    now = code_hash(ENTRY, Package(toy))
    assert now.hash != before.hash
    assert set(changes(before.definitions, now.definitions)) <= set(causes)
    assert changes(before.definitions, now.definitions)


def test_swapped_references_are_seen_although_every_text_stays(toy: Path) -> None:
    replace("layers/scale.py", "SCALE = 2", "SCALE = 2\nOTHER = 3")(toy)
    replace(
        "experiments/toy.py", "import blocks", "import blocks\nfrom svitt.layers.scale import OTHER, SCALE"
    )(toy)
    replace("experiments/toy.py", "    keep(x)", "    x = x * OTHER - SCALE")(toy)
    before = code_hash(ENTRY, Package(toy))
    replace("experiments/toy.py", "import OTHER, SCALE", "import OTHER as SCALE, SCALE as OTHER")(toy)
    now = code_hash(ENTRY, Package(toy))
    assert changes(before.definitions, now.definitions) == ["svitt.experiments.toy.measure"]


def test_a_local_name_is_no_reference(toy: Path) -> None:
    """``scale`` in ``Block.forward`` is a variable; a function of that name is another thing."""
    before = code_hash(ENTRY, Package(toy)).hash
    append("layers/blocks.py", "def scale(x):\n    return x\n")(toy)
    assert code_hash(ENTRY, Package(toy)).hash == before


def test_moved_and_renamed_definitions_are_recognised(toy: Path) -> None:
    before = code_hash(ENTRY, Package(toy))
    rename("SCALE", "FACTOR")(toy)
    rename("odd", "uneven")(toy)
    now = code_hash(ENTRY, Package(toy))
    assert now.hash == before.hash
    assert changes(before.definitions, now.definitions) == []


def test_a_definition_that_is_gone_is_named(toy: Path) -> None:
    before = code_hash(ENTRY, Package(toy))
    replace("layers/blocks.py", "scale = SCALE", "scale = 2")(toy)
    now = code_hash(ENTRY, Package(toy))
    assert changes(before.definitions, now.definitions) == [
        "svitt.layers.blocks.Block",
        "svitt.layers.scale.SCALE (gone)",
    ]


def test_what_only_keeps_a_number_does_not_count(toy: Path) -> None:
    before = code_hash(ENTRY, Package(toy)).hash
    replace("records/record.py", "pass", "return 1")(toy)
    assert code_hash(ENTRY, Package(toy)).hash == before


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (replace("experiments/toy.py", "import blocks", "import *"), r"toy, line 1: a star import"),
        (replace("experiments/toy.py", "even(x)", "missing(x)"), r"toy, line \d+: cannot follow .*'missing'"),
        (
            replace("experiments/toy.py", "blocks.Block", "blocks.Blok"),
            r"svitt\.layers\.blocks has no 'Blok'",
        ),
        (
            replace(
                "experiments/toy.py", "    keep(x)", "    import importlib\n    importlib.import_module(x)"
            ),
            r"toy, line \d+: an import by importlib\.import_module",
        ),
        (replace("layers/scale.py", "SCALE = 2", "SCALE = = 2"), r"scale\.py, line 1"),
    ],
)
def test_a_reference_that_cannot_be_followed_is_an_error(toy: Path, edit: Edit, message: str) -> None:
    edit(toy)
    with pytest.raises(ConfigError, match=message):
        code_hash(ENTRY, Package(toy))


def test_unknown_entries_are_named(toy: Path) -> None:
    with pytest.raises(ConfigError, match=r"no module 'svitt\.experiments\.missing'"):
        code_hash("svitt.experiments.missing:measure", Package(toy))
    with pytest.raises(ConfigError, match="no definition 'measur' in"):
        code_hash("svitt.experiments.toy:measur", Package(toy))


def test_a_whole_module_as_an_entry_counts_all_its_definitions(toy: Path) -> None:
    before = code_hash("svitt.layers.scale", Package(toy)).hash
    append("layers/scale.py", "MORE = 1\n")(toy)
    assert code_hash("svitt.layers.scale", Package(toy)).hash != before


def test_hash_is_the_same_on_every_supported_python(toy: Path) -> None:
    # A constant on purpose: a version of Python that adds fields to the syntax tree must not change it.
    assert code_hash(ENTRY, Package(toy)).hash == "44a345cdf84fe4ae"
