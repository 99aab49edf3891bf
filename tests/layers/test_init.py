"""One import serves a user of the layers, and it needs torch alone."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys

from svitt import layers

MODULES = [
    importlib.import_module(f"svitt.layers.{found.name}")
    for found in pkgutil.iter_modules(layers.__path__)
    if not found.name.startswith("_")
]


def test_all_names_are_the_modules_own() -> None:
    for name in layers.__all__:
        made = getattr(layers, name)
        assert [m for m in MODULES if getattr(m, name, None) is made], name


def test_every_layer_and_score_function_is_there() -> None:
    """What a module is about; its helpers need its own import."""
    for module in MODULES:
        classes = {
            name
            for name, made in vars(module).items()
            if inspect.isclass(made) and made.__module__ == module.__name__ and not name.startswith("_")
        }
        assert classes <= set(layers.__all__), module.__name__


def test_no_file_bears_the_name_of_what_is_exported() -> None:
    """Otherwise ``svitt.layers.name`` is the file or the function, by the order of imports."""
    files = {found.name for found in pkgutil.iter_modules(layers.__path__)}
    assert files.isdisjoint(layers.__all__)


def test_the_worked_example_prints_what_it_says() -> None:
    result = doctest.testmod(layers)
    assert result.attempted > 0
    assert result.failed == 0


def test_layers_run_where_there_is_torch_alone() -> None:
    program = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'timm', 'torchvision', 'transformers', 'accelerate', 'einops'}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "import torch\n"
        "from svitt.layers import Block, DropPath, Mlp\n"
        "x, row = Block(16, 2, drop_path=0.1)(torch.zeros(1, 5, 16), need_cls=True)\n"
        "assert x.shape == (1, 5, 16) and row.shape == (1, 2, 5)\n"
        "mine = [m for m in sys.modules if m.startswith('svitt.')]\n"
        "assert all(m.startswith(('svitt.layers', 'svitt.config', 'svitt.errors')) for m in mine), mine\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
