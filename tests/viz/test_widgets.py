"""Explorers: what is in the page, what is linked, and what is refused."""

from __future__ import annotations

import base64
import io

import ipywidgets
import matplotlib.figure
import numpy as np
import pytest
from PIL import Image

from svitt.errors import ConfigError
from svitt.viz.widgets import explorer, figure_png

CLIPS = ("clip 1", "clip 2")
ORDERS = ("none", "reverse", "freeze")


def png(colour: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(out, format="png")
    return out.getvalue()


def grid() -> dict[tuple[str, ...], bytes]:
    return {(c, o): png((40 * i, 40 * j, 9)) for i, c in enumerate(CLIPS) for j, o in enumerate(ORDERS)}


AXES = [("clip", CLIPS), ("order", ORDERS)]


def shown(stack: ipywidgets.Widget) -> bytes:
    """The picture that is visible: down the selected children."""
    while isinstance(stack, ipywidgets.Stack):
        stack = stack.children[stack.selected_index]
    if isinstance(stack, ipywidgets.VBox):
        stack = stack.children[0]
    return bytes(stack.value)


def links_of(controls: tuple[ipywidgets.Widget, ...]) -> list[tuple[ipywidgets.Widget, ipywidgets.Widget]]:
    """(control, stack) of every browser-side link that starts at one of ``controls``."""
    from ipywidgets.widgets import widget as widget_module

    links = [w for w in widget_module._instances.values() if isinstance(w, ipywidgets.widget_link.Link)]
    return [(link.source[0], link.target[0]) for link in links if link.source[0] in controls]


def test_every_choice_shows_its_own_picture() -> None:
    pictures = grid()
    made = explorer(pictures, AXES)
    row, stack = made.children
    pairs = links_of(row.children)
    # one stack for the clips, one for the orders of each clip
    assert len(pairs) == 1 + len(CLIPS)
    for i, clip in enumerate(CLIPS):
        for j, order in enumerate(ORDERS):
            wanted = {row.children[0]: i, row.children[1]: j}
            for control, target in pairs:  # what the browser does when the controls move
                target.selected_index = wanted[control]
            assert shown(stack) == pictures[(clip, order)]


def test_three_axes_start_sliders_and_captions() -> None:
    axes = [("a", ("x", "y")), ("b", ("0.1", "0.5", "1")), ("c", ("p", "q"))]
    keys = [(a, b, c) for a in axes[0][1] for b in axes[1][1] for c in axes[2][1]]
    pictures = {key: png((i, 2 * i, 3 * i)) for i, key in enumerate(keys)}
    captions = {key: f"<em>{' '.join(key)}</em>" for key in keys}
    made = explorer(pictures, axes, captions=captions, sliders=["b"], start=("y", "0.5", "q"), title="A < B")
    heading, row, stack = made.children
    assert heading.value == "<strong>A &lt; B</strong>"
    assert [type(w).__name__ for w in row.children] == ["Dropdown", "SelectionSlider", "Dropdown"]
    assert [w.value for w in row.children] == ["y", "0.5", "q"]
    assert shown(stack) == pictures[("y", "0.5", "q")]
    leaf = stack.children[1].children[1].children[1]
    assert leaf.children[1].value == captions[("y", "0.5", "q")]


def test_nothing_needs_a_kernel() -> None:
    made = explorer(grid(), AXES)
    state = ipywidgets.Widget.get_manager_state(widgets=None)["state"]
    kinds = {entry["model_name"] for entry in state.values()}
    assert "PlayModel" not in kinds
    for control in made.children[0].children:
        handlers = [h for by_kind in control._trait_notifiers.values() for hs in by_kind.values() for h in hs]
        assert handlers  # ipywidgets' own: a change of this private name must not empty the test
        assert not [h for h in handlers if getattr(h, "__module__", "").startswith("svitt")]


def test_the_static_fallback_is_the_first_picture() -> None:
    pictures = grid()
    made = explorer(pictures, AXES, start=("clip 2", "reverse"))
    bundle = made._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]) == pictures[("clip 2", "reverse")] == made.fallback_png
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == made.model_id
    assert bundle["text/plain"] == "Explorer over clip (2) x order (3); shown: clip 2, reverse"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pictures": {("clip 1", "none"): png((0, 0, 0))}}, "missing"),
        ({"axes": [("clip", ("clip 1", "clip 1")), ("order", ORDERS)]}, "none twice"),
        ({"axes": []}, "one to three"),
        ({"sliders": ["ordr"]}, "did you mean 'order'"),
        ({"start": ("clip 3", "none")}, "not one of the 6 choices"),
        ({"captions": {("clip 9", "none"): "x"}}, "clip 9"),
        ({"max_bytes": 100}, "max_bytes = 100"),
        ({"pictures": {**grid(), ("clip 1", "none"): b"GIF89a"}}, "no PNG"),
    ],
)
def test_refused(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"pictures": grid(), "axes": AXES, **change}
    with pytest.raises(ConfigError, match=message):
        explorer(**arguments)  # type: ignore[arg-type]


def test_figure_png_is_small_and_repeatable() -> None:
    def draw() -> matplotlib.figure.Figure:
        figure = matplotlib.figure.Figure(figsize=(4, 3))
        axes = figure.subplots()
        axes.imshow(np.add.outer(np.arange(60), np.arange(80)), cmap="viridis")
        return figure

    small, full = figure_png(draw(), colours=32), figure_png(draw(), colours=None)
    assert small == figure_png(draw(), colours=32)
    assert len(small) < 0.7 * len(full)
    reduced, original = (np.asarray(Image.open(io.BytesIO(x)).convert("RGB"), float) for x in (small, full))
    assert reduced.shape == original.shape
    assert len(np.unique(reduced.reshape(-1, 3), axis=0)) <= 32
    assert np.abs(reduced - original).mean() < 6  # of 255: the picture is still the picture
    with pytest.raises(ConfigError, match="colours = 1 "):
        figure_png(draw(), colours=1)
