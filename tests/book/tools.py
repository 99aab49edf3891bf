"""What the tests of the book share: where it is, how it is built, served and looked at."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"
CHAPTERS = sorted(BOOK.glob("[0-9][0-9]_*.ipynb"))
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
BUILD_FLAGS = ("-n", "-W", "--keep-going", "--all")

# Chromium asks its makers' servers for updates and settings unless it is told not to.
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def toc_pages(toc: Path) -> list[str]:
    """The names of all pages in a ``_toc.yml``, in order, the root first."""
    found: list[str] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            found.extend(str(node[key]) for key in ("root", "file") if key in node)
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(yaml.safe_load(toc.read_text()))
    return found


def copy_book(to: Path) -> Path:
    """The book's sources in ``to``, which stands for the repository root."""
    to.mkdir(parents=True, exist_ok=True)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, to / name)
    for name in ("book", "data"):
        shutil.copytree(ROOT / name, to / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    return to


def build(root: Path, out: Path) -> Path:
    """Builds the book of ``root`` with every warning an error; returns the folder of its pages."""
    command = [str(Path(sys.executable).parent / "jupyter-book"), "build", "book/", *BUILD_FLAGS]
    done = subprocess.run(
        [*command, "--path-output", str(out)], cwd=root, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    return out / "_build" / "html"


def widget_views(notebook: Path) -> int:
    """How many outputs of a notebook are widgets."""
    cells = nbformat.read(notebook, as_version=4).cells
    return sum(WIDGET_VIEW in o.get("data", {}) for cell in cells for o in cell.get("outputs", []))


class _Loads(HTMLParser):
    """Collects the addresses a page loads without being asked (links to click on are not among them)."""

    SOURCES: dict[str, tuple[str, ...]] = {  # noqa: RUF012
        "script": ("src",), "img": ("src", "srcset"), "iframe": ("src",), "source": ("src", "srcset"),
        "video": ("src", "poster"), "audio": ("src",), "embed": ("src",),
        "object": ("data",), "link": ("href",),
    }  # fmt: skip
    NOT_LOADED = {"canonical", "next", "prev", "search", "index", "author", "license", "help", "me"}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "link" and given.get("rel") in self.NOT_LOADED:
            return
        self.found += [given[name] for name in self.SOURCES.get(tag, ()) if name in given]
        self.found += re.findall(r"url\(([^)]*)\)", given.get("style", ""))


def external(address: str) -> bool:
    """Whether an address leaves the site."""
    return bool(re.match(r"\s*['\"]?(?:[a-z]+:)?//", address, re.IGNORECASE))


def external_loads(page: Path) -> list[str]:
    """Addresses on other hosts that an HTML page or a style sheet makes the browser load."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".css":
        loads = re.findall(r"url\(([^)]*)\)|@import\s+([^;]+)", text)
        return [address for pair in loads for address in pair if external(address)]
    parser = _Loads()
    parser.feed(text)
    return [address for address in parser.found if external(address)]


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serves ``folder`` on a free loopback port; yields the address, ending in a slash."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium; skips without one, fails instead where SVITT_REQUIRE_BROWSER=1."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        message = f"no browser on PATH ({', '.join(names)}); on Debian: apt-get install chromium"
        if os.environ.get("SVITT_REQUIRE_BROWSER") == "1":
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """An open page and everything that went wrong on it so far."""

    page: Page
    faults: list[str] = field(default_factory=list)


@contextlib.contextmanager
def visit(browser: Browser, base: str, name: str) -> Iterator[Visit]:
    """Loads ``base + name`` and waits until it is quiet, noting faults all the while.

    A fault is a request to another host, an answer of 400 or more, a failed request, an error in a
    script, or an error on the console.
    """
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    seen = Visit(page)

    def request(url: str) -> None:
        if not url.startswith((base, f"blob:{base}", "data:")):
            seen.faults.append(f"request to another host: {url}")

    page.on("request", lambda r: request(r.url))
    page.on("response", lambda r: seen.faults.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
    page.on("requestfailed", lambda r: seen.faults.append(f"failed: {r.url} ({r.failure})"))
    page.on("pageerror", lambda e: seen.faults.append(f"page error: {e}"))
    page.on("console", lambda m: seen.faults.append(f"console: {m.text}") if m.type == "error" else None)
    try:
        page.goto(base + name, wait_until="networkidle")
        yield seen
    finally:
        page.close()
