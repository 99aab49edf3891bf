"""The committed edition builds without a warning, stays on the reader's machine, and its widgets work."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import ipywidgets
import nbformat
import pytest
import yaml
from PIL import Image
from playwright.sync_api import Browser, Page

from svitt.viz.widgets import explorer
from tests.book.tools import (
    BOOK,
    ROOT,
    WIDGET_VIEW,
    build,
    chromium,
    copy_book,
    external_loads,
    served,
    toc_pages,
    visit,
    widget_views,
)

PAGES = toc_pages(ROOT / "_toc.yml")
WIDGET_PAGES = [p for p in PAGES if (BOOK / f"{p}.ipynb").exists() and widget_views(BOOK / f"{p}.ipynb")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("committed"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as made:
        yield made


def test_both_tables_of_contents_read_the_same() -> None:
    assert (BOOK / "_toc.yml").read_text() == (ROOT / "_toc.yml").read_text(), (
        "book/_toc.yml must be a symbolic link to ../_toc.yml; this checkout made a plain file of it "
        "(git config core.symlinks true, then check out again)"
    )
    for page in PAGES:
        assert [suffix for suffix in (".md", ".ipynb") if (BOOK / f"{page}{suffix}").exists()], page


def test_vendored_libraries_are_there_with_their_licences() -> None:
    vendor = BOOK / "_assets" / "vendor"
    notice = (vendor / "THIRD_PARTY.md").read_text()
    config = yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["config"]
    for script in [config["mathjax_path"], *config["nb_ipywidgets_js"]]:
        assert (BOOK / "_assets" / script).stat().st_size > 10_000, script
    assert len(list(vendor.glob("mathjax/output/chtml/fonts/woff-v2/*.woff"))) == 23
    # the widget manager asks for its icon fonts beside its module, wherever the page stands
    for folder in ("@jupyter-widgets", "@jupyter-widgets/html-manager/dist"):
        assert len(list((BOOK / "_extra" / folder).glob("*.woff2"))) == 3, folder
    for licence in ("MathJax", "RequireJS", "html-manager", "Font Awesome"):
        assert licence in notice
    assert "Apache License" in (vendor / "mathjax" / "LICENSE").read_text()


def test_every_page_is_built_and_listed(site: Path) -> None:
    sidebar = (site / f"{PAGES[0]}.html").read_text()
    for page in PAGES[1:]:
        assert (site / f"{page}.html").exists(), page
        assert f'href="{page}.html"' in sidebar, f"{page} is not in the navigation"


def test_no_page_or_style_sheet_loads_from_another_host(site: Path) -> None:
    files = [*site.glob("*.html"), *(site / "_static").rglob("*.css")]
    assert len(files) > len(PAGES)
    assert {str(f.relative_to(site)): found for f in files if (found := external_loads(f))} == {}


@pytest.mark.browser
def test_every_page_loads_without_a_fault(site: Path, browser: Browser) -> None:
    faults = {}
    with served(site) as base:
        for path in sorted(site.glob("*.html")):
            with visit(browser, base, path.name) as seen:
                assert seen.page.title()
            faults[path.name] = seen.faults
    assert {name: found for name, found in faults.items() if found} == {}
    assert {f"{page}.html" for page in PAGES} <= set(faults)


@pytest.mark.browser
@pytest.mark.parametrize("name", WIDGET_PAGES)
def test_widgets_of_the_chapter_move(name: str, site: Path, browser: Browser) -> None:
    move_every_control(browser, site, f"{name}.html", widget_views(BOOK / f"{name}.ipynb"))


@pytest.mark.browser
def test_the_ledger_filters_by_source(site: Path, browser: Browser) -> None:
    claims = yaml.safe_load((ROOT / "data" / "claims.yaml").read_text())
    claims = claims["claims"] if isinstance(claims, dict) else claims
    with served(site) as base, visit(browser, base, "ledger.html") as seen:
        rows = seen.page.locator("tr.ledger-row")
        visible = seen.page.locator("tr.ledger-row:visible")
        assert rows.count() == visible.count() == len(claims)
        menu = seen.page.locator("form.ledger-filter select").first
        menu.select_option(label=menu.locator("option", has_text="tubes").first.inner_text())
        tubes = [claim["id"] for claim in claims if "tubes" in claim["sources"]]
        assert 0 < visible.count() == len(tubes) < len(claims)
        assert all(name in "\n".join(visible.all_inner_texts()) for name in tubes)
        menu.select_option(index=0)
        assert visible.count() == len(claims)
    assert seen.faults == []


def move_every_control(browser: Browser, site: Path, name: str, explorers: int) -> None:
    """Moves each control of each explorer with the keyboard; the visible picture must follow."""
    with served(site) as base, visit(browser, base, name) as seen:
        page = seen.page
        page.wait_for_selector(".svitt-explorer img:visible")
        assert page.locator(".svitt-explorer").count() == explorers, "a widget that is no explorer"
        for number in range(explorers):
            frame = page.locator(".svitt-explorer").nth(number)
            controls = frame.locator(".svitt-controls select, .svitt-controls .noUi-handle")
            assert controls.count() >= 1
            for i in range(controls.count()):
                before, readout = visible_picture(page, number), frame.locator(".svitt-controls").inner_text()
                control = controls.nth(i)
                value = control.evaluate("e => e.value")
                control.focus()
                page.keyboard.press("ArrowRight" if value is None else "ArrowDown")
                page.wait_for_timeout(300)
                assert visible_picture(page, number) != before, f"control {i} of explorer {number}"
                if value is None:  # a slider says what it shows
                    assert frame.locator(".svitt-controls").inner_text() != readout
                else:
                    assert control.evaluate("e => e.value") != value
        assert seen.faults == []


def visible_picture(page: Page, number: int) -> bytes:
    """Pixels of the one picture that explorer ``number`` shows."""
    pictures = page.locator(".svitt-explorer").nth(number).locator("img:visible")
    assert pictures.count() == 1
    return pictures.first.screenshot()


# The checks themselves, on a page of our own: they see what they are there to see.


def png(colour: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (300, 80), colour).save(out, format="png")
    return out.getvalue()


def notebook(linked: bool, text: str) -> nbformat.NotebookNode:
    """A chapter with maths and an explorer over six pictures; not ``linked`` breaks its links."""
    ipywidgets.Widget.close_all()
    axes = [("clip", ("clip 1", "clip 2")), ("order", ("none", "reverse", "freeze"))]
    keys = [(c, o) for c in axes[0][1] for o in axes[1][1]]
    made = explorer(
        {key: png((40 * i, 20, 250 - 40 * i)) for i, key in enumerate(keys)},
        axes,
        sliders=["order"],
        captions={key: " ".join(key) for key in keys},
        title="Orders",
    )
    state = ipywidgets.Widget.get_manager_state(drop_defaults=True)
    if not linked:
        entries = state["state"]
        state["state"] = {k: v for k, v in entries.items() if "LinkModel" not in v["model_name"]}
    output = nbformat.v4.new_output("display_data", data=made._repr_mimebundle_())
    assert WIDGET_VIEW in output.data
    ipywidgets.Widget.close_all()
    cells = [
        nbformat.v4.new_markdown_cell(f"# A chapter\n\n{text}"),
        nbformat.v4.new_code_cell("explorer(...)", outputs=[output], execution_count=1),
    ]
    metadata = {
        "kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"},
        "widgets": {"application/vnd.jupyter.widget-state+json": state},
    }
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


@pytest.fixture(scope="module")
def specimen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book of three chapters under our configuration: a sound one, one without links, one that loads."""
    root = copy_book(tmp_path_factory.mktemp("specimen"))
    for old in (root / "book").glob("*.*"):
        if old.suffix in {".md", ".ipynb"}:
            old.unlink()
    maths = "Formulas $\\alpha^2$ and\n\n$$\\operatorname{softmax}(QK^\\top / \\sqrt{d})\\,V$$\n"
    outside = '<img src="http://192.0.2.1/x.png"><script>undefinedFunction()</script>'
    (root / "book" / "intro.md").write_text("# Front\n\nText.\n")
    for name, made in {
        "sound": notebook(True, maths),
        "unlinked": notebook(False, maths),
        "outside": notebook(True, outside),
    }.items():
        nbformat.write(made, root / "book" / f"{name}.ipynb")
    toc = {
        "format": "jb-book",
        "root": "intro",
        "chapters": [{"file": n} for n in ("sound", "unlinked", "outside")],
    }
    (root / "_toc.yml").write_text(yaml.safe_dump(toc))
    return build(root, tmp_path_factory.mktemp("specimen_site"))


