"""Explorers that also work in a static page, where no Python kernel answers.

Everything a control can show is in the page from the start: one picture for every combination of
choices, in nested ``Stack`` containers whose selected child is linked to the controls in the browser.
Callbacks (``observe``, ``interact``) and ``Play`` need a kernel and are not used.
"""

from __future__ import annotations

import base64
import html
import io
import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import ipywidgets
import matplotlib.figure
from PIL import Image

from svitt.config import nearest, require
from svitt.errors import ConfigError

Choice = tuple[str, ...]
Axis = tuple[str, Sequence[str]]


def figure_png(figure: matplotlib.figure.Figure, dpi: int = 100, colours: int | None = 96) -> bytes:
    """``figure`` as PNG bytes, reduced to a palette of ``colours`` (2 to 256) so that pages stay small.

    None keeps all colours. The bytes carry no date or program name: the same figure gives the same file.
    Errors: ConfigError for a palette size out of range.
    """
    require(colours is None or 2 <= colours <= 256, "colours", colours, "2 to 256, or None for all")
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi, bbox_inches="tight", metadata={"Software": None})
    picture = Image.open(drawn).convert("RGB")
    if colours is not None:
        picture = picture.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    small = io.BytesIO()
    picture.save(small, format="png", optimize=True)
    return small.getvalue()


class Explorer(ipywidgets.VBox):
    """Controls above, the picture of the current choice below.

    fallback_png: the picture of the first choice, shown where widgets cannot be (a viewer without
    JavaScript widgets, a PDF).
    """

    def __init__(
        self, children: Sequence[ipywidgets.Widget], fallback_png: bytes, summary: str, **kwargs: Any
    ) -> None:
        super().__init__(children=tuple(children), **kwargs)
        self.fallback_png = fallback_png
        self.summary = summary
        self.add_class("svitt-explorer")

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle: dict[str, Any] = super()._repr_mimebundle_(**kwargs)
        bundle["text/plain"] = self.summary
        bundle["image/png"] = base64.b64encode(self.fallback_png).decode("ascii")
        return bundle


def explorer(
    pictures: Mapping[Choice, bytes],
    axes: Sequence[Axis],
    *,
    captions: Mapping[Choice, str] | None = None,
    sliders: Collection[str] = (),
    start: Choice | None = None,
    title: str = "",
    max_bytes: int = 600_000,
) -> Explorer:
    """A widget that shows one of ``pictures`` for each combination of choices, with or without a kernel.

    pictures: PNG bytes for every element of the product of the axes' options, e.g.
        ``{("clip 1", "reverse"): png, ...}``.
    axes: one to three ``(name, options)``, in the order of the keys of ``pictures``.
    captions: HTML shown under the picture of a choice; absent choices have none.
    sliders: names of the axes whose options are ordered: a slider instead of a drop-down menu.
    start: the choice shown first; by default the first option of every axis.
    max_bytes: all pictures together may not be larger, since they are part of the page.

    Errors: ConfigError when a picture is missing, left over, empty or no PNG, when an option is given
    twice, or when the page would become too large.
    """
    _check(pictures, axes, captions or {}, sliders, max_bytes)
    start = start or tuple(options[0] for _, options in axes)
    if start not in pictures:
        raise ConfigError(f"start = {start!r} is not one of the {len(pictures)} choices of the axes")

    controls = [_control(name, options, start[i], name in sliders) for i, (name, options) in enumerate(axes)]
    picture_layout = ipywidgets.Layout(max_width="100%", height="auto", object_fit="contain")

    def build(prefix: Choice) -> ipywidgets.Widget:
        depth = len(prefix)
        if depth == len(axes):
            picture = ipywidgets.Image(value=pictures[prefix], format="png", layout=picture_layout)
            if captions is None or prefix not in captions:
                return picture
            return ipywidgets.VBox([picture, ipywidgets.HTML(captions[prefix])])
        stack = ipywidgets.Stack(
            [build((*prefix, option)) for option in axes[depth][1]],
            selected_index=list(axes[depth][1]).index(start[depth]),
        )
        ipywidgets.jsdlink((controls[depth], "index"), (stack, "selected_index"))
        return stack

    row = ipywidgets.HBox(controls, layout=ipywidgets.Layout(flex_flow="row wrap", margin="0 0 0.5em 0"))
    row.add_class("svitt-controls")
    heading = [ipywidgets.HTML(f"<strong>{html.escape(title)}</strong>")] if title else []
    names = " x ".join(f"{name} ({len(options)})" for name, options in axes)
    summary = f"Explorer over {names}; shown: {', '.join(start)}"
    return Explorer([*heading, row, build(())], pictures[start], summary)


def _control(name: str, options: Sequence[str], start: str, slider: bool) -> ipywidgets.Widget:
    """A menu or a slider over ``options``; its ``index`` is what the stacks follow."""
    kind = ipywidgets.SelectionSlider if slider else ipywidgets.Dropdown
    return kind(
        options=list(options),
        value=start,
        description=name,
        style={"description_width": "initial"},
        layout=ipywidgets.Layout(width="auto", min_width="14em", max_width="100%", margin="2px 1.5em 2px 0"),
    )


def _check(
    pictures: Mapping[Choice, bytes],
    axes: Sequence[Axis],
    captions: Mapping[Choice, str],
    sliders: Collection[str],
    max_bytes: int,
) -> None:
    require(1 <= len(axes) <= 3, "axes", [name for name, _ in axes], "one to three axes")
    names = [name for name, _ in axes]
    for name, options in axes:
        require(
            len(options) > 0 and len(set(options)) == len(options),
            f"options of axis {name!r}",
            list(options),
            "at least one, none twice",
        )
    for name in sliders:
        if name not in names:
            raise ConfigError(f"sliders names {name!r}, which is no axis; {nearest(name, names)}")
    wanted = set(itertools.product(*(tuple(options) for _, options in axes)))
    missing, extra = wanted - set(pictures), set(pictures) - wanted
    if missing or extra:
        raise ConfigError(
            f"pictures must have one entry for each of the {len(wanted)} choices; "
            f"missing: {sorted(missing)[:3]}, not among the choices: {sorted(extra)[:3]}"
        )
    if unknown := set(captions) - wanted:
        raise ConfigError(f"captions for what is not among the choices: {sorted(unknown)[:3]}")
    for choice, png in pictures.items():
        if not png.startswith(b"\x89PNG\r\n\x1a\n"):
            raise ConfigError(f"the picture of {choice!r} is no PNG; make it with figure_png")
    size = sum(len(png) for png in pictures.values())
    if size > max_bytes:
        raise ConfigError(
            f"the {len(pictures)} pictures take {size} bytes, more than max_bytes = {max_bytes}; show fewer "
            "choices, make the figures smaller or give figure_png fewer colours"
        )