@pytest.mark.browser
def test_a_sound_explorer_passes_beside_formulas(specimen: Path, browser: Browser) -> None:
    move_every_control(browser, specimen, "sound.html", 1)
    with served(specimen) as base, visit(browser, base, "sound.html") as seen:
        assert seen.page.locator("mjx-container").count() == 2
        assert seen.page.locator("mjx-merror").count() == 0
        picture = Image.open(io.BytesIO(visible_picture(seen.page, 0))).convert("RGB")
        assert picture.getpixel((150, 40)) == (0, 20, 250)  # the first choice is on the screen


@pytest.mark.browser
def test_a_dead_explorer_is_seen(specimen: Path, browser: Browser) -> None:
    with pytest.raises(AssertionError, match="control 0 of explorer 0"):
        move_every_control(browser, specimen, "unlinked.html", 1)


@pytest.mark.browser
def test_requests_and_page_errors_are_seen(specimen: Path, browser: Browser) -> None:
    assert external_loads(specimen / "outside.html") == ["http://192.0.2.1/x.png"]
    with served(specimen) as base, visit(browser, base, "outside.html") as seen:
        pass
    assert any(f.startswith("request to another host: http://192.0.2.1/") for f in seen.faults), seen.faults
    assert any("undefinedFunction" in f for f in seen.faults), seen.faults
